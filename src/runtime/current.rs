//! Which runtime this thread is in.
//!
//! Owns the room's one thread-local: the handle that `spawn` and its kin use. Set on cores, on the blocking
//! pool's threads, while `block_on` polls, and by [`Handle::enter`].
#![forbid(unsafe_code)]

use super::Handle;
use crate::base::reach;
use crate::blocking;
use crate::sched;
use crate::time;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static CURRENT: RefCell<Vec<(u64, Handle)>> = const { RefCell::new(Vec::new()) };
}

/// The thread is inside a runtime as long as this lives; made by [`Handle::enter`].
#[must_use = "the runtime is entered only while the guard lives"]
#[derive(Debug)]
pub struct EnterGuard {
    ticket: u64,
    _reach: reach::Entered,
    _pool: blocking::Entered,
    _clock: time::GoesBy,
}

/// Enters `handle`'s runtime on this thread. Guards may be dropped in any order.
pub(super) fn enter(handle: Handle) -> EnterGuard {
    let reach = reach::enter(handle.reach());
    let pool = blocking::enter(handle.pool());
    let clock = time::go_by(handle.clock());
    let ticket = CURRENT.with_borrow_mut(|current| {
        let ticket = current.last().map_or(0, |(ticket, _)| ticket + 1);
        current.push((ticket, handle));
        ticket
    });
    EnterGuard { ticket, _reach: reach, _pool: pool, _clock: clock }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        let removed = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            let at = current.iter().position(|(ticket, _)| *ticket == self.ticket)?;
            Some(current.remove(at))
        });
        // Dropped outside of the borrow: it may be the last handle.
        drop(removed);
    }
}

/// The handle of the runtime this thread is in.
pub(super) fn handle() -> Option<Handle> {
    CURRENT.try_with(|current| current.borrow().last().map(|(_, handle)| handle.clone())).ok().flatten()
}

/// Whether the runtime this thread is in is the one whose core it is: nearly always so on a core.
pub(super) fn is_own_core() -> bool {
    sched::with_current(|core| {
        let Some(core) = core else { return false };
        CURRENT
            .try_with(|current| {
                let current = current.borrow();
                current.last().is_some_and(|(_, handle)| Arc::ptr_eq(handle.shared(), &core.shared))
            })
            .unwrap_or(false)
    })
}
