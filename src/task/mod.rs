//! L2, tasks: a future with a life of its own, in one allocation.
//!
//! For users: [`JoinHandle`], [`AbortHandle`] and [`AbortOnDrop`] are what `spawn` and its kin give,
//! [`JoinError`] says why there is no output, [`JoinSet`] joins many, [`Builder`] gives a task a name,
//! [`id()`] says which task is running, [`LocalKey`] keeps what belongs to a task, [`yield_now()`] and
//! [`coop`] let others run. The rest of this page is for those who read the source.
//!
//! Owns the task cell, its state machine, wakers, join and abort handles, ids, and the list of a core's
//! tasks; beside them sets of tasks and task-local values, which use no more of a task than anybody may.
//! Promises: a future is polled by one thread at a time, never after it has ended, and is dropped
//! exactly once, where it may be; its panics end the task and nothing else; a wake is never lost. It knows no
//! queue, no core and no ring: a scheduler implements `Schedule`, and whoever makes a task's events come
//! true calls a `Waker`.
//!
//! # Who holds a reference
//! | type | how many | what it is for |
//! |---|---|---|
//! | `TaskRef` | one; in the core's `OwnedTasks` | ending the task at shutdown |
//! | `Notified` | at most one | one turn: run it, end it, or send it on (its node fits an inbox) |
//! | the runner | at most one, was the `Notified`'s | the poll that is going on |
//! | `Waker` | any number | waking |
//! | [`JoinHandle`] | at most one | the output |
//! | [`AbortHandle`] | any number | ending the task |
//!
//! All count in the state word, above its bits. The last one frees the cell.
//!
//! # Who may touch what
//! - `state`: everybody, by the transitions of `state.rs` only. Constant: functions, mark, realm, id,
//!   attributes.
//! - `node`: whoever holds the `Notified`, or the list it has been put into.
//! - `list`, `links`: the `OwnedTasks` that the task is in, under its lock (or on its thread).
//! - `stage` (future, then output): whoever has set RUNNING; after COMPLETE the `JoinHandle`. If the handle
//!   is gone before COMPLETE, the completer drops the output first.
//! - `join_waker`: the `JoinHandle` while JOIN_WAKER is clear; after COMPLETE has met JOIN_WAKER, the
//!   completer. The handle may clear JOIN_WAKER again, but not any more once COMPLETE is set.
//! - `scheduler`: everybody with a reference, by `&`.
//!
//! The output is in its place before COMPLETE is set, and the task has left its owner's list: whoever has
//! joined a task does not find it counted any more.
//!
//! # One life
//! ```text
//! new ─▶ NOTIFIED ─▶ run ─▶ poll ──── Ready ───▶ output stored, left the list ─▶ COMPLETE ─▶ joiner woken
//!           ▲                 │ Pending
//!           │ wake, abort     ▼
//!           └────────────── idle ──── shutdown (claim) ─▶ future dropped, "cancelled" stored ─▶ COMPLETE …
//! ```
//! A task that is woken while it is polled keeps NOTIFIED, and the end of that poll makes the next
//! `Notified`; it is handed over with `Cause::Yielded`, to go to the back of the queue. An aborted task
//! is scheduled like a woken one and meets its end where it would have been polled: on its own core. Only a
//! scheduler without cores takes an aborted task back out of its queue (`Schedule::aborted`), to be ended by
//! the aborting thread.
//!
//! # What it costs
//! Atomic read-modify-writes of the state word: a spawn none; a turn that begins 1; a turn that ends in
//! `Pending` 1; a wake by value 1, by reference 1 (2 if raced); a waker cloned 1, dropped 1; the end 1 (2 if
//! somebody is waiting, 0 if nobody else knows the task any more); a handle dropped at once 1, dropped last
//! 0. A scheduler that cannot take a woken task in `Schedule::schedule_here` adds 2. `OwnedTasks` adds a
//! lock for `Send` tasks at birth and end, and none for local tasks. There is no clock and no allocation but
//! the cell; a name is one more, and so is a place in a set.
//!
//! # Local tasks
//! `new_local` takes futures that are not `Send` and is safe: the header bears the mark of the thread that
//! made the task (`mark.rs`), and everything that would touch the future asks it first. A `Notified` run on
//! a wrong thread panics, one shut down there only marks the task. The future is dropped when the task ends
//! or is shut down on its own thread. If a runtime could not do that (a core stuck for good and left behind)
//! and the last reference is dropped elsewhere, **the cell is leaked with its future**, because every other
//! choice would be unsound.
//!
//! # Rejected
//! - *A reference held across every call of the scheduler* (its state lives in the cell, and the task may end
//!   on another core during the call): two read-modify-writes a wake. `Schedule::schedule_here` borrows
//!   nothing.
//! - *Skipping the read-modify-write if NOTIFIED is already set*: a load may pass the stores that the wake is
//!   about, so the poll that follows may miss them.
//! - *A `Notified` that cancels its task when it is dropped*: a wake on a dead runtime would drop a future,
//!   with its user's locks held, inside `wake()`.
//! - *Aligning cells to cache-line pairs*: most tasks are born, run and ended by one core, and memory per
//!   idle connection counts.
//!
//! `tests/loom` checks the transitions with real cells (`task_*`).

