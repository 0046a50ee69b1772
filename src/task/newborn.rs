//! A local task that may be polled for the first time where it is spawned.
//!
//! Owns [`Newborn`], a task whose types are still known and which nobody else knows: if it ends in its first
//! poll it was in no list and no queue. Whether to poll it there is wise is the scheduler's business
//! (`sched/eager.rs`), for which within.rs counts.
//!
//! It is born RUNNING, with a reference for the runner and one for the handle, which nobody has yet. Only
//! what its own poll does can make it known: a clone of the waker, given to whomever. So if the word is as it
//! was, and no other thread has left anything, one plain store ends the task
//! (`State::complete_unseen`); else it ends as any other.

use super::cell::{Header, Reference};
use super::notified::{Notified, TaskRef};
use super::state::Birth;
use super::within::Within;
use super::{Attributes, JoinHandle, Mark, Schedule, Seat, run};
use std::future::Future;
use std::marker::PhantomData;

/// A task that has the turn it is born with before it, and whose future is an `F`: RUNNING, and in no list.
#[must_use = "a task that is neither run nor queued never ends"]
pub(crate) struct Newborn<F, S> {
    /// The runner's.
    task: Reference,
    /// And that it stays on the thread that made it, which is the one that may run it.
    types: PhantomData<(fn(F, S), *const ())>,
}

/// As [`new_local`](super::new_local), for a task that may be polled at once.
#[inline(always)]
pub(crate) fn new_local_eager<F, S>(
    future: F,
    seat: impl Into<Seat<S>>,
    attributes: impl Into<Attributes>,
) -> (Newborn<impl Future, S>, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    let attributes = attributes.into();
    #[cfg(feature = "tracing")]
    let (future, attributes) = super::trace::begin(future, "local", attributes);
    newborn(future, seat.into(), attributes)
}

/// The types of the cell, named.
#[inline(always)]
fn newborn<F, S>(future: F, seat: Seat<S>, attributes: Attributes) -> (Newborn<F, S>, JoinHandle<F::Output>)
where
    F: Future + 'static,
    S: Schedule,
{
    let task = run::allocate(future, seat, Birth::Running(Mark::here()), attributes);
    // SAFETY: a new cell with two references, one for each; the mark keeps other threads off the future, and
    // the handle's own bounds keep them off the output.
    let (task, handle) = unsafe { (Reference::from_raw(task), JoinHandle::from_raw(task)) };
    (Newborn { task, types: PhantomData }, handle)
}

impl<F: Future, S: Schedule> Newborn<F, S> {
    /// The task's header.
    #[inline]
    pub(crate) fn header(&self) -> &Header {
        self.task.header()
    }

    /// As [`new_local`](super::new_local) makes it: for a list and a queue.
    pub(crate) fn queue_instead(self) -> (TaskRef, Notified) {
        self.header().state.queue_instead();
        let task = self.task.into_raw();
        // SAFETY: the runner's reference and one that the state has counted now, one for each; the task is
        // NOTIFIED, and has neither yet.
        unsafe { (TaskRef::from_raw(task), Notified::from_raw(task)) }
    }

    /// Polls the task once, within the poll of another one: with what that one may still spend, and without
    /// what is its own (the values of `task_local!`). If it has not ended then, `list` puts it into its
    /// owner's list; where it says no, the task is cancelled. As with [`Notified::run`], no panic comes out.
    #[inline]
    pub(crate) fn run_within(self, list: impl FnOnce(TaskRef) -> bool) {
        debug_assert!(self.header().may_run_here(), "broken invariant: a newborn task is not at home");
        let _within = Within::a_poll();
        // SAFETY: `newborn` allocated the task with these types, for this thread and this turn, and the
        // reference is the runner's.
        unsafe { run::run_first::<F, S>(self.task.into_raw(), list) }
    }
}
