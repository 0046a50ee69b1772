//! One op as a future: submitted when first polled, finished by one CQE, the last of its parts.
//!
//! ```text
//!            first poll                 final CQE                  next poll
//!   Idle ────────────────▶ InFlight ────────────────▶ (slot DONE) ───────────▶ Done: op.finish(result)
//!     │                       │ drop: op cancelled (unless detached), slot GONE
//!     │ drop: op dropped      ▼
//!     ▼                    orphan ── final CQE at home ──▶ op.orphaned(result)
//! ```
//!
//! An operation that goes on ([`Operation::goes_on`]) is InFlight, or an orphan, until its last part has had
//! its CQE: the cell is submitted anew by the home core, and neither slot nor future notices. So a long
//! message does not depend on anybody polling for it.
//!
//! Who has the operation's resources: the future while Idle; the cell from then on. When the result meets a
//! future that waits, they are the future's (it takes them out when polled, or disposes of them when
//! dropped); when it meets a future that is gone, the home core's. The slot decides which of the two it is
//! (base/slot.rs), so exactly one side takes them, and the cell with them (ring/cell.rs).
//!
//! # What it costs
//! Atomic read-modify-writes of one read of a file, all on its home core (`tests/read_modify_writes` counts
//! them, and `src/task/mod.rs` says how):
//!
//! | | local task | `Send` task | of which |
//! |---|---|---|---|
//! | the future is made | 0 | 0 | |
//! | submitted | 0 | 1 | the waker |
//! | completed | 1 | 1 | the slot |
//! | its task is woken | 0 | 1 | the task's state word |
//! | the result is taken | 0 | 0 | |
//!
//! The cell costs none, because kernel and future share a hold (`cell.rs`), and neither does its memory or
//! its inbox, which the ring keeps from one op to the next (`memory.rs`), nor the descriptor, of which the
//! core has one reference for all its ops (`lease.rs`). The first op on a file that has been idle for a turn
//! takes that reference, which is two, and it is given up with one. Ops that do not borrow their file until
//! they are submitted, and those of streams, count a reference each, which is two per op.

use super::cell::{Body, CellRef, Hold, Site, WaitRef};
use super::{Ring, with_current};
use crate::base::guard::contained;
use crate::base::reach;
use crate::base::slot::{Set, Slot};
use crate::base::sync::UnsafeCell;
use crate::sys::sqe::{Cqe, Sqe};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// An operation that one CQE finishes: that of its last part, of which most have one.
///
/// Its resources (buffers, descriptor) move into the cell with it and come back with the result.
pub(crate) trait Operation: Send + Sized + 'static {
    /// Its opcode: what a restriction list would allow.
    const OPCODE: u8;
    /// What awaiting it gives.
    type Output;

    /// Describes it, or the part that is next. Called on the home core when `self` is in its final place.
    fn describe(&mut self, ring: &Ring) -> Sqe;

    /// Home core, at the CQE: takes note of what was moved, and says whether another part is to go out. Runs
    /// nothing foreign. False for an error that nobody mends by trying again.
    #[inline(always)]
    fn goes_on(&mut self, cqe: Cqe) -> bool {
        let _ = cqe;
        false
    }

    /// Home core, at the CQE and before anybody is told: gives back what belongs to the core. `is_over`: it
    /// does not go on.
    fn settle(&mut self, ring: &Ring, is_over: bool) {
        let _ = (ring, is_over);
    }

    /// Turns the result into the output.
    fn finish(self, cqe: Cqe) -> Self::Output;

    /// The future is gone: disposes of the result (closes a descriptor, keeps received bytes with the
    /// stream).
    fn orphaned(self, cqe: Cqe) {
        let _ = (self, cqe);
    }
}

/// The body of a one-CQE cell.
struct Shot<P> {
    slot: Slot<Cqe>,
    operation: UnsafeCell<Option<P>>,
}

// SAFETY: `operation` is touched by the home core until the slot is DONE and by the side that the slot names
// afterwards (module header); `P: Send`.
unsafe impl<P: Send> Sync for Shot<P> {}

impl<P: Operation> Shot<P> {
    /// Takes the operation out.
    ///
    /// # Safety
    /// The caller is the side that has the hold: the future that found the result, the producer that found
    /// the future gone.
    unsafe fn take(&self) -> P {
        // SAFETY: per contract nobody else looks.
        self.operation
            .with_mut(|operation| unsafe { (*operation).take() })
            .expect("the operation is taken once")
    }
}

