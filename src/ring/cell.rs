//! The cell: what one op in flight owns.
//!
//! A cell is one block: a header, and behind it the body of the op (its buffers, its descriptor, its slot).
//! It lives at least until the *final* CQE, so nothing the kernel may touch is freed before, whoever else
//! lets go. `user_data` is the cell's address with a generation in the upper 16 bits, so a cancel that comes
//! late can not hit the cell's next tenant.
//!
//! # Who holds a cell
//! | holder | type | counted |
//! |---|---|---|
//! | the kernel **and** who waits for an op | [`KernelRef`], [`WaitRef`] | one, together |
//! | the kernel, of a multishot | [`KernelRef`] | one |
//! | the handle of a multishot (`multi::Armed`) | [`CellRef`] | one |
//! | a cancel that is not confirmed (`cancel`), a stream's note of an orphan | [`CellRef`] | one each |
//! | a message that asks for a cancel | [`CellRef`] | one |
//! | a message that asks for the submission | [`KernelRef`] | the kernel's, on its way |
//!
//! # The joint hold
//! Nearly every op has two holders, the kernel and a future, and nobody else. Two counts would be two
//! read-modify-writes per op, if the one that goes last is to know it, for a question that the slot
//! (`base::slot`) answers anyway: which side is second? So the two share one hold.
//! 1. Born with it: [`CellRef::joint`]. The kernel's side is the home core's, until the final CQE.
//! 2. The final CQE: the home core notes [`Flight::Final`], takes back what belongs to the core, and
//!    publishes the result, in this order. If the slot says that the future is there, **the hold is the
//!    future's from that moment on**, and the home core does not look at the cell again; the future may be
//!    on another core, find the result, and free the cell at once. If the slot says that the future is gone,
//!    the hold is the home core's: it disposes of the result and gives the hold up.
//!    An op that goes on ([`Hold::Again`]) publishes nothing: the hold stays the kernel's, as after 1.
//! 3. The future finds the result: the hold is its own. It takes the operation out and gives the hold up.
//! 4. The future goes before: it asks for a cancel *while it still has the hold*, and abandons the slot. If
//!    the slot says that the result has come meanwhile, see 3. Else the hold is the kernel's, and the future
//!    does not look at the cell again.
//!
//! So an op whose cell nobody else has ever held costs one read-modify-write, the slot's: giving up a hold
//! that is the only one takes none (`holds.rs`). What if …
//! - *the future is polled or dropped on another core*: the slot does not care where. Its cancel is a message
//!   with a hold of its own.
//! - *the final CQE comes first, last or meanwhile*: 2 and 4 are one decision of one word.
//! - *a future is forgotten* (`mem::forget`): then the slot is never abandoned. The cell stays, with what the
//!   op has not given back by then.
//! - *the runtime goes down*: the home core cancels and reaps; a message that finds the inbox closed
//!   completes its op where it is (`RES_GONE`). Futures may end after the ring: their memory goes to the
//!   allocator.
//! - *the core is left behind, or the kernel does not answer in time*: the kernel's side is never completed.
//!   Futures abandon their slots and the cells are leaked with the ring, as they must be.
//! - *a body panics* in code of ours while it completes: nobody knows whose the hold is, and the cell leaks.
//!
//! The inbox is counted per block of memory, not per cell (`memory.rs`).
//!
//! # Who may touch what
//! All but the table and the body lie in the ground (`memory.rs`).
//! - `holds`: anyone with a hold. The last one frees the cell.
//! - `flight`: the home core only (the core whose ring takes the SQE), until it has published the result;
//!   with a hold of its own also later.
//! - `node`: anyone with a hold, by the protocol of `base::message`. Requests: [`SUBMIT`] (made on a thread
//!   that is no core), [`CANCEL`] (the future was dropped elsewhere).
//! - `table`, and `home` and `generation`: constant.
//! - body: as its type says ([`super::op`], [`super::multi`]).
//!
//! The ring does not know the list of ops: a cell carries a table of three functions instead.
//!
//! # Rejected
//! - *A reference each for kernel and future*, counted in the cell: one more read-modify-write per op.
//! - *Two words, one of them the home core's own and counted plainly*, as a local task has (`task::remote`):
//!   nothing at home either, but each op that ends on another core than it began on would be a message home,
//!   with a doorbell if that core sleeps; and a home that goes must merge the counts.
//!
//! Models: `tests/loom`, `cell_*`.