mod abort_on_drop;
mod afar;
mod answer;
mod attributes;
mod builder;
mod cell;
mod error;
mod id;
mod join;
mod join_set;
mod mark;
mod notified;
mod owned;
mod panic;
mod remote;
mod run;
mod state;
#[cfg(test)]
mod stress;
mod task_local;
#[cfg(test)]
mod tests;
mod unborn;
mod waker;
mod yield_now;

pub use abort_on_drop::AbortOnDrop;
pub(crate) use attributes::Attributes;
pub use builder::Builder;
pub(crate) use cell::Header;
pub use error::JoinError;
pub use id::{Id, id, try_id};
pub use join::{AbortHandle, JoinHandle};
pub use join_set::JoinSet;
pub(crate) use mark::Mark;
pub(crate) use notified::{Notified, Request, TaskRef};
pub(crate) use owned::{Entry, OwnedTasks};
pub(crate) use panic::OnPanic;
pub use panic::TaskPanic;
pub use task_local::{AccessError, LocalKey, TaskLocalFuture};
pub(crate) use unborn::{Unborn, new_elsewhere};
pub use yield_now::{YieldNow, yield_now};

use state::Birth;

pub mod coop {
    //! The cooperative budget of a task: how many ready results it may take before others get their turn.
    //!
    //! ringwork's own futures spend it by themselves; futures of other crates do with [`cooperative`]. It
    //! limits nothing outside a task.
    pub use crate::base::coop::{
        Cooperative, RestoreOnPending, Unconstrained, consume_budget, cooperative, has_budget_remaining,
        poll_proceed, unconstrained,
    };
}

/// Why a task is to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its waker was called, or it was aborted, while nobody polled it.
    Woken,
    /// It was woken during its own poll: it goes behind everything that waits.
    Yielded,
}

/// What a task needs of its scheduler. Stored by value in each task: a pointer to shared state, or nothing.
///
/// All methods are called with nothing of the task locked; none may block or wait for another thread.
pub(crate) trait Schedule: Clone + Send + Sync + Sized + 'static {
    /// The task wants to run: puts it into a queue. Called on any thread, also from within a poll.
    fn schedule(&self, task: Notified);

    /// As [`schedule`](Self::schedule), for [`Cause::Yielded`].
    fn schedule_again(&self, task: Notified) {
        self.schedule(task);
    }

    /// A short cut, tried first: takes the task if the calling thread is a core that may queue it, which it
    /// finds out with thread-locals and the task's header (`home`, `realm`, `may_run_here`).
    ///
    /// # Errors
    /// The task, for [`schedule`](Self::schedule) or [`schedule_again`](Self::schedule_again).
    fn schedule_here(task: Notified, cause: Cause) -> Result<(), Notified> {
        let _ = cause;
        Err(task)
    }

    /// Another thread wants something of a local task: sends the request to the task's home, where
    /// [`Notified::from_message`] deals with it.
    fn request(&self, request: Request);

    /// Names the runtime (or core) that `schedule_here` is to recognise; kept in the task's header.
    fn realm(&self) -> usize {
        0
    }

    /// The task has ended: takes it out of the owner's list. `None` if it is in none.
    fn release(&self, task: &Header) -> Option<TaskRef>;

    /// The task has panicked: in its poll, in the drop of its future, or in the drop of an output that nobody
    /// took. Called once for each of these, on the thread that panicked, before the task's handle learns of
    /// it. A panic in here is contained.
    fn panicked(&self, panic: &TaskPanic<'_>) {
        let _ = panic;
    }

    /// The task was aborted while it waits for its turn. A scheduler that can take it out of its queue may
    /// end it here and now ([`Notified::shutdown`]); else it ends when its turn comes.
    fn aborted(&self, task: &Header) {
        let _ = task;
    }
}

/// Makes a task that any thread may run.
///
/// The [`TaskRef`] is for the owner's list, the [`Notified`] for its queue.
pub(crate) fn new<F, S>(
    future: F,
    scheduler: S,
    attributes: impl Into<Attributes>,
) -> (TaskRef, Notified, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    let task = run::allocate(future, scheduler, Birth::Listed(Mark::ANY), attributes.into());
    // SAFETY: a new cell with three references, one for each; `ANY` is right, for future and output are
    // `Send`.
    unsafe { (TaskRef::from_raw(task), Notified::from_raw(task), JoinHandle::from_raw(task)) }
}

/// Makes a task that only the calling thread may run, so that its future need not be `Send`.
pub(crate) fn new_local<F, S>(
    future: F,
    scheduler: S,
    attributes: impl Into<Attributes>,
) -> (TaskRef, Notified, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    let task = run::allocate(future, scheduler, Birth::Listed(Mark::here()), attributes.into());
    // SAFETY: a new cell with three references, one for each; the mark keeps other threads off the future,
    // and the handle's own bounds keep them off the output.
    unsafe { (TaskRef::from_raw(task), Notified::from_raw(task), JoinHandle::from_raw(task)) }
}

/// Makes a task that is in nobody's list: its scheduler must run it or shut it down.
pub(crate) fn new_unowned<F, S>(
    future: F,
    scheduler: S,
    attributes: impl Into<Attributes>,
) -> (Notified, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    let task = run::allocate(future, scheduler, Birth::Unlisted, attributes.into());
    // SAFETY: a new cell with two references, one for each; `ANY` is right, for future and output are `Send`.
    unsafe { (Notified::from_raw(task), JoinHandle::from_raw(task)) }
}
