//! The references that a scheduler holds: a task that wants to run, one that somebody elsewhere wants
//! something of, and a task that it owns.
//!
//! Owns [`Notified`] (one turn of a task: to be run, shut down, or sent on), [`Request`] (to be sent home)
//! and [`TaskRef`] (the entry in the owner's list). Where they wait and on which core they run is the
//! scheduler's business.

use super::afar;
use super::answer::{Claim, Side};
use super::cell::{Header, Reference};
use super::remote::ABORT;
use crate::base::message::{Message, Node};
use std::fmt;
use std::ptr::NonNull;

/// A task that wants to run: at most one exists for each task.
///
/// Dropped, it gives up its reference and no more: the task is not polled again, but it stays in its owner's
/// list until that is shut down. To end the task, call [`shutdown`](Self::shutdown).
#[must_use = "a task whose Notified is dropped is never polled again"]
pub(crate) struct Notified(Reference);

impl Notified {
    /// Takes over a reference.
    ///
    /// # Safety
    /// As [`Reference::from_raw`]; and the task is marked NOTIFIED with no other `Notified` about.
    #[inline]
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        // SAFETY: passed on from the caller.
        Self(unsafe { Reference::from_raw(task) })
    }

    /// Another reference to the same task.
    pub(super) fn keep(&self) -> Reference {
        self.0.clone()
    }

    /// The task's header.
    #[inline]
    pub(crate) fn header(&self) -> &Header {
        self.0.header()
    }

    /// Polls the task once. A task woken by its own poll is scheduled again, a finished one leaves its
    /// owner's list and wakes its joiner. No panic of the task comes out.
    ///
    /// # Panics
    /// If the task is bound to another thread: the scheduler has lost its way. The future is not touched.
    #[inline]
    pub(crate) fn run(self) {
        assert!(
            self.header().may_run_here(),
            "broken invariant: {:?} was to be run on a thread that it is not bound to",
            self.header()
        );
        let run = self.header().functions().run;
        // SAFETY: a `Notified`'s reference, on a thread that the mark admits.
        unsafe { run(self.0.into_raw()) }
    }

    /// Ends the task without another poll: its future is dropped here and its joiner learns that it was
    /// cancelled.
    ///
    /// A task that is bound to another thread is only marked, and ends when that thread runs it or shuts it
    /// down.
    pub(crate) fn shutdown(self) {
        shutdown(self.0);
    }

    /// Ends a new local task that its home has refused, and leaves nothing of it to its home, whose door may
    /// be closed already: from here on all threads count its references alike.
    pub(crate) fn refuse(self) {
        self.header().state.merge_at_end();
        self.shutdown();
    }

    /// The message that carries this `Notified` through an inbox. Only of a task that is not local: the node
    /// of a local one is kept for requests.
    pub(crate) fn into_message(self) -> Message {
        assert!(!self.header().is_local(), "broken invariant: {:?} was sent as a message", self.header());
        let node: NonNull<Node> = self.0.into_raw().cast();
        // SAFETY: the node is the header's first field and in no list, because the one `Notified` is here;
        // the reference goes with the message; `dispose` runs on any thread.
        unsafe { Message::from_raw(node) }
    }

    /// Takes the task out of its message, if it is to run. A request of a local task is dealt with here, on
    /// its home thread.
    ///
    /// # Errors
    /// The message, if it does not carry a task.
    ///
    /// # Panics
    /// If the message is a request of another thread's task.
    #[inline]
    pub(crate) fn from_message(message: Message) -> Result<Option<Self>, Message> {
        if !message.is_task() {
            return Err(message);
        }
        // SAFETY: only this room makes nodes of the task kind, and only the `into_message`s put them on their
        // way, each with a reference.
        let task = unsafe { Reference::from_raw(message.into_raw().cast()) };
        if !task.header().is_local() {
            // SAFETY: `Notified::into_message` made the message.
            return Ok(Some(unsafe { Self::from_raw(task.into_raw()) }));
        }
        assert!(task.header().may_run_here(), "broken invariant: a request for {:?} got lost", task.header());
        // SAFETY: `Request::into_message` made the message, and this is the task's home.
        Ok(unsafe { afar::receive(task.into_raw()) })
    }
}

/// Something that another thread wants of a local task: to be brought to the task's home.
#[must_use = "a request that does not become a message is lost, and all later ones of its task with it"]
pub(crate) struct Request(Reference);

impl Request {
    /// The message's reference.
    pub(super) fn new(task: Reference) -> Self {
        Self(task)
    }

    /// The task's header.
    pub(crate) fn header(&self) -> &Header {
        self.0.header()
    }

    /// The message that carries it through the inbox of the task's home.
    pub(crate) fn into_message(self) -> Message {
        let node: NonNull<Node> = self.0.into_raw().cast();
        // SAFETY: the node is the header's first field and in no list, because IN_FLIGHT was clear; the
        // reference goes with the message; `dispose` runs on any thread.
        unsafe { Message::from_raw(node) }
    }
}

impl fmt::Debug for Notified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notified").field(self.header()).finish()
    }
}

/// The owner's reference to a task: what its list holds. One exists for each task, but for one that has not
/// outlived the poll that spawns it.
#[must_use = "an owner that forgets its tasks cannot shut them down"]
pub(crate) struct TaskRef(Reference);

impl TaskRef {
    /// Takes over a reference.
    ///
    /// # Safety
    /// As [`Reference::from_raw`]; and no other `TaskRef` of this task exists.
    #[inline]
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        // SAFETY: passed on from the caller.
        Self(unsafe { Reference::from_raw(task) })
    }

    /// Hands the reference to the caller, uncounted.
    #[inline]
    pub(super) fn into_raw(self) -> NonNull<Header> {
        self.0.into_raw()
    }

    /// The task's header.
    #[inline]
    pub(crate) fn header(&self) -> &Header {
        self.0.header()
    }

    /// Ends the task: drops the future here, or marks it if it is being polled elsewhere (or right now, by
    /// the caller), to end with that poll. As with [`Notified::shutdown`], only marks what is bound to
    /// another thread.
    pub(crate) fn shutdown(self) {
        shutdown(self.0);
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskRef").field(self.header()).finish()
    }
}

fn shutdown(task: Reference) {
    let header = task.header();
    if header.state.side() == Side::Afar {
        afar::give(task, ABORT);
    } else if header.state.claim() == Claim::Ours {
        let cancel = header.functions().cancel;
        // SAFETY: claimed, on a thread that the mark admits; the reference goes with the call.
        unsafe { cancel(task.into_raw()) }
    }
}

#[cfg(test)]
mod tests;