use super::flight::Flight;
use super::holds::Holds;
use super::memory::{self, Ground};
use super::{Ring, with_current};
use crate::base::guard::{self, contained};
use crate::base::inbox::Inbox;
use crate::base::message::{Fate, Kind, Message, Node, Table as NodeTable};
use crate::base::sync::UnsafeCell;
use crate::sys::fork;
use crate::sys::sqe::{Cqe, RES_FORKED, RES_GONE, Sqe};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::Waker;

/// Request: write the SQE to the ring of the core that gets this.
pub(crate) const SUBMIT: u32 = 1;
/// Request: cancel the op.
pub(crate) const CANCEL: u32 = 2;

/// Whose the kernel's hold is after a completion.
#[must_use = "a hold that is not given up keeps the cell for ever"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Still the kernel's: with the final CQE it is given up.
    Kernels,
    /// The future's. The cell may be gone.
    Waiters,
    /// Still the kernel's, and nobody was told: the op is to go out once more.
    Again,
}

/// What a cell's body can do. Both are called on the home core, except `complete` of an op that never reached
/// a ring.
pub(crate) trait Body: Send + Sync + 'static {
    /// Describes the op, whose entry `sqe` becomes. The memory it points at lives in the body and does not
    /// move.
    fn fill(&self, ring: &Ring, sqe: &mut Sqe);

    /// Takes one completion. Wakers go to `wakers`: they are woken when the ring is not in use.
    ///
    /// # Safety
    /// `body` is alive, in a cell of which the caller has the kernel's hold. If the answer is
    /// [`Hold::Waiters`], the caller has it no longer.
    unsafe fn complete(body: *const Self, cqe: Cqe, ring: Option<&Ring>, wakers: &mut Vec<Waker>) -> Hold;
}

struct Table {
    fill: unsafe fn(NonNull<Header>, &Ring, &mut Sqe),
    complete: unsafe fn(NonNull<Header>, Cqe, Option<&Ring>, &mut Vec<Waker>) -> Hold,
    free: unsafe fn(NonNull<Header>),
}

/// The part of a cell that does not depend on the op.
#[repr(C)]
struct Header {
    ground: Ground,
    table: &'static Table,
}

/// A cell as allocated.
#[repr(C)]
struct Block<B> {
    header: Header,
    body: B,
}

/// The memory of a cell with this body.
#[cfg(test)]
pub(crate) const fn memory_of<B>() -> usize {
    size_of::<Block<B>>()
}

/// A counted hold on a cell of unknown body.
pub(crate) struct CellRef(NonNull<Header>);

// SAFETY: a hold may travel: `holds` and `node` are atomic, the body is Send + Sync, and `flight` is touched
// by the home core alone (the methods that touch it take the home core's `&Ring`).
unsafe impl Send for CellRef {}
// SAFETY: as above.
unsafe impl Sync for CellRef {}

/// The kernel's hold: from birth, through backlog and ring, until the final completion.
///
/// Whoever has it completes the op, sooner or later ([`KernelRef::complete`]). Dropping it leaks the cell.
#[must_use = "an op that is not completed never ends"]
pub(crate) struct KernelRef(ManuallyDrop<CellRef>);

/// The waiting side's part of a joint hold. The slot in the body says when it is the whole of it.
#[must_use = "the cell stays for ever unless one of the two sides gives the hold up"]
pub(crate) struct WaitRef(ManuallyDrop<CellRef>);

impl Deref for KernelRef {
    type Target = CellRef;

    fn deref(&self) -> &CellRef {
        &self.0
    }
}

impl Deref for WaitRef {
    type Target = CellRef;

    fn deref(&self) -> &CellRef {
        &self.0
    }
}

