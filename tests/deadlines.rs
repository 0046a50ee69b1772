//! Deadlines that change: sleeps and intervals that are reset, in time, too late, and in another runtime;
//! timeouts that meet their result.

mod kit;

use kit::{Event, OnDrop, bounded, poll_once, runtime, wait_for};
use ringwork::runtime::Runtime;
use ringwork::time::{Duration, Instant, Sleep};
use ringwork::time::{interval, interval_at, sleep, sleep_until, timeout, timeout_at};
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::Poll;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs `test` as a task and checks that it leaves no timer.
fn on_a_core<F: Future<Output = ()> + Send + 'static>(test: F) {
    bounded(|| {
        let runtime = runtime(1);
        runtime.block_on(runtime.spawn(test)).unwrap();
        no_timer_is_left(&runtime);
    });
}

fn no_timer_is_left(runtime: &Runtime) {
    wait_for("an empty wheel", || {
        runtime.block_on(runtime.spawn(async {})).unwrap();
        runtime.handle().metrics().cores.iter().all(|core| core.timers == 0)
    });
}

/// A sleep that has been polled, so that it has a timer (or is over already, on a busy machine).
async fn armed(deadline: Instant) -> Pin<Box<Sleep>> {
    let mut nap = Box::pin(sleep_until(deadline));
    let _ = poll_once(&mut nap).await;
    nap
}

#[test]
fn a_sleep_that_is_put_off_does_not_end_before_its_new_deadline() {
    on_a_core(async {
        for wait in [2 * MS, 5 * MS, 20 * MS] {
            let mut nap = armed(Instant::now() + MS).await;
            let later = Instant::now() + wait;
            nap.as_mut().reset(later);
            assert!(!nap.is_elapsed());
            nap.await;
            assert!(Instant::now() >= later);
        }
    });
}

#[test]
fn a_sleep_that_is_put_forward_ends_at_its_new_deadline() {
    on_a_core(async {
        let mut nap = armed(Instant::now() + HOUR).await;
        let soon = Instant::now() + 3 * MS;
        nap.as_mut().reset(soon);
        nap.as_mut().await;
        assert!(Instant::now() >= soon && nap.is_elapsed());
        assert_eq!(nap.deadline(), soon);
    });
}

#[test]
fn a_sleep_that_is_reset_into_the_past_ends_at_once() {
    on_a_core(async {
        let begun = Instant::now();
        for past in [begun, begun.checked_sub(MS).unwrap_or(begun)] {
            let mut nap = armed(Instant::now() + HOUR).await;
            nap.as_mut().reset(past);
            nap.await;
        }
        assert!(begun.elapsed() < HOUR);
    });
}

#[test]
fn a_sleep_can_be_reset_before_its_first_poll_and_after_its_end() {
    on_a_core(async {
        let mut nap = pin!(sleep(HOUR));
        for _ in 0..5 {
            let deadline = Instant::now() + 2 * MS;
            nap.as_mut().reset(deadline);
            assert!(!nap.is_elapsed());
            nap.as_mut().await;
            assert!(Instant::now() >= deadline && nap.is_elapsed());
        }
    });
}

