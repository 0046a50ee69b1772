//! Looking before sleeping (`Builder::spin_window`): who is called at once need not be rung, and who is
//! called late or never does not look.

mod kit;

use futures_util::task::AtomicWaker;
use kit::bounded;
use ringwork::Metrics;
use ringwork::runtime::{Builder, Runtime};
use ringwork::time::Duration;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread;

/// Round trips between looks at the counters.
const TRIPS: u64 = 1_000;
/// Until they show it: another program may have this machine for a while.
const PATIENCE: usize = 1_000;
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

#[test]
fn cores_that_call_each_other_at_once_look_and_ring_no_bell() {
    if thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        println!("skipped: with one CPU nobody is called while he looks");
        return;
    }
    bounded(|| {
        let runtime = runtime(Duration::from_micros(50));
        let is_quiet = |(spins, bells)| spins >= TRIPS && bells < TRIPS / 4;
        let quiet = (0..PATIENCE).position(|_| is_quiet(play(&runtime)));
        println!("measured: no bells from thousand {quiet:?} on");
        assert!(quiet.is_some(), "each of {PATIENCE} thousand round trips rang bells");
    });
}

#[test]
fn with_no_window_no_core_looks() {
    bounded(|| {
        let runtime = runtime(Duration::ZERO);
        let looks: u64 = (0..5).map(|_| play(&runtime).0).sum();
        assert_eq!(looks, 0);
    });
}

#[test]
fn cores_that_are_called_late_stop_looking() {
    bounded(|| {
        let runtime = runtime(Duration::from_micros(50));
        // They have reason to look.
        (0..5).for_each(|_| _ = play(&runtime));
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
}