impl<P: Operation> Body for Shot<P> {
    fn fill(&self, ring: &Ring, sqe: &mut Sqe) {
        self.operation.with_mut(|operation| {
            // SAFETY: called on the home core before the op is in flight: the operation is the home core's.
            let operation = unsafe { (*operation).as_mut() };
            *sqe = operation.expect("an op is filled before it completes").describe(ring);
        });
        debug_assert_eq!(sqe.opcode, P::OPCODE);
    }

    unsafe fn complete(body: *const Self, cqe: Cqe, ring: Option<&Ring>, wakers: &mut Vec<Waker>) -> Hold {
        debug_assert!(!cqe.more(), "a one-CQE op has one CQE");
        if let Some(ring) = ring {
            // SAFETY: the result is not published: the body is alive …
            let goes_on = unsafe { &(*body).operation }.with_mut(|operation| {
                // SAFETY: … and the operation the home core's.
                let operation = unsafe { (*operation).as_mut() }.expect("an op completes once");
                let goes_on = operation.goes_on(cqe);
                operation.settle(ring, !goes_on);
                goes_on
            });
            if goes_on {
                return Hold::Again;
            }
        }
        // SAFETY: alive until the result is published; afterwards only if the slot says that it is ours.
        match unsafe { Slot::set_last(&raw const (*body).slot, cqe) } {
            Set::Waiting(waker) => wakers.push(waker),
            Set::Early => {}
            Set::Abandoned => {
                // SAFETY: the future is gone, so body and operation are ours.
                let operation = unsafe { (*body).take() };
                // Foreign code must not keep the hold from being given up.
                contained(|| operation.orphaned(cqe));
                return Hold::Kernels;
            }
        }
        Hold::Waiters
    }
}

/// An operation that has been submitted: the future's side of a cell.
pub(crate) struct InFlight<P: Operation> {
    /// Always there, until the result has been taken.
    waits: Option<WaitRef>,
    detached: bool,
    _made_with: PhantomData<P>,
}

// The operation is moved into its cell before the kernel sees it; the future itself holds no self-reference.
impl<P: Operation> Unpin for InFlight<P> {}

impl<P: Operation> InFlight<P> {
    /// Submits what `make` makes: to this thread's ring, or to a core that the thread can reach. The ring, if
    /// there is one, is lent to `make`: it is the one on which the operation will settle.
    ///
    /// # Panics
    /// If no runtime is in reach.
    #[inline(always)]
    pub(crate) fn begin(waker: &Waker, make: impl FnOnce(Option<&Ring>) -> P) -> Self {
        let mut slot = Slot::new();
        // Foreign code: while there is no cell yet that could be lost.
        slot.arm(waker.clone());
        let body = |operation| Shot { slot, operation: UnsafeCell::new(Some(operation)) };
        let waits = with_current(|ring| match ring {
            Some(ring) => {
                let (waits, kernels) = CellRef::joint(Site::Here(ring), body(make(Some(ring))));
                ring.submit(kernels);
                waits
            }
            None => {
                let home = reach::pick().unwrap_or_else(|| panic!("{}", reach::NO_RUNTIME));
                let (waits, kernels) = CellRef::joint(Site::At(home), body(make(None)));
                kernels.submit_at_home();
                waits
            }
        });
        Self { waits: Some(waits), detached: false, _made_with: PhantomData }
    }

    /// Asks the kernel to stop; the op still completes.
    pub(crate) fn cancel(&self) {
        if let Some(waits) = &self.waits {
            waits.cancel();
        }
    }

    /// The cell, until the result has been taken: for whoever may have to cancel the op after the future is
    /// gone.
    pub(crate) fn cell(&self) -> Option<&CellRef> {
        self.waits.as_deref()
    }

    fn body(cell: &CellRef) -> *const Shot<P> {
        // SAFETY: `begin` of this very type made the cell.
        unsafe { cell.body::<Shot<P>>() }
    }

    fn slot(cell: &CellRef) -> &Slot<Cqe> {
        // SAFETY: the body is alive while this side has not given its part of the hold away, and does not
        // move.
        unsafe { &(*Self::body(cell)).slot }
    }