#[test]
fn a_sleep_that_is_reset_again_and_again_ends_once_at_the_last_deadline() {
    on_a_core(async {
        let mut nap = armed(Instant::now() + MS).await;
        let mut deadline = Instant::now();
        for n in 0..200 {
            deadline = Instant::now() + n % 7 * MS;
            nap.as_mut().reset(deadline);
            if n % 10 == 0 {
                ringwork::task::yield_now().await;
            }
        }
        nap.await;
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn a_sleep_reset_by_another_thread_wakes_its_task_at_the_new_deadline() {
    bounded(|| {
        let runtime = runtime(2);
        for core in [0, 1] {
            let (sender, receiver) = mpsc::channel();
            // The timer is core 0's; the reset comes from a thread that is none, or from the other core.
            let arming = runtime.handle().spawn_on(0, move || async move {
                sender.send(armed(Instant::now() + HOUR).await).unwrap();
            });
            runtime.block_on(arming).unwrap();
            let mut nap = receiver.recv().unwrap();
            let soon = Instant::now() + 5 * MS;
            nap.as_mut().reset(soon);
            runtime.block_on(runtime.handle().spawn_on(core, move || nap)).unwrap();
            assert!(Instant::now() >= soon);
        }
    });
}

#[test]
fn a_sleep_that_is_reset_can_be_awaited_on_a_thread_that_has_entered_no_runtime() {
    bounded(|| {
        let runtime = runtime(1);
        let mut nap = runtime.block_on(runtime.spawn(armed(Instant::now() + HOUR))).unwrap();
        for _ in 0..5 {
            let deadline = Instant::now() + 3 * MS;
            nap.as_mut().reset(deadline);
            futures_executor::block_on(nap.as_mut());
            assert!(Instant::now() >= deadline);
        }
        drop(nap);
        no_timer_is_left(&runtime);
    });
}

#[test]
fn a_sleep_too_long_for_the_clock_does_not_hold_up_a_short_one() {
    on_a_core(async {
        let big = Duration::from_secs(u64::MAX / 10);
        for long in [big, Duration::MAX, HOUR * 24 * 365 * 100] {
            let (mut long, mut short) = (Box::pin(sleep(long)), Box::pin(sleep(Duration::from_nanos(1))));
            assert!(poll_once(&mut long).await.is_pending());
            short.as_mut().await;
            assert!(poll_once(&mut long).await.is_pending());
        }
    });
}

#[test]
fn a_sleep_of_part_of_a_millisecond_is_not_early() {
    on_a_core(async {
        for n in 0..200 {
            let nap = Duration::from_micros(n * 13 % 1_500);
            let begun = Instant::now();
            sleep(nap).await;
            assert!(begun.elapsed() >= nap, "{nap:?}");
        }
    });
}

#[test]
fn a_sleep_of_nothing_is_ready_at_its_first_poll() {
    on_a_core(async {
        assert!(poll_once(&mut Box::pin(sleep(Duration::ZERO))).await.is_ready());
        assert!(poll_once(&mut Box::pin(sleep_until(Instant::now()))).await.is_ready());
    });
}

#[test]
fn what_is_due_when_it_is_set_is_ready_at_once_in_a_task_that_has_computed_for_long() {
    on_a_core(async {
        let begun = Instant::now();
        while begun.elapsed() < 30 * MS {
            std::hint::spin_loop();
        }
        assert!(poll_once(&mut Box::pin(sleep(Duration::ZERO))).await.is_ready());
        assert!(poll_once(&mut Box::pin(sleep_until(Instant::now()))).await.is_ready());
        assert!(poll_once(&mut Box::pin(timeout(Duration::ZERO, pending::<()>()))).await.is_ready());
        let mut ticks = interval(HOUR);
        assert!(poll_once(&mut Box::pin(ticks.tick())).await.is_ready());
        assert!(poll_once(&mut Box::pin(ticks.tick())).await.is_pending());
    });
}

/// A timer is kept by the runtime whose core first polled it, until it is reset and polled inside another.
#[test]
fn a_sleep_that_is_reset_belongs_to_the_runtime_that_polls_it_then() {
    bounded(|| {
        let (first, second) = (runtime(1), runtime(1));
        let mut nap = first.block_on(first.spawn(armed(Instant::now() + HOUR))).unwrap();
        let deadline = Instant::now() + 20 * MS;
        let (polled, gone) = (Event::default(), Event::default());
        let (polls, gate) = (polled.clone(), gone.clone());
        let moved = second.spawn(async move {
            nap.as_mut().reset(deadline);
            let _ = poll_once(&mut nap).await;
            polls.set();
            gate.wait().await;
            nap.await;
        });
        polled.wait_blocking();
        drop(first);
        gone.set();
        second.block_on(moved).unwrap();
        assert!(Instant::now() >= deadline);
        no_timer_is_left(&second);
    });
}

#[test]
fn a_sleep_of_one_runtime_can_be_awaited_in_another_while_both_live() {
    bounded(|| {
        let (first, second) = (runtime(1), runtime(1));
        let deadline = Instant::now() + 10 * MS;
        let nap = first.block_on(first.spawn(armed(deadline))).unwrap();
        second.block_on(second.spawn(nap)).unwrap();
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn a_result_and_a_deadline_at_once_are_a_result() {
    on_a_core(async {
        for _ in 0..20 {
            let deadline = Instant::now() + 2 * MS;
            timeout_at(deadline, sleep_until(deadline)).await.expect("ready when its deadline came");
        }
    });
}

#[test]
fn a_result_that_is_there_at_the_first_poll_wins_over_a_deadline_long_gone() {
    on_a_core(async {
        let past = Instant::now();
        sleep(2 * MS).await;
        assert_eq!(timeout_at(past, async { 1 }).await, Ok(1));
        assert!(timeout_at(past, pending::<()>()).await.is_err());
        assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
    });
}

#[test]
fn a_timeout_drops_its_future_with_itself() {
    on_a_core(async {
        let dropped = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&dropped);
        let guard = OnDrop(move || tell.store(true, Ordering::SeqCst));
        let limited = timeout(MS, async move {
            let _guard = guard;
            pending::<()>().await;
        });
        assert!(limited.await.is_err());
        assert!(dropped.load(Ordering::SeqCst));
    });
}

#[test]
fn timeouts_nest_and_the_shortest_ends_first() {
    on_a_core(async {
        let inner = timeout(2 * MS, pending::<()>());
        assert!(timeout(HOUR, inner).await.expect("the outer one has time").is_err());
        let inner = timeout(HOUR, pending::<()>());
        assert!(timeout(2 * MS, inner).await.is_err());
    });
}

#[test]
fn a_dropped_tick_is_not_lost() {
    on_a_core(async {
        let mut ticks = interval(10 * MS);
        let first = ticks.tick().await;
        for _ in 0..3 {
            if let Poll::Ready(tick) = poll_once(&mut Box::pin(ticks.tick())).await {
                return assert_eq!(tick, first + 10 * MS);
            }
        }
        assert_eq!(ticks.tick().await, first + 10 * MS);
    });
}

#[test]
fn an_interval_begins_at_its_start_and_not_before() {
    on_a_core(async {
        let start = Instant::now() + 8 * MS;
        let mut ticks = interval_at(start, 5 * MS);
        assert_eq!(ticks.tick().await, start);
        assert!(Instant::now() >= start);
        assert_eq!(ticks.tick().await, start + 5 * MS);
    });
}

#[test]
fn an_interval_that_is_reset_counts_from_then() {
    on_a_core(async {
        let mut ticks = interval(10 * MS);
        ticks.tick().await;
        let _ = poll_once(&mut Box::pin(ticks.tick())).await;
        let before = Instant::now();
        ticks.reset();
        let after = Instant::now();
        let tick = ticks.tick().await;
        assert!(tick >= before + 10 * MS && tick <= after + 10 * MS);
        assert_eq!(ticks.tick().await, tick + 10 * MS);
    });
}

#[test]
fn an_interval_that_is_reset_immediately_ticks_at_once() {
    on_a_core(async {
        let mut ticks = interval(HOUR);
        ticks.tick().await;
        let before = Instant::now();
        ticks.reset_immediately();
        let after = Instant::now();
        let tick = ticks.tick().await;
        assert!(tick >= before && tick <= after);
        assert!(poll_once(&mut Box::pin(ticks.tick())).await.is_pending(), "the next is an hour away");
    });
}

#[test]
fn an_interval_that_is_reset_after_or_at_a_time_ticks_then() {
    on_a_core(async {
        let mut ticks = interval(HOUR);
        ticks.tick().await;
        let before = Instant::now();
        ticks.reset_after(3 * MS);
        let after = Instant::now();
        let tick = ticks.tick().await;
        assert!(tick >= before + 3 * MS && tick <= after + 3 * MS);
        let at = Instant::now() + 3 * MS;
        ticks.reset_at(at);
        assert_eq!(ticks.tick().await, at);
        assert!(Instant::now() >= at);
        // A time that has passed: now, and then an hour later.
        ticks.reset_at(at);
        assert_eq!(ticks.tick().await, at);
        assert!(poll_once(&mut Box::pin(ticks.tick())).await.is_pending());
    });
}

#[test]
fn a_tick_is_told_to_the_waker_of_the_last_poll() {
    bounded(|| {
        let runtime = runtime(1);
        let (sender, receiver) = mpsc::channel();
        let first = runtime.spawn(async move {
            let mut ticks = interval(5 * MS);
            ticks.tick().await;
            let _ = std::future::poll_fn(|cx| Poll::Ready(ticks.poll_tick(cx))).await;
            sender.send(ticks).unwrap();
            pending::<()>().await;
        });
        let mut ticks = receiver.recv().unwrap();
        runtime.block_on(runtime.spawn(async move { ticks.tick().await })).unwrap();
        first.abort();
    });
}
