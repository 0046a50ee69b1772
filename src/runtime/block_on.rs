//! Polling a future on the calling thread.
#![forbid(unsafe_code)]

use crate::sched::{Cause, Downfall};
use crate::task::coop;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Wakes a parked thread.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Polls `future` here until it is done; the thread is parked in between.
///
/// # Errors
/// The panic that has ended the runtime, if it does before the future is done.
pub(super) fn block_on<F: Future>(future: F, downfall: Option<&Downfall>) -> Result<F::Output, Arc<Cause>> {
    let mut future = pin!(coop::unconstrained(future));
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut cx = Context::from_waker(&waker);
    let _watch = downfall.map(|downfall| downfall.watch(waker.clone()));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Ok(output);
        }
        if let Some(cause) = downfall.and_then(Downfall::cause) {
            return Err(cause);
        }
        while !unpark.woken.swap(false, Ordering::AcqRel) {
            thread::park();
        }
    }
}