/// Where the memory of a new cell comes from, and to which core the cell belongs.
pub(crate) enum Site<'a> {
    /// The ring of this thread.
    Here(&'a Ring),
    /// Another thread's, which will be sent the cell.
    At(Arc<Inbox>),
}

impl Site<'_> {
    #[inline]
    fn ground(self, class: usize) -> NonNull<Ground> {
        match self {
            Site::Here(ring) => {
                let kept = ring.memory.borrow_mut().take(class);
                kept.unwrap_or_else(|| memory::fresh_at_home(class, ring))
            }
            Site::At(home) => memory::fresh(class, home),
        }
    }
}

/// Alignment of a cell: the low bits of its address are the tag of `user_data`.
pub(crate) const ALIGN: usize = 64;
const GENERATION_SHIFT: u32 = 48;

impl CellRef {
    /// Puts `body` into a cell, with one hold for who waits and the kernel together. The body decides, by its
    /// slot, which of the two gives it up.
    #[inline(always)]
    pub(crate) fn joint<B: Body>(site: Site<'_>, body: B) -> (WaitRef, KernelRef) {
        let cell = Self::born(site, body, 1);
        (WaitRef(ManuallyDrop::new(Self(cell))), KernelRef(ManuallyDrop::new(Self(cell))))
    }

    /// Puts `body` into a cell with two holds: one for the caller, one for the kernel.
    pub(crate) fn pair<B: Body>(site: Site<'_>, body: B) -> (Self, KernelRef) {
        let cell = Self::born(site, body, 2);
        (Self(cell), KernelRef(ManuallyDrop::new(Self(cell))))
    }

