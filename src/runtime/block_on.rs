//! Polling a future on the calling thread.
//!
//! Owns the parking of that thread. A thread that polls may bring work to the cores at any moment, so while
//! it is awake it holds the runtime's clock, if that is one that tests can stop (`time::clock`): whoever
//! wakes it takes the hold for it, and it gives it up when it goes to sleep.
//!
//! A future that is polled here may call `block_on` again, of this runtime or of another one. The calls of a
//! thread are a chain, and each of them has one hold of its own runtime's clock. When the innermost one goes
//! to sleep, the thread as a whole does: it gives up the holds of all of them. Whoever wakes it takes all of
//! them before it is seen to be woken, so that none of the clocks jumps before the thread has done what it
//! was woken for. The outer calls are not asleep meanwhile, because they are being polled: a wake of theirs
//! is noted and keeps no hold.
#![forbid(unsafe_code)]

use super::current::Outer;
use crate::base::guard::contained;
use crate::sched::{Cause, Downfall};
use crate::task::coop;
use crate::time::{Clock, Hold};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The thread polls, or is about to.
const AWAKE: u8 = 0;
/// It has been woken, and has not begun the poll that follows.
const WOKEN: u8 = 1;
/// It is parked, or about to be, and holds no clock.
const ASLEEP: u8 = 2;

/// Wakes a parked thread.
struct Unpark {
    thread: Thread,
    state: AtomicU8,
    clock: Option<Arc<Clock>>,
    /// Of the calls around this one.
    outer: Outer,
}

/// What a thread that is awake holds: the clocks of this call and of those around it.
struct Holds<'a>(&'a Unpark);

impl<'a> Holds<'a> {
    fn take(unpark: &'a Unpark) -> Self {
        unpark.clocks().for_each(|clock| Hold::of(Some(clock)).pass_on());
        Self(unpark)
    }

    /// Leaves them to somebody who takes them over.
    fn pass_on(self) {
        std::mem::forget(self);
    }

    /// Those that somebody has passed on.
    fn taken_over(unpark: &'a Unpark) -> Self {
        Self(unpark)
    }
}

impl Drop for Holds<'_> {
    fn drop(&mut self) {
        self.0.clocks().for_each(|clock| drop(Hold::taken_over(Some(clock))));
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // First: once the thread sees that it is woken, it may already go to sleep again.
        let holds = Holds::take(self);
        if self.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            holds.pass_on();
            self.thread.unpark();
        }
    }
}

impl Unpark {
    fn clocks(&self) -> impl Iterator<Item = &Clock> {
        let outer = self.outer.iter().flat_map(|clocks| &clocks.0);
        self.clock.iter().chain(outer).map(|clock| &**clock)
    }

    /// Sleeps until somebody has woken the thread since the last poll began.
    fn wait<'a>(&'a self, awake: Hold<&'a Clock>) -> Hold<&'a Clock> {
        let slept = self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok();
        let awake = if slept {
            // With those of the calls around this one, which are theirs again once the thread is woken.
            awake.pass_on();
            drop(Holds::taken_over(self));
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

/// Polls `future` here until it is done; the thread is parked in between. `clock` is the runtime's, `outer`
/// those of the calls around this one.
///
/// # Errors
/// The panic that has ended the runtime, unless the first poll gave an output. What a later one gives once
/// the runtime has ended may be a consequence of that: a cancelled task, an op that is gone.
pub(super) fn block_on<F: Future>(
    future: F,
    clock: Option<Arc<Clock>>,
    outer: Outer,
    downfall: Option<&Downfall>,
) -> Result<F::Output, Arc<Cause>> {
    let unpark = Unpark { thread: thread::current(), state: AtomicU8::new(AWAKE), clock, outer };
    let unpark = Arc::new(unpark);
    let mut awake = Hold::of(unpark.clock.as_deref());
    let mut future = pin!(coop::unconstrained(future));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut cx = Context::from_waker(&waker);
    let _watch = downfall.map(|downfall| downfall.watch(waker.clone()));
    let cause = || downfall.and_then(Downfall::cause);
    let mut has_waited = false;
    loop {
        let polled = match downfall {
            Some(downfall) => poll_beside(downfall, || future.as_mut().poll(&mut cx))?,
            None => future.as_mut().poll(&mut cx),
        };
        match (polled, cause()) {
            (Poll::Ready(output), Some(cause)) if has_waited => {
                contained(|| drop(output));
                return Err(cause);
            }
            (Poll::Ready(output), _) => return Ok(output),
            (Poll::Pending, Some(cause)) => return Err(cause),
            (Poll::Pending, None) => awake = unpark.wait(awake),
        }
        has_waited = true;
        // Before the poll, which may complain of what the end has taken from it.
        if let Some(cause) = cause() {
            return Err(cause);
        }
    }
}

/// Polls by `poll`. A panic in it once the runtime has ended may be a consequence, as an output may.
fn poll_beside<T>(downfall: &Downfall, poll: impl FnOnce() -> Poll<T>) -> Result<Poll<T>, Arc<Cause>> {
    // Whatever it leaves behind is dropped, and not polled again.
    catch_unwind(AssertUnwindSafe(poll)).or_else(|payload| match downfall.cause() {
        Some(cause) => {
            contained(|| drop(payload));
            Err(cause)
        }
        None => resume_unwind(payload),
    })
}
