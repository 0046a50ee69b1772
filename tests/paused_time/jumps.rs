//! The clock jumps when nothing is left to run, to the next timer, the same way in every run.

use crate::kit::{Event, bounded, poll_once};
use crate::{HOUR, MS, SECOND, YEARS, on_the_core, paused};
use ringwork::task::yield_now;
use ringwork::time::{
    Duration, Instant, MissedTickBehavior, advance, interval, interval_at, sleep, sleep_until, timeout,
    timeout_at,
};
use std::cell::RefCell;
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

#[test]
fn time_stands_still_while_a_task_runs() {
    on_the_core(|| async {
        let start = Instant::now();
        crate::let_real_time_pass();
        assert_eq!(Instant::now(), start);
        for _ in 0..1_000 {
            yield_now().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    });
}

#[test]
fn a_clock_with_nothing_else_to_do_jumps_to_the_next_timer() {
    on_the_core(|| async {
        let start = Instant::now();
        for (n, nap) in [HOUR, MS, 24 * 365 * HOUR, SECOND].into_iter().enumerate() {
            let before = Instant::now();
            sleep(nap).await;
            assert_eq!(before.elapsed(), nap, "nap {n}");
        }
        assert_eq!(start.elapsed(), HOUR + MS + 24 * 365 * HOUR + SECOND);
        sleep_until(start).await;
        sleep(Duration::ZERO).await;
        timeout(Duration::MAX, sleep(MS)).await.unwrap();
    });
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines_and_each_at_its_time() {
    on_the_core(|| async {
        let (start, order) = (Instant::now(), Rc::new(RefCell::new(Vec::new())));
        let naps: Vec<_> = [30, 10, 50, 10, 20]
            .into_iter()
            .map(|nap| {
                let order = Rc::clone(&order);
                ringwork::spawn_local(async move {
                    sleep(nap * SECOND).await;
                    order.borrow_mut().push(start.elapsed());
                })
            })
            .collect();
        for nap in naps {
            nap.await.unwrap();
        }
        assert_eq!(*order.borrow(), [10, 10, 20, 30, 50].map(|nap| nap * SECOND));
    });
}

/// Numbers that a seed decides.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed >> 11
}

/// Ten thousand sleeps of tasks of both kinds: who woke when.
fn history(seed: u64) -> Vec<(u64, Duration)> {
    bounded(move || {
        let seen: Arc<Mutex<Vec<(u64, Duration)>>> = Arc::default();
        let inside = Arc::clone(&seen);
        paused().run_main(move || async move {
            let start = Instant::now();
            let tasks: Vec<_> = (0..500)
                .map(|task| {
                    let (seen, mut seed) = (Arc::clone(&inside), seed.wrapping_mul(2 * task + 1));
                    let naps = async move {
                        for _ in 0..20 {
                            sleep(Duration::from_micros(next(&mut seed) % 5_000_000)).await;
                            seen.lock().unwrap().push((task, start.elapsed()));
                        }
                    };
                    if task % 3 == 0 { ringwork::spawn_local(naps) } else { ringwork::spawn(naps) }
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen.len(), 10_000);
        seen
    })
}

#[test]
fn ten_thousand_sleeps_are_the_same_in_every_run() {
    let first = history(0x5eed);
    assert!(first.is_sorted_by_key(|(_, at)| *at));
    for _ in 0..3 {
        assert!(history(0x5eed) == first, "two runs differ");
    }
    assert!(history(0x0dd5) != first);
}

#[test]
fn a_clock_stopped_halfway_keeps_whole_milliseconds() {
    bounded(|| {
        let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
        runtime.run_main(|| async {
            for nap in 1..50 {
                // Some moment, which differs from run to run.
                let before = Instant::now();
                ringwork::time::pause();
                let start = Instant::now();
                assert!(start >= before, "the clock went backwards");
                sleep(nap * MS).await;
                assert_eq!(start.elapsed(), nap * MS);
                ringwork::time::resume();
            }
        });
    });
}

#[test]
fn a_timeout_elapses_at_its_deadline_and_not_before_what_is_ready() {
    on_the_core(|| async {
        let start = Instant::now();
        assert!(timeout(HOUR, pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), HOUR);
        timeout(2 * SECOND, sleep(SECOND)).await.unwrap();
        assert!(timeout(SECOND, sleep(2 * SECOND)).await.is_err());
        // Both at once: the result counts.
        timeout(SECOND, sleep(SECOND)).await.unwrap();
        assert_eq!(start.elapsed(), HOUR + 3 * SECOND);
        // A future that is woken by others before its deadline.
        let event = Event::default();
        let waits = ringwork::spawn(timeout(MS, event.wait()));
        let sets = ringwork::spawn(async move {
            for _ in 0..1_000 {
                yield_now().await;
            }
            event.set();
        });
        waits.await.unwrap().unwrap();
        sets.await.unwrap();
    });
}

#[test]
fn an_interval_ticks_each_period_however_long() {
    on_the_core(|| async {
        let start = Instant::now();
        let mut ticks = interval(HOUR);
        for n in 0..1_000 {
            assert_eq!(ticks.tick().await, start + n * HOUR);
            assert_eq!(start.elapsed(), n * HOUR);
        }
    });
}

#[test]
fn missed_ticks_do_as_they_are_told() {
    on_the_core(|| async {
        for (behavior, expected) in [
            (MissedTickBehavior::Burst, [20, 40, 60, 80]),
            (MissedTickBehavior::Delay, [20, 95, 115, 135]),
            (MissedTickBehavior::Skip, [20, 80, 100, 120]),
        ] {
            let start = Instant::now();
            let mut ticks = interval_at(start, 20 * MS);
            ticks.set_missed_tick_behavior(behavior);
            assert_eq!(ticks.tick().await, start);
            sleep(75 * MS).await;
            for after in expected {
                assert_eq!(ticks.tick().await - start, after * MS, "{behavior:?}");
            }
        }
    });
}

#[test]
fn a_timer_that_is_dropped_or_put_off_stops_the_clock_at_no_time_of_its_own() {
    on_the_core(|| async {
        let start = Instant::now();
        let mut dropped = Box::pin(sleep(SECOND));
        assert!(poll_once(&mut dropped).await.is_pending());
        let mut later = pin!(sleep(2 * SECOND));
        assert!(poll_once(&mut later).await.is_pending());
        later.as_mut().reset(start + HOUR);
        drop(dropped);
        sleep(30 * SECOND).await;
        assert_eq!(start.elapsed(), 30 * SECOND);
        later.await;
        assert_eq!(start.elapsed(), HOUR);
    });
}

#[test]
fn background_tasks_run_before_the_clock_jumps() {
    on_the_core(|| async {
        let polls = Rc::new(RefCell::new(0));
        let counts = Rc::clone(&polls);
        let background = ringwork::task::Builder::new().background();
        let busy = background.spawn_local(async move {
            for _ in 0..200 {
                *counts.borrow_mut() += 1;
                yield_now().await;
            }
        });
        sleep(HOUR).await;
        assert_eq!(*polls.borrow(), 200);
        busy.await.unwrap();
    });
}

/// In which order a background task and another one, both always ready, have their polls: `steps` each. Some
/// of the polls take long, others of them in each run.
fn polls_of_both(steps: usize, run: usize) -> String {
    async fn step_by_step(
        steps: usize,
        log: Rc<RefCell<String>>,
        letter: char,
        is_long: impl Fn(usize) -> bool,
    ) {
        for step in 0..steps {
            log.borrow_mut().push(letter);
            if is_long(step) {
                let begun = std::time::Instant::now();
                while begun.elapsed() < std::time::Duration::from_micros(600) {
                    std::hint::spin_loop();
                }
            }
            yield_now().await;
        }
    }
    on_the_core(move || async move {
        let log = Rc::new(RefCell::new(String::new()));
        let front = step_by_step(steps, Rc::clone(&log), 'f', move |step| step % 50 == 7 * run);
        let back = step_by_step(steps, Rc::clone(&log), 'b', move |step| step % 7 == run);
        let front = ringwork::spawn_local(front);
        let back = ringwork::task::Builder::new().background().spawn_local(back);
        front.await.unwrap();
        back.await.unwrap();
        log.take()
    })
}

#[test]
fn a_background_task_gets_one_poll_in_sixteen_while_the_clock_stands_the_same_ones_in_every_run() {
    let steps = 1_000;
    let first = polls_of_both(steps, 0);
    let shared = &first[..=first.rfind('f').unwrap()];
    let runs: Vec<_> = shared.split('b').map(str::len).collect();
    let [begin, full @ .., end] = &runs[..] else { panic!("no background polls in between: {first}") };
    assert!(full.iter().all(|&run| run == 15) && *begin <= 15 && *end <= 15, "{first}");
    for run in 1..4 {
        assert_eq!(polls_of_both(steps, run), first);
    }
}

#[test]
fn a_runtime_whose_clock_stands_ends_at_once_with_all_its_timers() {
    bounded(|| {
        let runtime = paused();
        let naps: Vec<_> = (0..10).map(|_| runtime.spawn(pending::<()>())).collect();
        let job = runtime.handle().spawn_blocking(crate::let_real_time_pass);
        drop(runtime.spawn(sleep(HOUR)));
        drop(job);
        drop(runtime);
        assert!(naps.iter().all(|nap| nap.is_finished()));
    });
}

/// The clock can still represent the time after it, and would be half a billion years on the way.
const AGES: Duration = Duration::from_millis(u64::MAX);

/// What waits for ages in one way or another.
async fn wait_for_ages(way: usize) {
    let far = Instant::now() + AGES;
    match way {
        0 => sleep(AGES).await,
        1 => sleep_until(far).await,
        2 => assert!(timeout(AGES, pending::<()>()).await.is_err()),
        3 => assert!(timeout_at(far, pending::<()>()).await.is_err()),
        4 => drop(interval_at(far, MS).tick().await),
        5 => {
            let mut ticks = interval(AGES);
            ticks.tick().await;
            ticks.tick().await;
        }
        6 => {
            let mut sleep = pin!(sleep(SECOND));
            assert!(poll_once(&mut sleep).await.is_pending());
            sleep.as_mut().reset(far);
            sleep.await;
        }
        _ => sleep(Duration::MAX).await,
    }
}

#[test]
fn a_clock_that_jumps_is_soon_as_far_as_timers_are_set() {
    bounded(|| {
        for way in 0..8 {
            let runtime = paused();
            let waited = async move {
                let start = Instant::now();
                wait_for_ages(way).await;
                start.elapsed()
            };
            assert_eq!(runtime.block_on(runtime.spawn(waited)).unwrap(), YEARS, "way {way}");
            // From a thread that the timer does not live on.
            let start = runtime.block_on(async { Instant::now() });
            runtime.block_on(wait_for_ages(way));
            let waited = runtime.block_on(async move { start.elapsed() });
            // If it has been reset there, it may have fired at the time before, and is set once more.
            assert!((YEARS..=2 * YEARS).contains(&waited), "way {way}: {waited:?}");
            let jumps = runtime.handle().metrics().cores[0].enters;
            assert!(jumps < 1_000, "way {way}: {jumps} enters of the ring");
        }
    });
}

#[test]
fn what_is_set_while_the_clock_moves_by_years_counts_from_where_it_is() {
    on_the_core(|| async {
        let start = Instant::now();
        let mut ahead = pin!(advance(YEARS));
        assert!(poll_once(&mut ahead).await.is_pending());
        // The core's timers have not come to that time yet.
        let mut nap = pin!(sleep(YEARS - HOUR));
        assert!(poll_once(&mut nap).await.is_pending());
        ahead.await;
        assert_eq!(start.elapsed(), YEARS);
        nap.await;
        assert_eq!(start.elapsed(), 2 * YEARS - HOUR);
    });
}
