//! What a thread does for a local task that is not at home there, and what the home thread does when it hears
//! of it. The protocol is `remote.rs`.
//!
//! Owns the ways of a request: asked for, pushed, received, or forsaken because nobody will receive it; and
//! [`FarJoiner`], the place for the waker of a handle that is elsewhere. It makes no transition itself.

use super::answer::{FarJoin, FarLeave, Wake};
use super::cell::{Header, Reference};
use super::notified::{Notified, Request};
use super::remote::{ABORT, Asked, JOIN, LEAVE, WAKE, With};
use super::state::State;
use crate::base::guard::{self, contained};
use crate::base::sync::{AtomicPtr, Ordering};
use std::fmt;
use std::ptr::{self, NonNull};
use std::task::Waker;

/// The waker of a handle that waits elsewhere. Whoever swaps it out has it.
pub(super) struct FarJoiner(AtomicPtr<Waker>);

impl Default for FarJoiner {
    /// Nobody.
    fn default() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }
}

impl FarJoiner {
    /// The handle: waits with this waker. The one that waited before, if it has not been taken.
    fn put(&self, waker: Waker) -> Option<Box<Waker>> {
        self.swap(Box::into_raw(Box::new(waker)))
    }

    /// Whoever is to wake it, or does not want to any more.
    pub(super) fn take(&self) -> Option<Box<Waker>> {
        self.swap(ptr::null_mut())
    }

    /// The task is freed, by a core's loop perhaps: a waker that panics when it is dropped ends nothing.
    #[cold]
    fn drop_waker(&self) {
        contained(|| drop(self.take()));
    }

    fn swap(&self, new: *mut Waker) -> Option<Box<Waker>> {
        let old = NonNull::new(self.0.swap(new, Ordering::AcqRel))?;
        // SAFETY: `put` made it from a box, and this swap is the one that took it out.
        Some(unsafe { Box::from_raw(old.as_ptr()) })
    }
}

impl Drop for FarJoiner {
    #[inline]
    fn drop(&mut self) {
        // A look before the swap: nearly always there is nobody.
        if !self.0.load(Ordering::Relaxed).is_null() {
            self.drop_waker();
        }
    }
}

impl fmt::Debug for FarJoiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FarJoiner")
    }
}

/// Asks for `requests` (or for nothing) and gives up a reference.
pub(super) fn give(task: Reference, requests: usize) {
    let functions = task.header().functions();
    let Err(task) = try_give(task, requests) else { return };
    let last = task.header().state.remote.release();
    let task = task.into_raw();
    if last {
        // SAFETY: merged, and that was the last reference.
        unsafe { (functions.free)(task) }
    }
}

/// As [`give`], unless the task is over and merged.
fn try_give(task: Reference, requests: usize) -> Result<(), Reference> {
    let functions = task.header().functions();
    match task.header().state.remote.ask(requests, With::Given) {
        Asked::Over => Err(task),
        Asked::Push => {
            // SAFETY: `Push` says that the reference is the message's now.
            unsafe { (functions.send)(task.into_raw()) };
            Ok(())
        }
        // From here on the task may be gone.
        Asked::Noted => {
            task.into_raw();
            Ok(())
        }
    }
}

/// Asks for `requests`; the caller keeps its reference to `task` throughout.
///
/// # Safety
/// `task` is the address of a whole task, of which the caller has a reference.
pub(super) unsafe fn ask(task: NonNull<Header>, requests: usize) {
    // SAFETY: the caller's reference.
    let header = unsafe { task.as_ref() };
    if header.state.remote.ask(requests, With::Kept) == Asked::Push {
        // SAFETY: `Push` says that a reference has been added for the message.
        unsafe { (header.functions().send)(task) }
    }
}

/// The handle, elsewhere: wants to be woken at the end. True if that has come.
pub(super) fn watch(task: &Reference, waker: Waker) -> bool {
    let header = task.header();
    // One that had not been taken is still awaited by the same request.
    if header.far_joiner().put(waker).is_none() {
        // SAFETY: `task` is a reference.
        unsafe { ask(task.address(), JOIN) };
    }
    // The request may have come too late for anybody to hear it, or been made in vain.
    if !header.state.is_complete() {
        return false;
    }
    drop(header.take_far_joiner());
    true
}