    /// The result has been found: takes the operation out and gives the cell up.
    #[inline]
    fn take_operation(&mut self) -> Option<P> {
        let waits = self.waits.take()?;
        debug_assert!(Self::slot(&waits).is_done());
        // SAFETY: the slot has given the result to this side, and with it the body.
        let operation = unsafe { (*Self::body(&waits)).take() };
        // SAFETY: … and the hold.
        unsafe { waits.give_up() };
        Some(operation)
    }
}

impl<P: Operation> Future for InFlight<P> {
    type Output = P::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<P::Output> {
        let this = self.get_mut();
        let waits = this.waits.as_ref().expect("an op was polled after it had completed");
        let cqe = ready!(Self::slot(waits).poll(cx));
        let operation = this.take_operation().expect("in flight until here");
        Poll::Ready(operation.finish(cqe))
    }
}

impl<P: Operation> Drop for InFlight<P> {
    fn drop(&mut self) {
        let Some(waits) = &self.waits else { return };
        // First, because the cell may be gone once the slot is abandoned.
        if !(self.detached || Self::slot(waits).is_done()) {
            waits.cancel();
        }
        // SAFETY: the slot is alive, and not looked at again unless the result has come.
        let late = unsafe { Slot::abandon(&raw const (*Self::body(waits)).slot) };
        if let Some(cqe) = late
            && let Some(operation) = self.take_operation()
        {
            operation.orphaned(cqe);
        }
    }
}

/// Submits an operation that nobody waits for, to this thread's ring or to a core that the thread can reach:
/// it completes as an orphan. One that is refused has done so when this returns.
///
/// # Panics
/// If no runtime is in reach.
pub(crate) fn submit_orphan<P: Operation>(operation: P) {
    let body = Shot { slot: Slot::abandoned(), operation: UnsafeCell::new(Some(operation)) };
    with_current(|ring| match ring {
        // The slot gives the joint hold to the kernel's side from the first.
        Some(ring) => {
            let (_nobody, kernels) = CellRef::joint(Site::Here(ring), body);
            ring.submit(kernels);
        }
        None => {
            let home = reach::pick().unwrap_or_else(|| panic!("{}", reach::NO_RUNTIME));
            let (_nobody, kernels) = CellRef::joint(Site::At(home), body);
            kernels.submit_at_home();
        }
    });
}

enum State<P: Operation> {
    Idle(P),
    InFlight(InFlight<P>),
    Done,
}

/// The future of an operation.
#[must_use = "an op does nothing unless it is awaited"]
pub(crate) struct Op<P: Operation> {
    state: State<P>,
    detached: bool,
}

// As for `InFlight`.
impl<P: Operation> Unpin for Op<P> {}

impl<P: Operation> Op<P> {
    /// An op that has not been submitted.
    pub(crate) fn new(operation: P) -> Self {
        Self { state: State::Idle(operation), detached: false }
    }

    /// Dropping the future will no longer cancel the op.
    pub(crate) fn detach(mut self) -> Self {
        self.detached = true;
        if let State::InFlight(op) = &mut self.state {
            op.detached = true;
        }
        self
    }

    /// Asks the kernel to stop; the op still completes. Before the first poll there is nothing to stop.
    pub(crate) fn cancel(&self) {
        if let State::InFlight(op) = &self.state {
            op.cancel();
        }
    }

    /// The cell, once submitted: for whoever may have to cancel the op after the future is gone.
    pub(crate) fn cell(&self) -> Option<&CellRef> {
        let State::InFlight(op) = &self.state else { return None };
        op.cell()
    }
}

impl<P: Operation> Future for Op<P> {
    type Output = P::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<P::Output> {
        let this = self.get_mut();
        if let State::Idle(_) = this.state {
            let State::Idle(operation) = std::mem::replace(&mut this.state, State::Done) else {
                unreachable!("just seen")
            };
            let mut op = InFlight::begin(cx.waker(), |_| operation);
            op.detached = this.detached;
            this.state = State::InFlight(op);
        }
        let State::InFlight(op) = &mut this.state else { panic!("an op was polled after it had completed") };
        // An op that could not be submitted (a forked child) is complete already.
        let output = ready!(Pin::new(op).poll(cx));
        this.state = State::Done;
        Poll::Ready(output)
    }
}
