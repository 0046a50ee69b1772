//! Looking before sleeping (`Builder::spin_window`): who is called at once need not be rung, and who is
//! called late or never does not look.

mod kit;

use futures_util::task::AtomicWaker;
use kit::process::alone;
use kit::{bounded, wait_for};
use ringwork::Metrics;
use ringwork::runtime::{Builder, Runtime, StuckReport, Watchdog};
use ringwork::time::Duration;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Instant;

/// Round trips between looks at the counters.
const TRIPS: u64 = 200;
/// Until they show it: another program may have this machine for a while.
const PATIENCE: usize = 500;
/// Calls that come late.
const LATE: u64 = 400;

fn runtime(window: Duration) -> Runtime {
    Builder::new().cores(2).spin_window(window).build().expect("a runtime starts")
}

/// Sums of spins and doorbells over all cores.
fn counts(metrics: &Metrics) -> (u64, u64) {
    let cores = || metrics.cores.iter();
    (cores().map(|core| core.spins).sum(), cores().map(|core| core.doorbells).sum())
}

/// A number that goes back and forth between two tasks.
#[derive(Default)]
struct Ball {
    number: AtomicU64,
    wakers: [AtomicWaker; 2],
}

impl Ball {
    /// Waits until the number is at least `number`, which the other side makes it; then makes it one more.
    async fn play(&self, side: usize, number: u64) {
        poll_fn(|cx| {
            self.wakers[side].register(cx.waker());
            if self.number.load(Ordering::Acquire) < number { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        self.number.store(number + 1, Ordering::Release);
        self.wakers[1 - side].wake();
    }
}

/// Has two tasks on two cores play `TRIPS` times. What the cores have counted meanwhile.
fn play(runtime: &Runtime) -> (u64, u64) {
    let ball = Arc::new(Ball::default());
    let before = counts(&runtime.handle().metrics());
    let sides = [0, 1].map(|side| {
        let ball = Arc::clone(&ball);
        runtime.handle().spawn_on(side, move || async move {
            for trip in 0..TRIPS {
                ball.play(side, 2 * trip + side as u64).await;
            }
        })
    });
    for side in sides {
        runtime.block_on(side).expect("the task ends");
    }
    let after = counts(&runtime.handle().metrics());
    (after.0 - before.0, after.1 - before.1)
}

/// With one CPU nobody is called while he looks.
fn has_one_cpu() -> bool {
    let has = thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2);
    if has {
        println!("skipped: there is one CPU");
    }
    has
}

/// Plays until the cores look instead of being rung. Whether they came to it.
fn come_to_look(runtime: &Runtime) -> bool {
    (0..PATIENCE).any(|_| {
        let (spins, bells) = play(runtime);
        spins >= TRIPS && bells < TRIPS / 4
    })
}

#[test]
fn cores_that_call_each_other_at_once_look_and_ring_no_bell() {
    alone(|| {
        if !has_one_cpu() {
            bounded(|| assert!(come_to_look(&runtime(Duration::from_micros(50))), "they ring each other"));
        }
    });
}

#[test]
fn a_window_without_an_end_is_one_of_a_millisecond() {
    alone(|| {
        if !has_one_cpu() {
            bounded(|| assert!(come_to_look(&runtime(Duration::MAX)), "they ring each other"));
        }
    });
}

#[test]
fn a_core_that_looks_for_answers_of_the_pool_helps_one_that_has_too_much() {
    alone(|| {
        if has_one_cpu() {
            return;
        }
        bounded(|| {
            let runtime = runtime(Duration::from_micros(50));
            let stop = Arc::new(AtomicBool::new(false));
            let until = Arc::clone(&stop);
            let asks = runtime.handle().spawn_on(1, move || async move {
                while !until.load(Ordering::Relaxed) {
                    ringwork::spawn_blocking(|| ()).await.expect("the call ends");
                }
            });
            wait_for("the core to look", || runtime.handle().metrics().cores[1].spins >= 10 * TRIPS);
            let handle = runtime.handle().clone();
            let stolen = move || handle.metrics().cores[1].tasks_stolen;
            let before = stolen();
            let loaded = runtime.handle().spawn_on(0, move || async move {
                for _ in 0..PATIENCE {
                    let tasks: Vec<_> = (0..100).map(|_| ringwork::spawn(async { busy() })).collect();
                    for task in tasks {
                        task.await.expect("the task ends");
                    }
                    if stolen() > before {
                        return true;
                    }
                }
                false
            });
            let has_helped = runtime.block_on(loaded).expect("the task ends");
            stop.store(true, Ordering::Relaxed);
            runtime.block_on(asks).expect("the task ends");
            assert!(has_helped, "the core that looks has taken nothing");
        });
    });
}

/// Computes for some 200 µs.
fn busy() {
    let until = Instant::now() + Duration::from_micros(200);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

#[test]
fn with_no_window_no_core_looks() {
    alone(|| {
        bounded(|| {
            let runtime = runtime(Duration::ZERO);
            let looks: u64 = (0..5).map(|_| play(&runtime).0).sum();
            assert_eq!(looks, 0);
        });
    });
}

#[test]
fn cores_that_are_called_late_stop_looking() {
    alone(|| {
        if has_one_cpu() {
            return;
        }
        bounded(|| {
            let runtime = runtime(Duration::from_micros(50));
            assert!(come_to_look(&runtime), "they have no reason to look");
            let (before, _) = counts(&runtime.handle().metrics());
            for _ in 0..LATE {
                // Later than any window.
                thread::sleep(Duration::from_millis(1));
                runtime.block_on(runtime.spawn(async {})).expect("the task ends");
            }
            let looks = counts(&runtime.handle().metrics()).0 - before;
            println!("measured: looked {looks} times in {LATE} late calls");
            // Each of them remembers sixteen windows of gain from before.
            assert!(looks <= LATE / 4, "looked {looks} times in {LATE} late calls");
        });
    });
}

#[test]
fn what_is_kept_for_spawns_from_outside_does_not_keep_the_runtime() {
    bounded(|| {
        let report: Arc<dyn Fn(&StuckReport) + Send + Sync> = Arc::new(|_| ());
        let watchdog = Watchdog::Call(Arc::clone(&report));
        let runtime = Builder::new().cores(2).watchdog(watchdog, Duration::from_secs(60)).build().unwrap();
        for _ in 0..10 {
            let tasks: Vec<_> = (0..1_000).map(|_| runtime.spawn(async {})).collect();
            tasks.into_iter().for_each(|task| runtime.block_on(task).expect("the task ends"));
        }
        drop(runtime);
        // What the cores share has it, and goes with the last who knows them.
        wait_for("the runtime's memory to go", || Arc::strong_count(&report) == 1);
    });
}
