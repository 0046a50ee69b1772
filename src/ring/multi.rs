//! An op that may complete many times: multishot accept and receive.
//!
//! Owns the cell side only. What the completions mean, and the state machine of arming, belongs to the
//! listener or stream that starts it. There is no future: the handler is called on the home core for every
//! CQE, and [`Armed`] is the handle by which the op is cancelled. Only a CQE without F_MORE is final; a
//! cancel that finds nothing is repeated until then ([`super::Ring`]).

use super::cell::{Body, CellRef, Hold, Site};
use super::{Ring, with_current};
use crate::sys::sqe::{Cqe, Sqe};
use std::io;
use std::task::Waker;

/// What such an op does with its completions. Called on the home core only.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Its opcode.
    const OPCODE: u8;

    /// Describes the op.
    fn describe(&self, ring: &Ring) -> Sqe;

    /// Takes one completion; `cqe.more()` is false for the last.
    fn complete(&self, cqe: Cqe, ring: &Ring, wakers: &mut Vec<Waker>);
}

struct Volley<H>(H);

impl<H: Handler> Body for Volley<H> {
    fn fill(&self, ring: &Ring, sqe: &mut Sqe) {
        *sqe = self.0.describe(ring);
        debug_assert_eq!(sqe.opcode, H::OPCODE);
    }

    unsafe fn complete(body: *const Self, cqe: Cqe, ring: Option<&Ring>, wakers: &mut Vec<Waker>) -> Hold {
        // A multishot is only ever submitted by its home core, so it cannot complete without a ring.
        if let Some(ring) = ring {
            // SAFETY: per contract the body is alive, and so it stays: the kernel's hold is its own.
            unsafe { &*body }.0.complete(cqe, ring, wakers);
        }
        Hold::Kernels
    }
}

/// The memory of such an op's cell.
#[cfg(test)]
pub(crate) const fn memory_of<H>() -> usize {
    super::cell::memory_of::<Volley<H>>()
}

/// Such an op that has been submitted.
///
/// Dropping the handle does not cancel it.
pub(crate) struct Armed {
    cell: CellRef,
}

impl Armed {
    /// Whether this thread is a core, and another one than its home.
    pub(crate) fn is_elsewhere(&self) -> bool {
        with_current(|ring| ring.is_some_and(|ring| !ring.is_home(&self.cell)))
    }

    /// Asks for the end; it comes as a final completion.
    pub(crate) fn cancel(&self) {
        self.cell.cancel();
    }
}

/// Submits such an op on the current core's ring.
///
/// `None` if this thread is no core.
///
/// # Errors
/// If the ring takes no more ops: the process is a forked child, or the runtime is going down. The handler is
/// dropped and never called.
pub(crate) fn arm<H: Handler>(handler: H) -> Option<io::Result<Armed>> {
    with_current(|ring| {
        let ring = ring?;
        if let Some(refusal) = ring.refusal() {
            return Some(Err(Cqe::made_up(refusal).result().expect_err("a refusal is an error")));
        }
        let (cell, kernels) = CellRef::pair(Site::Here(ring), Volley(handler));
        ring.submit(kernels);
        Some(Ok(Armed { cell }))
    })
}
