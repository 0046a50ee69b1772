//! Tasks: a future with a life of its own, in one allocation.
//!
//! | what | how |
//! |---|---|
//! | begin one | `spawn`, `spawn_local` and `spawn_on` at the root; with a name: [`Builder`] |
//! | wait for it, end it | [`JoinHandle`], [`AbortHandle`], [`AbortOnDrop`]; [`JoinError`] |
//! | join many | [`JoinSet`] |
//! | let others run | [`yield_now()`], [`coop`] |
//! | keep what belongs to a task | [`task_local!`](crate::task_local), [`LocalKey`] |
//! | which task is running | [`id()`] |
//!
//! # For the house
//! L2. The rest of this page is for those who read the source.
//!
//! Owns the task cell, its state machine, wakers, join and abort handles, ids, and the list of a core's
//! tasks; beside them sets of tasks and task-local values, which use no more of a task than anybody may.
//! Promises: a future is polled by one thread at a time, never after it has ended, and is dropped exactly
//! once, where it may be; its panics end the task and nothing else; a wake is never lost. It knows no queue,
//! no core and no ring: a scheduler implements `Schedule`, and whoever makes a task's events come true calls
//! a `Waker`.
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
//! | `Unborn` | one, until it is born | bringing a local task to its home |
//! | `Request`, a message | at most one at a time | telling a local task's home that others want something |
//!
//! All are counted in the state word, above its bits; of a local task, in two words (below). The last one
//! frees the cell.
//!
//! # Two kinds of tasks
//! A task that is `Send` may be run, woken, joined and ended by any thread: each transition of its state word
//! is one read-modify-write. A **local** task (`new_local`, `new_elsewhere`) has a *home thread*, whose mark
//! (`mark.rs`) its header bears, and only that thread makes transitions, by plain loads and stores. What
//! other threads want of it (a wake, an abort, to join, to leave) and the references that they make and give
//! up are kept in a second word, always by read-modify-write, and a message brings home that there is
//! something: the protocol is `remote.rs`, what is done with it `afar.rs`. The transitions are the same, and
//! `State::side` says which of the ways is the calling thread's.
//!
//! # Who may touch what
//! - `state`, the word: of a `Send` task everybody, of a local one its home thread (before it is born,
//!   whoever has the `Unborn`); by the transitions of `state.rs` only.
//! - `state`, the other word (`remote`): of a local task everybody, by read-modify-write; home only looks,
//!   except to take what has arrived and, once the task is over, to merge the counts and to count there from
//!   then on. A `Send` task has no use for it.
//! - Constant: functions, mark, id, attributes, the number of the span (`trace.rs`).
//! - `home`: the scheduler's note, atomic. Of a `Send` task a hint, written by who queues it; of a local one
//!   written before anybody else knows the task, and never again: its requests go there.
//! - `node`: of a `Send` task whoever holds the `Notified`, or the list it has been put into; of a local task
//!   the message that is on its way, of which there is at most one (IN_FLIGHT). A local task's `Notified`
//!   never travels.
//! - `list`, `links`: the `OwnedTasks` that the task is in, under its lock (or on its thread). `list` is read
//!   by everybody, to find that and to know the runtime: it is 0 until the task is listed and after it has
//!   left, and one number in between.
//! - `stage` (future, then output): whoever has set RUNNING; after COMPLETE the `JoinHandle`. If the handle
//!   is gone before COMPLETE, the completer drops the output first; one whose drop does nothing stays until
//!   the cell is freed. If it went elsewhere from a local task,
//!   it is gone once its message has arrived: what comes later leaves the output to whoever receives that.
//! - `join_waker`: the `JoinHandle` while JOIN_WAKER is clear; after COMPLETE has met JOIN_WAKER, the
//!   completer. The handle may clear JOIN_WAKER again, but not any more once COMPLETE is set. Of a local task
//!   this is for a handle at home.
//! - `rare`: made at birth if there is a name, or else by a handle that is elsewhere, before it waits. The
//!   name is constant. Beside it:
//! - `far_joiner`: of a local task, the waker of a handle that is elsewhere. Whoever swaps it out has it: the
//!   completer, or the handle when it goes, elsewhere or back at home. If the handle's request is still on
//!   its way when it goes at home, that is done when the request arrives.
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
//! A newborn (`newborn.rs`) begins with the poll, RUNNING: if that is `Ready` it has been in no list, if it
//! is `Pending` it is listed and goes on as above.
//!
//! A task that is woken while it is polled keeps NOTIFIED, and the end of that poll makes the next
//! `Notified`; it is handed over with `Cause::Yielded`, to go to the back of the queue. An aborted task is
//! scheduled like a woken one and meets its end where it would have been polled: on its own core. Only a
//! scheduler without cores takes an aborted task back out of its queue (`Schedule::aborted`), to be ended by
//! the aborting thread.
//!
//! # What it costs
//! Atomic read-modify-writes on the task's core, with the scheduler's own (`sched`), in steady state:
//!
//! | | local | `Send` | of which |
//! |---|---|---|---|
//! | spawn, from a task | 0 | 2 | the list's lock |
//! | a waker cloned; dropped; a wake, by value or by reference | 0 | 1 each | the state word |
//! | a poll ends in `Pending`, the next task's begins | 0 | 3 | out of the steal queue 1, the state word 2 |
//! | a handle polled before the end | 0 | 2 | the waker cloned, and published |
//! | the end | 0 | 4 | the list's lock 2, the state word 2 (1 if nobody waits) |
//! | a handle polled after the end, and dropped | 0 | 0 | |
//!
//! All of a task that is over in the poll that spawns it (`newborn.rs`) has none, which the instruction
//! counts of the benches hold (`spawn-join-eager`).
//!
//! `tests/read_modify_writes` looks at every instruction that a core executes during the life of a task, and
//! fails if one of these numbers changes; `cargo test --release --test read_modify_writes -- --nocapture`
//! prints what it saw. Zero is the number of a local task that no other thread has reached for. If one has,
//! and a trace of it is left at the end (a reference made or given up there, a handle that waits there), the
//! end is two more: the counts are merged, and the far joiner is looked for. After that each reference that
//! is given up is one, at home too. On the other thread a wake, an abort or the drop of a waker is one, and
//! unless a message is on its way already, two more for the inbox (push and knock) and up to two for a
//! reference to the scheduler; at home its arrival is one, and taking the lane is one for all that is in it.
//!
//! There is no clock, and no allocation in steady state for a task of up to 1 KiB that is born and ends on
//! one core, as long as no more than 32 of a size begin there before others end: its cell is what is left of
//! an earlier one (`shell.rs`). A larger one, and one that is made for another core, is allocated. A name is
//! one more and its place in the task another, and so are a place in a set, the waker of a handle that waits
//! for a local task elsewhere (with its place in the task two), and the reason of a task that fails
//! ([`JoinError`]).
//!
//! # Leaving home
//! `new_local` takes futures that are not `Send` and is safe, because everything that would touch the future
//! asks the mark first. A `Notified` run on a wrong thread panics; a shutdown there only asks for an abort.
//! The future is dropped when the task ends or is shut down on its own thread. If a runtime could not do that
//! (a core stuck for good and left behind) and the last reference is dropped elsewhere, **the cell is leaked
//! with its future**, because every other choice would be unsound. A home thread that goes ends its tasks,
//! retires and closes its inbox, in this order; from then on what is left of them is counted by everybody
//! alike.
//!
//! # Rejected
//! - *A reference held across every call of the scheduler* (its state lives in the cell, and the task may end
//!   on another core during the call): two read-modify-writes a wake. `Schedule::schedule_here` borrows
//!   nothing.
//! - *Skipping the read-modify-write if NOTIFIED is already set*: a load may pass the stores that the wake is
//!   about, so the poll that follows may miss them.
//! - *One word for local tasks too*, changed by everybody: every wake and every clone of a waker would be a
//!   read-modify-write, for the sake of threads that nearly never come.
//! - *A `Notified` that cancels its task when it is dropped*: a wake on a dead runtime would drop a future,
//!   with its user's locks held, inside `wake()`.
//! - *Aligning cells to cache-line pairs*: most tasks are born, run and ended by one core, and memory per
//!   idle connection counts.
//!
//! `tests/loom` checks the transitions with real cells (`task_*`, `local_*`).

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
mod newborn;
mod notified;
mod owned;
mod panic;
mod remote;
mod run;
mod shell;
mod state;
#[cfg(test)]
mod stress;
mod task_local;
#[cfg(test)]
mod tests;
#[cfg(feature = "tracing")]
mod trace;
mod unborn;
mod waker;
mod within;
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
pub(crate) use newborn::new_local_eager;
pub(crate) use notified::{Notified, Request, TaskRef};
pub(crate) use owned::{Entry, OwnedTasks};
pub(crate) use panic::OnPanic;
pub use panic::TaskPanic;
pub(crate) use shell::{Class, Seat, Shell, Shells};
#[doc(hidden)]
pub use task_local::LocalValue;
pub use task_local::{AccessError, LocalKey, TaskLocalFuture};
#[cfg(feature = "tracing")]
pub(crate) use trace::begin_block_on;
pub(crate) use unborn::{Unborn, new_elsewhere};
pub(crate) use within::depth;
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
    /// finds out with thread-locals and the task's header (`home`, `list_number`, `may_run_here`).
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

    /// The task has ended: takes it out of the owner's list. `None` if it is in none. Not called for one that
    /// ends in the poll that spawns it, unseen by anybody.
    fn release(&self, task: &Header) -> Option<TaskRef>;

    /// A task has ended, and this is left of it: kept for the next one, or dropped.
    fn keep(shell: Shell<Self>) {
        drop(shell);
    }

    /// The task has panicked: in its poll, in the drop of its future, or in the drop of an output that nobody
    /// took. Called once for the end of the future, with the first panic in it, and once for such a drop of
    /// an output, on the thread that panicked, before the task's handle learns of it. A panic in here is
    /// contained.
    fn panicked(&self, panic: &TaskPanic<'_>) {
        let _ = panic;
    }

    /// The task was aborted while it waits for its turn, or is having it. A scheduler that can take it out of
    /// its queue may end it here and now ([`Notified::shutdown`]); else it ends when its turn comes.
    fn aborted(&self, task: &Header) {
        let _ = task;
    }
}

