//! Polling a future on the calling thread.
//!
//! Owns the parking of that thread. A thread that polls may bring work to the cores at any moment, so while
//! it is awake it holds the runtime's clock, if that is one that tests can stop (`time::clock`): whoever
//! wakes it takes the hold for it, and it gives it up when it goes to sleep.
#![forbid(unsafe_code)]

use crate::sched::{Cause, Downfall};
use crate::task::coop;
use crate::time::{Clock, Hold};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The thread polls, or is about to.
const AWAKE: u8 = 0;
/// It has been woken, and has not begun the poll that follows.
const WOKEN: u8 = 1;
/// It is parked, or about to be, and does not hold the clock.
const ASLEEP: u8 = 2;

/// Wakes a parked thread.
struct Unpark {
    thread: Thread,
    state: AtomicU8,
    clock: Option<Arc<Clock>>,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // First: once the thread sees that it is woken, it may already go to sleep again.
        let hold = Hold::of(self.clock.as_deref());
        if self.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            hold.pass_on();
            self.thread.unpark();
        }
    }
}

impl Unpark {
    /// Sleeps until somebody has woken the thread since the last poll began.
    fn wait<'a>(&'a self, awake: Hold<&'a Clock>) -> Hold<&'a Clock> {
        let slept = self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok();
        let awake = if slept {
            drop(awake);
            while self.state.load(Ordering::Acquire) == ASLEEP {
                thread::park();
            }
            Hold::taken_over(self.clock.as_deref())
        } else {
            awake
        };
        // What was written before any wake so far is seen by the poll that follows.
        self.state.swap(AWAKE, Ordering::AcqRel);
        awake
    }
}

/// Polls `future` here until it is done; the thread is parked in between.
///
/// # Errors
/// The panic that has ended the runtime, if it does before the future is done.
pub(super) fn block_on<F: Future>(
    future: F,
    clock: Option<Arc<Clock>>,
    downfall: Option<&Downfall>,
) -> Result<F::Output, Arc<Cause>> {
    let unpark = Arc::new(Unpark { thread: thread::current(), state: AtomicU8::new(AWAKE), clock });
    let mut awake = Hold::of(unpark.clock.as_deref());
    let mut future = pin!(coop::unconstrained(future));
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
        awake = unpark.wait(awake);
    }
}
