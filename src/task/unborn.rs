//! A task that is made on one thread and born on another.
//!
//! Owns [`Unborn`], the task before it has reached the thread it is bound to, and [`Lazy`], its future: first
//! the closure that makes it (which is `Send`), then what the closure made (which need not be). Existence is
//! proof: whoever holds the `Unborn` knows that the task has never been polled, so that it may be ended on
//! any thread.

use super::answer::Claim;
use super::cell::{Header, Reference};
use super::mark::Mark;
use super::notified::{Notified, TaskRef};
use super::state::Birth;
use super::{Attributes, JoinHandle, Schedule, run};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is made when it is first polled.
enum Lazy<M, F> {
    Make(Option<M>),
    Made(F),
}

impl<M, F> Future for Lazy<M, F>
where
    M: FnOnce() -> F,
    F: Future,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `Make` is not structurally pinned (the closure is moved out before it is called); what is
        // in `Made` is never moved again.
        let this = unsafe { self.get_unchecked_mut() };
        if let Self::Make(make) = this {
            let make = make.take().expect("a closure that panicked is not called again");
            *this = Self::Made(make());
        }
        let Self::Made(future) = this else { unreachable!("made above") };
        // SAFETY: pinned with `this`, see above.
        unsafe { Pin::new_unchecked(future) }.poll(cx)
    }
}

/// A task on its way to the thread it is bound to.
#[must_use = "a task that is neither born nor cancelled leaves its handle waiting for ever"]
pub(crate) struct Unborn(Reference);

/// Makes a task that only the thread with `mark` will run; `make` is called there.
pub(crate) fn new_elsewhere<M, F, S>(
    make: M,
    scheduler: S,
    mark: Mark,
    attributes: impl Into<Attributes>,
) -> (Unborn, JoinHandle<F::Output>)
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    let future = Lazy::Make(Some(make));
    let attributes = attributes.into();
    #[cfg(feature = "tracing")]
    let (future, attributes) = super::trace::begin(future, "local", attributes);
    let task = run::allocate(future, scheduler.into(), Birth::Elsewhere(mark), attributes);
    // SAFETY: a new cell with two references, one for each. What is in it is `Send` until it is polled, which
    // the mark lets one thread do.
    unsafe { (Unborn(Reference::from_raw(task)), JoinHandle::from_raw(task)) }
}

impl Unborn {
    /// The task's header.
    pub(crate) fn header(&self) -> &Header {
        self.0.header()
    }

    /// On the thread it is bound to: the task as that thread's own.
    ///
    /// # Panics
    /// On another thread.
    pub(crate) fn born(self) -> (TaskRef, Notified) {
        assert!(self.0.header().may_run_here(), "broken invariant: a task was born on a foreign thread");
        self.0.header().state.born();
        let owned = self.0.clone();
        // SAFETY: two references; the task was made NOTIFIED and has neither a `Notified` nor a `TaskRef`
        // yet.
        unsafe { (TaskRef::from_raw(owned.into_raw()), Notified::from_raw(self.0.into_raw())) }
    }

    /// On any thread: the task will not be born. Its closure is dropped here and its handle learns that it
    /// was cancelled.
    pub(crate) fn cancel(self) {
        let header = self.0.header();
        if header.state.claim() == Claim::Ours {
            let cancel = header.functions().cancel;
            // SAFETY: claimed; the future has never been polled, so what is dropped is the closure, which is
            // `Send`; the reference goes with the call.
            unsafe { cancel(self.0.into_raw()) }
        }
    }
}