/// Makes a task that any thread may run.
///
/// The [`TaskRef`] is for the owner's list, the [`Notified`] for its queue.
#[inline(always)]
pub(crate) fn new<F, S>(
    future: F,
    seat: impl Into<Seat<S>>,
    attributes: impl Into<Attributes>,
) -> (TaskRef, Notified, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    let attributes = attributes.into();
    #[cfg(feature = "tracing")]
    let (future, attributes) = trace::begin(future, "task", attributes);
    let task = run::allocate(future, seat.into(), Birth::Listed(Mark::ANY), attributes);
    // SAFETY: a new cell with three references, one for each; `ANY` is right, for future and output are
    // `Send`.
    unsafe { (TaskRef::from_raw(task), Notified::from_raw(task), JoinHandle::from_raw(task)) }
}

/// Makes a task that only the calling thread may run, so that its future need not be `Send`.
// Inlined, as what it calls is: a seat that goes through memory is written in parts and read as a whole,
// which a CPU cannot forward (some 6 ns).
#[inline(always)]
pub(crate) fn new_local<F, S>(
    future: F,
    seat: impl Into<Seat<S>>,
    attributes: impl Into<Attributes>,
) -> (TaskRef, Notified, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    let attributes = attributes.into();
    #[cfg(feature = "tracing")]
    let (future, attributes) = trace::begin(future, "local", attributes);
    let task = run::allocate(future, seat.into(), Birth::Listed(Mark::here()), attributes);
    // SAFETY: a new cell with three references, one for each; the mark keeps other threads off the future,
    // and the handle's own bounds keep them off the output.
    unsafe { (TaskRef::from_raw(task), Notified::from_raw(task), JoinHandle::from_raw(task)) }
}

/// Makes a task that is in nobody's list: its scheduler must run it or shut it down.
pub(crate) fn new_unowned<F, S>(
    future: F,
    seat: impl Into<Seat<S>>,
    attributes: impl Into<Attributes>,
) -> (Notified, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    let attributes = attributes.into();
    #[cfg(feature = "tracing")]
    let (future, attributes) = trace::begin(future, trace::BLOCKING, attributes);
    let task = run::allocate(future, seat.into(), Birth::Unlisted, attributes);
    // SAFETY: a new cell with two references, one for each; `ANY` is right, for future and output are `Send`.
    unsafe { (Notified::from_raw(task), JoinHandle::from_raw(task)) }
}