    #[inline(always)]
    fn born<B: Body>(site: Site<'_>, body: B, holds: u32) -> NonNull<Header> {
        const { assert!(align_of::<Block<B>>() <= ALIGN, "cells are 64-byte aligned") };
        let ground = site.ground(const { memory::class(size_of::<Block<B>>()) });
        let block = ground.cast::<Block<B>>().as_ptr();
        let table = &Table { fill: fill::<B>, complete: complete::<B>, free: free::<B> };
        // SAFETY: the memory is unused, but for the ground, which is there; large enough and aligned for the
        // block. What is overwritten of the ground has no destructor. In parts, so that none is put together
        // elsewhere first.
        unsafe {
            let header = &raw mut (*block).header;
            let node = ManuallyDrop::new(Node::new(Kind::Other, &NodeTable { handle }));
            (&raw mut (*header).ground.front.node).write(node);
            (&raw mut (*header).ground.holds).write(Holds::new(holds));
            (&raw mut (*header).ground.flight).write(UnsafeCell::new(Flight::Fresh));
            (&raw mut (*header).table).write(table);
            (&raw mut (*block).body).write(body);
        }
        ground.cast()
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: a hold keeps the block alive.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn node(&self) -> &Node {
        // SAFETY: `born` has written it, and nobody writes the link in its place while somebody has a hold.
        unsafe { &self.header().ground.front.node }
    }

    /// Where the body is. It stays there as long as somebody has a hold.
    ///
    /// # Safety
    /// The cell was made with a body of type `B`.
    #[inline]
    pub(crate) unsafe fn body<B: Body>(&self) -> *const B {
        // SAFETY: the caller vouches for the type; a hold keeps the block alive.
        unsafe { &raw const (*self.0.cast::<Block<B>>().as_ptr()).body }
    }

    /// The inbox of the core that owns the op.
    #[inline]
    pub(crate) fn home(&self) -> &Arc<Inbox> {
        &self.header().ground.home
    }

    /// What the SQE carries and its CQEs bring back.
    #[inline]
    pub(crate) fn user_data(&self) -> u64 {
        let address = self.0.as_ptr().expose_provenance() as u64;
        assert_eq!(address >> GENERATION_SHIFT, 0, "user addresses have 48 bits, and no tags");
        address | u64::from(self.header().ground.generation) << GENERATION_SHIFT
    }

    /// Home core: where the op is.
    pub(crate) fn flight(&self, _home: &Ring) -> Flight {
        // SAFETY: only the home core, which this is, reads and writes it.
        self.header().ground.flight.with(|place| unsafe { *place })
    }

    /// Home core: moves the op on.
    #[inline]
    pub(crate) fn set_flight(&self, _home: &Ring, flight: Flight) {
        // SAFETY: as in `flight`.
        self.header().ground.flight.with_mut(|place| unsafe { *place = flight });
    }

    /// Home core: describes the op.
    #[inline]
    pub(crate) fn fill(&self, home: &Ring, sqe: &mut Sqe) {
        // SAFETY: the table belongs to the body's type; we are on the home core (`home`).
        unsafe { (self.header().table.fill)(self.0, home, sqe) }
        sqe.user_data = self.user_data();
    }

    /// Asks the home core for `bits`; the message has a hold of its own.
    fn request(&self, bits: u32) {
        if self.node().request(bits) {
            travel(self.clone());
        }
    }

    /// Cancels the op: directly on its home core, by message from elsewhere.
    pub(crate) fn cancel(&self) {
        let here = with_current(|ring| {
            ring.is_some_and(|ring| {
                ring.is_home(self) && {
                    ring.cancel(self);
                    true
                }
            })
        });
        if !here {
            self.request(CANCEL);
        }
    }

    /// On its way home from a thread that is no core, a cell is asked to be cancelled on arrival.
    pub(super) fn cancel_on_arrival(&self) {
        self.request(CANCEL);
    }
}

/// Puts the cell's node into the home inbox, with the hold that `cell` is: a request's own, or the kernel's.
fn travel(cell: CellRef) {
    // The message owns the hold, and may be gone with the cell before the push returns.
    let home = Arc::clone(cell.home());
    // SAFETY: the node is in no list (`request` said so) and carries this hold, which `handle` takes back on
    // whatever thread.
    let message = unsafe { Message::from_raw(cell.0.cast::<Node>()) };
    std::mem::forget(cell);
    drop(home.push_pinned(message).err());
}

impl KernelRef {
    /// What a CQE brings back.
    ///
    /// # Safety
    /// `user_data` is that of an op in flight: it went out with this ring, and its final CQE is this one or
    /// still to come.
    #[inline]
    pub(super) unsafe fn from_user_data(user_data: u64) -> Self {
        let address = user_data & ((1 << GENERATION_SHIFT) - 1);
        let header = ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: per contract this is the address of a live block, and the kernel's hold on it is in
        // nobody's hands.
        Self(ManuallyDrop::new(CellRef(unsafe { NonNull::new_unchecked(header) })))
    }

    /// Leaves the hold with the ring, which finds it again by `user_data`.
    #[inline]
    pub(super) fn stay(self) {
        // Without a destructor: this ends a value, and no hold.
        let Self(_) = self;
    }

    /// Takes a completion that is not the last.
    pub(super) fn progress(&self, cqe: Cqe, home: &Ring, wakers: &mut Vec<Waker>) {
        contained(|| {
            // SAFETY: the table belongs to the body's type; this is the kernel's hold.
            let hold = unsafe { (self.header().table.complete)(self.0.0, cqe, Some(home), wakers) };
            debug_assert_eq!(hold, Hold::Kernels, "an op that waits has one completion");
        });
    }

    /// Takes the last completion, on the home core or, of an op that has reached no ring, anywhere. Foreign
    /// code that panics in it is contained. An op that is to go out once more comes back.
    #[inline]
    pub(super) fn complete(self, cqe: Cqe, ring: Option<&Ring>, wakers: &mut Vec<Waker>) -> Option<Self> {
        let mut hold = Hold::Waiters;
        // SAFETY: the table belongs to the body's type; this is the kernel's hold.
        contained(|| hold = unsafe { (self.header().table.complete)(self.0.0, cqe, ring, wakers) });
        if hold == Hold::Again {
            return Some(self);
        }
        if hold == Hold::Kernels {
            contained(|| drop(ManuallyDrop::into_inner(self.0)));
        }
        None
    }

