//! What the tests of `tracing` share: a subscriber that keeps all it is told, and a client of the console.
//!
//! Owns no assertion about spans or events; each test says itself what must have been seen.
#![forbid(unsafe_code)]

pub mod capture;
pub mod client;

use ringwork::runtime::{Builder, Pin, Runtime};
use std::future::Future;
use std::pin::Pin as Pinned;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Longer than any correct run takes on a busy machine; what is not done by then hangs.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A runtime of `cores` unpinned cores.
pub fn runtime(cores: usize) -> Runtime {
    Builder::new().cores(cores).pin(Pin::Off).build().expect("a runtime starts")
}

/// A future that is woken from outside, and counts its polls.
#[derive(Clone, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Default)]
struct Inner {
    polls: AtomicU64,
    open: Mutex<(bool, Option<Waker>)>,
}

impl Gate {
    /// How often it has been polled.
    pub fn polls(&self) -> u64 {
        self.0.polls.load(Ordering::Acquire)
    }

    /// Wakes whoever waits, once; the poll that follows finds it closed still.
    pub fn knock(&self) {
        let waker = self.0.open.lock().unwrap().1.take();
        waker.expect("somebody waits").wake();
    }

    /// Wakes whoever waits; the poll that follows is the last.
    pub fn open(&self) {
        self.0.open.lock().unwrap().0 = true;
        self.knock();
    }

    /// Waits until it has been polled `polls` times.
    pub fn await_polls(&self, polls: u64) {
        wait_until(|| self.polls() >= polls && self.0.open.lock().unwrap().1.is_some());
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut open = self.0.open.lock().unwrap();
        self.0.polls.fetch_add(1, Ordering::AcqRel);
        if open.0 {
            return Poll::Ready(());
        }
        open.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Looks again and again until it is so.
///
/// # Panics
/// If it is not within [`LIMIT`].
#[track_caller]
pub fn wait_until(mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + LIMIT;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "it did not come to be");
        std::thread::sleep(Duration::from_millis(1));
    }
}
