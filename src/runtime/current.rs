//! Which runtime this thread is in.
//!
//! Owns the room's thread-locals: the handles that were entered, of which `spawn` and its kin use the last,
//! and how many of them by `block_on`. Set on cores, on the blocking pool's threads, while `block_on` polls,
//! and by [`Handle::enter`].
#![forbid(unsafe_code)]

use super::Handle;
use crate::base::reach;
use crate::blocking;
use crate::sched;
use crate::time::{self, Clock};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

thread_local! {
    static CURRENT: RefCell<Vec<(u64, Handle)>> = const { RefCell::new(Vec::new()) };
    /// Calls of `block_on` that are going on, each of which has entered its runtime with a ticket that
    /// [`BLOCKS`].
    static BLOCKING: Cell<usize> = const { Cell::new(0) };
}

/// The bit in a ticket that says so.
const BLOCKS: u64 = 1;

/// The thread is inside a runtime as long as this lives; made by [`Handle::enter`].
#[must_use = "the runtime is entered only while the guard lives"]
#[derive(Debug)]
pub struct EnterGuard {
    ticket: u64,
    _reach: reach::Entered,
    _pool: blocking::Entered,
    _clock: time::GoesBy,
}

/// The clocks that calls of `block_on` hold. There are no such calls, in the usual case.
pub(super) type Outer = Option<Box<Clocks>>;

/// See [`Outer`].
pub(super) struct Clocks(pub(super) Vec<Arc<Clock>>);

/// A call of `block_on` is going on as long as this lives. Calls end in the reverse order.
#[must_use = "the runtime is entered only while the guard lives"]
pub(super) struct Blocking {
    _entered: EnterGuard,
}

/// Enters `handle`'s runtime on this thread to block in it.
#[inline]
pub(super) fn block(handle: Handle) -> Blocking {
    let entered = enter_with(handle, BLOCKS);
    BLOCKING.set(BLOCKING.get() + 1);
    Blocking { _entered: entered }
}

impl Drop for Blocking {
    #[inline]
    fn drop(&mut self) {
        BLOCKING.set(BLOCKING.get() - 1);
    }
}

/// The clocks of the calls of `block_on` that are going on here.
#[inline]
pub(super) fn outer() -> Outer {
    if BLOCKING.get() == 0 { None } else { held() }
}

#[cold]
fn held() -> Outer {
    let clock = |(ticket, handle): &(u64, Handle)| (ticket & BLOCKS != 0).then(|| handle.clock()).flatten();
    let clocks: Vec<_> = CURRENT.with_borrow(|current| current.iter().filter_map(clock).collect());
    (!clocks.is_empty()).then(|| Box::new(Clocks(clocks)))
}

/// Enters `handle`'s runtime on this thread. Guards may be dropped in any order.
pub(super) fn enter(handle: Handle) -> EnterGuard {
    enter_with(handle, 0)
}

fn enter_with(handle: Handle, bits: u64) -> EnterGuard {
    let reach = reach::enter(handle.reach());
    let pool = blocking::enter(handle.pool());
    let clock = time::go_by(handle.clock());
    let ticket = CURRENT.with_borrow_mut(|current| {
        let ticket = current.last().map_or(0, |(ticket, _)| (ticket | BLOCKS) + 1) | bits;
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
