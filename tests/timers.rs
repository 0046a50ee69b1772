//! Timers on real cores: never early, cancelled and moved from anywhere, none left behind.

mod kit;

use futures_util::future::{Either, select};
use kit::{bounded, poll_once, runtime, wait_for};
use ringwork::runtime::Runtime;
use ringwork::time::{Duration, Instant, Interval, MissedTickBehavior, Sleep};
use ringwork::time::{interval, sleep, sleep_until, timeout, timeout_at};
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn timers(runtime: &Runtime) -> u64 {
    runtime.handle().metrics().cores.iter().map(|core| core.timers).sum()
}

fn all_gone(runtime: &Runtime) {
    wait_for("the wheels to be empty", || {
        for core in 0..runtime.handle().cores() {
            runtime.block_on(runtime.handle().spawn_on(core, || async {})).unwrap();
        }
        timers(runtime) == 0
    });
}

#[test]
fn thousands_of_sleeps_on_both_cores_are_never_early() {
    bounded(|| {
        let runtime = runtime(2);
        let tasks: Vec<_> = (0..4_000_u64)
            .map(|n| {
                runtime.handle().spawn_on(n as usize % 2, move || async move {
                    let begun = Instant::now();
                    let nap = Duration::from_micros(n * 37 % 50_000);
                    sleep(nap).await;
                    assert!(begun.elapsed() >= nap, "{:?} of {nap:?}", begun.elapsed());
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        all_gone(&runtime);
    });
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    bounded(|| {
        let runtime = runtime(1);
        let order = runtime.spawn(async {
            let (sender, receiver) = mpsc::channel();
            let start = Instant::now();
            let naps = [30, 10, 50, 20, 40].map(|after| {
                let sender = sender.clone();
                // A task each: on a busy machine several are due at once, and one task would look at them in
                // an order of its own.
                ringwork::spawn_local(async move {
                    sleep_until(start + after * MS).await;
                    sender.send(after).unwrap();
                })
            });
            for nap in naps {
                nap.await.unwrap();
            }
            drop(sender);
            receiver.into_iter().collect::<Vec<_>>()
        });
        assert_eq!(runtime.block_on(order).unwrap(), [10, 20, 30, 40, 50]);
    });
}

#[test]
fn a_parked_core_wakes_for_a_timer_that_came_from_outside() {
    bounded(|| {
        let runtime = runtime(2);
        // The cores sleep for an hour if nobody tells them.
        drop(runtime.spawn(sleep(HOUR)));
        for _ in 0..50 {
            runtime.block_on(sleep(2 * MS));
        }
    });
}

#[test]
fn a_sleep_first_polled_on_one_core_ends_on_the_other() {
    bounded(|| {
        let runtime = runtime(2);
        for _ in 0..50 {
            let (sender, receiver) = mpsc::channel();
            let first = runtime.handle().spawn_on(0, move || async move {
                let mut nap = Box::pin(sleep(5 * MS));
                assert!(poll_once(&mut nap).await.is_pending());
                sender.send(nap).unwrap();
            });
            runtime.block_on(first).unwrap();
            let nap = receiver.recv().unwrap();
            let deadline = nap.deadline();
            let second = runtime.handle().spawn_on(1, move || nap);
            runtime.block_on(second).unwrap();
            assert!(Instant::now() >= deadline);
        }
        all_gone(&runtime);
    });
}

#[test]
fn sleeps_are_dropped_and_reset_on_other_threads() {
    bounded(|| {
        let runtime = runtime(2);
        let armed = |core| {
            let (sender, receiver) = mpsc::channel();
            let arming = runtime.handle().spawn_on(core, move || async move {
                let mut nap = Box::pin(sleep(HOUR));
                assert!(poll_once(&mut nap).await.is_pending());
                sender.send(nap).unwrap();
            });
            runtime.block_on(arming).unwrap();
            receiver.recv().unwrap()
        };
        for core in [0, 1, 0, 1] {
            let (dropped, mut sooner) = (armed(core), armed(core));
            thread::spawn(move || drop(dropped)).join().unwrap();
            let there = runtime.handle().spawn_on(1 - core, move || async move {
                sooner.as_mut().reset(Instant::now() + 3 * MS);
                sooner.await;
            });
            runtime.block_on(there).unwrap();
        }
        all_gone(&runtime);
    });
}

#[test]
fn a_timeout_ends_what_does_not_end_and_leaves_what_does() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            assert!(timeout(2 * MS, pending::<()>()).await.is_err());
            assert_eq!(timeout(HOUR, async { 3 }).await.unwrap(), 3);
            assert_eq!(timeout(Duration::MAX, async { 4 }).await.unwrap(), 4);
            // Both at once: the result counts.
            assert_eq!(timeout(Duration::ZERO, async { 5 }).await.unwrap(), 5);
            assert!(timeout_at(Instant::now(), pending::<()>()).await.is_err());
            // A future that uses its budget up is not a future that takes too long.
            let greedy = async {
                for _ in 0..100_000 {
                    ringwork::task::coop::consume_budget().await;
                }
            };
            timeout(HOUR, greedy).await.unwrap();
        });
        runtime.block_on(task).unwrap();
        all_gone(&runtime);
    });
}

