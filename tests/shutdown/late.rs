//! Cores that are late with their last word, beside one that is stuck.

use crate::busy::Endless;
use crate::kit::{bounded, runtime};
use ringwork::runtime::Runtime;
use ringwork::time::{Duration, Instant, Sleep, sleep};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};

/// A sleep whose core wakes `waker` when it has nothing left to do but to say that it has ended.
fn sleep_at<W: Wake + Send + Sync + 'static>(
    runtime: &Runtime,
    core: usize,
    waker: Arc<W>,
) -> Pin<Box<Sleep>> {
    let waker = Waker::from(waker);
    let waits = move || {
        let mut sleep = Box::pin(sleep(Duration::from_secs(3600)));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleep
    };
    runtime.block_on(runtime.handle().call(core, waits)).unwrap()
}

/// Told of the end of its runtime, takes three times as long as a core had for its last word.
struct Slow(AtomicBool);

impl Wake for Slow {
    fn wake(self: Arc<Self>) {
        std::thread::sleep(Duration::from_millis(300));
        self.0.store(true, Ordering::SeqCst);
    }
}

/// It waits for the other one until the time is up. What it has to do then takes a moment: here somebody
/// else's waker does, elsewhere a CPU that others have.
#[test]
fn a_core_that_is_late_with_its_last_word_is_not_reported_beside_one_that_is_stuck() {
    bounded(|| {
        let runtime = runtime(2);
        let slow = Arc::new(Slow(AtomicBool::new(false)));
        let _sleep = sleep_at(&runtime, 1, Arc::clone(&slow));
        let endless = Endless::on(&runtime, 0);
        let report = runtime.shutdown_timeout(Duration::from_millis(100));
        assert_eq!(report.stuck_cores, [0], "{report}");
        assert!(slow.0.load(Ordering::SeqCst), "the core has told it");
        endless.ends();
    });
}

/// As above, but those that are late stay so.
#[test]
fn the_end_waits_for_all_cores_that_are_late_at_once_and_not_for_one_after_the_other() {
    struct Stays(Mutex<mpsc::Receiver<()>>);
    impl Wake for Stays {
        fn wake(self: Arc<Self>) {
            assert!(self.0.lock().unwrap().recv().is_err());
        }
    }
    const CORES: usize = 8;
    bounded(|| {
        let runtime = runtime(CORES);
        let mut held = Vec::new();
        for core in 1..CORES {
            let (open, gate) = mpsc::channel();
            held.push((open, sleep_at(&runtime, core, Arc::new(Stays(Mutex::new(gate))))));
        }
        let endless = Endless::on(&runtime, 0);
        let begun = Instant::now();
        let report = runtime.shutdown_timeout(Duration::from_millis(100));
        // One after the other they would take seven seconds.
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        assert_eq!(report.stuck_cores, Vec::from_iter(0..CORES), "{report}");
        drop(held);
        endless.ends();
    });
}