/// The handle, elsewhere, goes.
pub(super) fn leave(task: Reference) {
    drop(task.header().take_far_joiner());
    let over = if task.header().state.is_complete() { Err(task) } else { try_give(task, LEAVE) };
    if let Err(task) = over {
        // SAFETY: the task is complete and the caller is its handle, whose output may be here, because it is.
        unsafe { (task.header().functions().drop_output)(task.address()) };
        give(task, 0);
    }
}

/// Home: the node has arrived. The task, if it is to run.
///
/// # Safety
/// The message's reference is the caller's, and the calling thread is the task's home.
pub(super) unsafe fn receive(task: NonNull<Header>) -> Option<Notified> {
    // SAFETY: passed on from the caller.
    let task = unsafe { Reference::from_raw(task) };
    let header = task.header();
    let taken = header.state.remote.take();
    if taken.asks(JOIN) {
        match header.state.note_far_joiner() {
            FarJoin::Waits => {}
            FarJoin::Over => wake_far_joiner(header),
            FarJoin::Left => {
                contained(|| drop(header.take_far_joiner()));
            }
        }
    }
    if taken.asks(LEAVE) {
        match header.state.note_far_leave() {
            FarLeave::Nothing => {}
            // SAFETY: the task is complete, and its handle has left the output to us. It is `Send`, because
            // its handle was elsewhere.
            FarLeave::Output => unsafe { (header.functions().drop_output)(task.address()) },
            FarLeave::Waker => {
                // SAFETY: `Waker` says that it is ours.
                let waker = unsafe { header.take_join_waker() };
                contained(|| drop(waker));
            }
        }
    }
    match asked_to_run(&header.state, taken.asks(WAKE), taken.asks(ABORT)) {
        // SAFETY: `Schedule` says that a `Notified` is due; the message's reference becomes its own.
        Wake::Schedule => Some(unsafe { Notified::from_raw(task.into_raw()) }),
        Wake::Seen => None,
    }
}

fn asked_to_run(state: &State, wake: bool, abort: bool) -> Wake {
    match (wake, abort) {
        (_, true) => state.abort(),
        (true, false) => state.wake(),
        (false, false) => Wake::Seen,
    }
}

/// Nobody will receive the node: the home thread has closed its door. Does what is left to do.
///
/// # Safety
/// The message's reference is the caller's, and its push was refused, or it was left over when the door
/// closed.
pub(super) unsafe fn forsake(task: NonNull<Header>) {
    // SAFETY: passed on from the caller.
    let task = unsafe { Reference::from_raw(task) };
    let (header, functions) = (task.header(), task.header().functions());
    let taken = header.state.remote.take();
    let last = if header.state.is_unborn() {
        // It is being cancelled by whoever has the `Unborn`, who wakes its joiner and merges the counts.
        header.state.remote.release_early()
    } else {
        if taken.asks(JOIN) {
            wake_far_joiner(header);
        }
        if taken.asks(LEAVE) {
            // SAFETY: all tasks of the home thread are complete, and the handle has left the output.
            unsafe { (functions.drop_output)(task.address()) };
        }
        header.state.merge_for_the_dead(1)
    };
    let task = task.into_raw();
    if last {
        // SAFETY: that was the last reference.
        unsafe { (functions.free)(task) }
    }
}

fn wake_far_joiner(header: &Header) {
    if let Some(waker) = header.take_far_joiner() {
        guard::wake(*waker);
    }
}

/// Sends a task's node home.
///
/// # Safety
/// A message is due (`Asked::Push`), and its reference is the caller's.
pub(super) unsafe fn request(task: NonNull<Header>) -> Request {
    // SAFETY: passed on from the caller.
    Request::new(unsafe { Reference::from_raw(task) })
}