#[test]
fn a_future_that_is_always_ready_does_not_hold_its_timeout_off() {
    bounded(|| {
        let runtime = runtime(1);
        let endless = runtime.spawn(async {
            let forever = async {
                loop {
                    ringwork::task::coop::consume_budget().await;
                }
            };
            timeout(5 * MS, forever).await.is_err()
        });
        assert!(runtime.block_on(endless).unwrap());
    });
}

#[test]
fn a_timer_made_anew_in_every_round_of_a_loop_leaves_nothing() {
    bounded(|| {
        let runtime = runtime(1);
        let busy = runtime.spawn(async {
            for _ in 0..10_000 {
                let (idle, work) = (pin!(sleep(HOUR)), pin!(ringwork::task::yield_now()));
                assert!(matches!(select(idle, work).await, Either::Right(_)));
            }
        });
        runtime.block_on(busy).unwrap();
        all_gone(&runtime);
    });
}

#[test]
fn an_interval_ticks_at_once_and_then_each_period() {
    bounded(|| {
        let runtime = runtime(1);
        let ticking = runtime.spawn(async {
            let begun = Instant::now();
            let mut ticks: Interval = interval(3 * MS);
            let first = ticks.tick().await;
            assert!(first - begun < HOUR);
            for n in 1..=10 {
                assert_eq!(ticks.tick().await, first + n * 3 * MS);
            }
            assert!(begun.elapsed() >= 30 * MS);
        });
        runtime.block_on(ticking).unwrap();
    });
}

#[test]
fn an_interval_that_was_missed_does_as_it_is_told() {
    bounded(|| {
        let runtime = runtime(1);
        let late = |behavior| async move {
            let mut ticks = interval(5 * MS);
            ticks.set_missed_tick_behavior(behavior);
            let first = ticks.tick().await;
            // A task that holds its core: the only way to miss ticks for sure.
            thread::sleep(22 * MS);
            (first, ticks.tick().await, ticks.tick().await)
        };
        let run = |behavior| runtime.block_on(runtime.spawn(late(behavior))).unwrap();
        let (first, second, third) = run(MissedTickBehavior::Burst);
        assert_eq!((second - first, third - first), (5 * MS, 10 * MS));
        let (_, second, third) = run(MissedTickBehavior::Delay);
        assert!(third - second >= 5 * MS);
        let (first, _, third) = run(MissedTickBehavior::Skip);
        let past = (third - first).as_nanos() % (5 * MS).as_nanos();
        assert_eq!(past, 0, "not on the grid");
    });
}

#[test]
fn a_sleep_whose_runtime_has_ended_is_ready_once_its_deadline_has_passed() {
    bounded(|| {
        let runtime = runtime(1);
        let mut nap = Box::pin(sleep(100 * MS));
        let poll = |nap: &mut Pin<Box<Sleep>>| nap.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        // On a machine that stands still for so long it is over already, and the rest holds, too.
        let _first = runtime.block_on(async { poll(&mut nap) });
        drop(runtime);
        thread::sleep(nap.deadline() - Instant::now());
        assert!(poll(&mut nap).is_ready());
    });
}