    /// Completes an op with a result that is none of the kernel's.
    pub(super) fn end(self, res: i32, ring: Option<&Ring>, wakers: &mut Vec<Waker>) {
        let again = self.complete(Cqe::made_up(res), ring, wakers);
        debug_assert!(again.is_none(), "an op does not go on from a result that was made up");
    }

    /// Completes an op that no ring will ever see, on whatever thread.
    fn refuse(self, res: i32) {
        let mut wakers = Vec::new();
        self.end(res, None, &mut wakers);
        for waker in wakers {
            guard::wake(waker);
        }
    }

    /// Sends the hold to the home core, which submits the op. A home that is gone completes it with
    /// [`RES_GONE`].
    pub(crate) fn submit_at_home(self) {
        if fork::is_child() {
            // The core is a thread of the parent's.
            return self.refuse(RES_FORKED);
        }
        let first = self.node().request(SUBMIT);
        debug_assert!(first, "a fresh cell has no requests");
        travel(ManuallyDrop::into_inner(self.0));
    }
}

impl WaitRef {
    /// Gives the hold up; the cell is freed unless somebody else has one.
    ///
    /// # Safety
    /// The slot has said that it is this side's.
    #[inline]
    pub(crate) unsafe fn give_up(self) {
        drop(ManuallyDrop::into_inner(self.0));
    }
}

impl Clone for CellRef {
    fn clone(&self) -> Self {
        self.header().ground.holds.add();
        Self(self.0)
    }
}

impl Drop for CellRef {
    #[inline]
    fn drop(&mut self) {
        if self.header().ground.holds.give_up() {
            // SAFETY: this was the last hold.
            unsafe { (self.header().table.free)(self.0) };
        }
    }
}

unsafe fn fill<B: Body>(cell: NonNull<Header>, ring: &Ring, sqe: &mut Sqe) {
    // SAFETY: the table of a `Block<B>` is only called with such a block, alive.
    unsafe { &cell.cast::<Block<B>>().as_ref().body }.fill(ring, sqe);
}

unsafe fn complete<B: Body>(
    cell: NonNull<Header>,
    cqe: Cqe,
    ring: Option<&Ring>,
    wakers: &mut Vec<Waker>,
) -> Hold {
    // SAFETY: as in `fill`; the caller has the kernel's hold.
    unsafe { B::complete(&raw const (*cell.cast::<Block<B>>().as_ptr()).body, cqe, ring, wakers) }
}

unsafe fn free<B: Body>(cell: NonNull<Header>) {
    let block = cell.cast::<Block<B>>().as_ptr();
    // SAFETY: the last hold is gone, so the block is ours; `born` has written it, and nobody looks at the
    // body any more.
    unsafe { ptr::drop_in_place(&raw mut (*block).body) };
    // SAFETY: as above. The home core does not look any more: nothing to do, but for the models.
    unsafe { (*block).header.ground.flight.with_mut(|_| ()) };
    // SAFETY: the memory was taken as of this class; only the ground holds anything, which stays with it.
    unsafe { memory::give_back(cell.cast(), const { memory::class(size_of::<Block<B>>()) }) };
}

/// The node's function: a request has arrived at home, or home is gone.
unsafe fn handle(node: NonNull<Node>, fate: Fate) {
    let cell = CellRef(node.cast::<Header>());
    let requests = cell.node().take_requests();
    let (submits, cancels) = (requests & SUBMIT != 0, requests & CANCEL != 0);
    if fate == Fate::Disposed {
        if submits {
            KernelRef(ManuallyDrop::new(cell)).refuse(RES_GONE);
        }
        return;
    }
    with_current(|ring| {
        let ring = ring.expect("messages are delivered on the home core");
        // The message's hold is the kernel's, if it is to submit; a cancel only looks.
        let target = cancels.then(|| cell.clone());
        if submits {
            ring.submit(KernelRef(ManuallyDrop::new(cell)));
        }
        if let Some(target) = target {
            ring.cancel(&target);
        }
    });
}
