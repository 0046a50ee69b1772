//! One op as a future: submitted when first polled, finished by one CQE.
//!
//! ```text
//!            first poll                 final CQE                  next poll
//!   Idle ────────────────▶ InFlight ────────────────▶ (slot DONE) ───────────▶ Done: op.finish(result)
//!     │                       │ drop: op cancelled (unless detached), slot GONE
//!     │ drop: op dropped      ▼
//!     ▼                    orphan ── final CQE at home ──▶ op.orphaned(result)
//! ```
//!
//! Who has the operation's resources: the future while Idle; the cell from then on. At DONE without GONE they
//! are the future's (it takes them out when polled, or disposes of them when dropped); at DONE with GONE the
//! home core's. The slot decides which of the two it is (base/slot.rs), so exactly one side takes them.
//!
//! # What it costs
//! Atomic read-modify-writes of one read of a file, all on its home core (`tests/read_modify_writes` counts
//! them, and `src/task/mod.rs` says how):
//!
//! | | local task | `Send` task | of which |
//! |---|---|---|---|
//! | the future is made | 1 | 1 | a reference to the descriptor |
//! | submitted | 1 | 2 | a reference to the inbox, for cancels from elsewhere; the waker |
//! | completed | 2 | 2 | the slot; the kernel's reference to the cell |
//! | its task is woken | 0 | 1 | the task's state word |
//! | the result is taken | 2 | 2 | the two references are given up |
//!
//! The cell itself is given up without one, because it has one owner by then. Memory comes from a list of the
//! thread's own (`memory.rs`).

use super::cell::{Body, CellRef};
use super::{Ring, with_current};
use crate::base::reach;
use crate::base::slot::{Set, Slot};
use crate::sys::sqe::{Cqe, Sqe};
use std::cell::UnsafeCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// An operation that one CQE finishes.
///
/// Its resources (buffers, descriptor) move into the cell with it and come back with the result.
pub(crate) trait Operation: Send + Sized + 'static {
    /// Its opcode: what a restriction list would allow.
    const OPCODE: u8;
    /// What awaiting it gives.
    type Output;

    /// Describes it. Called on the home core when `self` is in its final place.
    fn describe(&mut self, ring: &Ring) -> Sqe;

    /// Home core, at the CQE and before anybody is told: gives back what belongs to the core.
    fn settle(&mut self, ring: &Ring) {
        let _ = ring;
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
    /// The caller is the side that owns it: the future after DONE, the producer after it found GONE.
    unsafe fn take(&self) -> P {
        // SAFETY: per contract nobody else looks.
        unsafe { (*self.operation.get()).take() }.expect("the operation is taken once")
    }
}

impl<P: Operation> Body for Shot<P> {
    fn fill(&self, ring: &Ring) -> Sqe {
        // SAFETY: called on the home core before the op is in flight: the operation is the home core's.
        let operation = unsafe { (*self.operation.get()).as_mut() };
        let sqe = operation.expect("an op is filled before it completes").describe(ring);
        debug_assert_eq!(sqe.opcode, P::OPCODE);
        sqe
    }

    fn complete(&self, cqe: Cqe, ring: Option<&Ring>, wakers: &mut Vec<Waker>) {
        debug_assert!(!cqe.more(), "a one-CQE op has one CQE");
        if let Some(ring) = ring {
            // SAFETY: the slot is not DONE: the operation is still the home core's.
            let operation = unsafe { (*self.operation.get()).as_mut() };
            operation.expect("an op completes once").settle(ring);
        }
        match self.slot.set(cqe) {
            Set::Waiting(waker) => wakers.push(waker),
            Set::Early => {}
            // SAFETY: the slot says that the future is gone, so the operation is ours.
            Set::Abandoned => unsafe { self.take() }.orphaned(cqe),
        }
    }
}

enum State<P> {
    Idle(P),
    InFlight(CellRef),
    Done,
}

/// The future of an operation.
#[must_use = "an op does nothing unless it is awaited"]
pub(crate) struct Op<P: Operation> {
    state: State<P>,
    detached: bool,
    _made_with: PhantomData<P>,
}

// The operation is moved into its cell before the kernel sees it; the future itself holds no self-reference.
impl<P: Operation> Unpin for Op<P> {}

impl<P: Operation> Op<P> {
    /// An op that has not been submitted.
    pub(crate) fn new(operation: P) -> Self {
        Self { state: State::Idle(operation), detached: false, _made_with: PhantomData }
    }

    /// Dropping the future will no longer cancel the op.
    pub(crate) fn detach(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Asks the kernel to stop; the op still completes. Before the first poll there is nothing to stop.
    pub(crate) fn cancel(&self) {
        if let State::InFlight(cell) = &self.state {
            cell.cancel();
        }
    }

    /// The cell, once submitted: for whoever may have to cancel the op after the future is gone.
    pub(crate) fn cell(&self) -> Option<&CellRef> {
        if let State::InFlight(cell) = &self.state { Some(cell) } else { None }
    }

    /// Takes the operation back, if it was never submitted.
    pub(crate) fn take_idle(&mut self) -> Option<P> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Idle(operation) => Some(operation),
            state => {
                self.state = state;
                None
            }
        }
    }

    fn submit(&mut self, operation: P, waker: &Waker) {
        let mut slot = Slot::new();
        slot.arm(waker.clone());
        let body = Shot { slot, operation: UnsafeCell::new(Some(operation)) };
        let cell = with_current(|ring| match ring {
            Some(ring) => {
                let (cell, kernels) = CellRef::pair(ring.inbox(), body);
                ring.submit(kernels);
                cell
            }
            None => {
                let home = reach::pick().unwrap_or_else(|| panic!("{}", reach::NO_RUNTIME));
                let (cell, kernels) = CellRef::pair(home, body);
                kernels.submit_at_home();
                cell
            }
        });
        self.state = State::InFlight(cell);
    }

    fn body(cell: &CellRef) -> &Shot<P> {
        // SAFETY: `submit` of this very type made the cell.
        unsafe { cell.body::<Shot<P>>() }
    }
}

impl<P: Operation> Future for Op<P> {
    type Output = P::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<P::Output> {
        let this = self.get_mut();
        if !matches!(this.state, State::InFlight(_)) {
            let State::Idle(operation) = std::mem::replace(&mut this.state, State::Done) else {
                panic!("an op was polled after it had completed")
            };
            this.submit(operation, cx.waker());
            // An op that could not be submitted (a forked child) is complete already; others have just begun.
            if this.cell().is_none_or(|cell| !Self::body(cell).slot.is_done()) {
                return Poll::Pending;
            }
        }
        let State::InFlight(cell) = &this.state else { unreachable!("submitted above or before") };
        let cqe = ready!(Self::body(cell).slot.poll(cx));
        // SAFETY: DONE and we have not abandoned the slot: the operation is ours.
        let operation = unsafe { Self::body(cell).take() };
        this.state = State::Done;
        Poll::Ready(operation.finish(cqe))
    }
}

impl<P: Operation> Drop for Op<P> {
    fn drop(&mut self) {
        let State::InFlight(cell) = &self.state else { return };
        match Self::body(cell).slot.abandon() {
            // SAFETY: DONE came before GONE: the operation is ours to dispose of.
            Some(cqe) => unsafe { Self::body(cell).take() }.orphaned(cqe),
            None if self.detached => {}
            None => cell.cancel(),
        }
    }
}
