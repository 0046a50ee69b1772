//! The cell: what one op in flight owns.
//!
//! A cell is one reference-counted block: a header, and behind it the body of the op (its buffers, its
//! descriptor, its slot). The kernel holds one reference from the moment the SQE is written until the *final*
//! CQE, so nothing the kernel may touch is freed before, whoever else lets go. `user_data` is the cell's
//! address with a generation in the upper 16 bits, so a cancel that comes late can not hit the cell's next
//! tenant.
//!
//! # Who may touch what
//! - `refs`: anyone who holds a reference, atomically. The last one drops the body.
//! - `flight`: the home core only (the core whose ring takes the SQE).
//! - `node`: anyone with a reference, by the protocol of `base::inbox`. Requests: [`SUBMIT`] (made on a
//!   thread that is no core), [`CANCEL`] (the future was dropped elsewhere).
//! - body: as its type says ([`super::op`], [`super::multi`]).
//!
//! The ring does not know the list of ops: a cell carries a table of three functions instead.

use super::memory;
use super::{Ring, with_current};
use crate::base::inbox::{Fate, Inbox, Kind, Message, Node};
use crate::sys::fork;
use crate::sys::sqe::{Cqe, RES_FORKED, RES_GONE, Sqe};
use std::cell::Cell as Local;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::task::Waker;

/// Request: write the SQE to the ring of the core that gets this.
pub(crate) const SUBMIT: u32 = 1;
/// Request: cancel the op.
pub(crate) const CANCEL: u32 = 2;

/// Where an op is on its way. Home core only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flight {
    /// Not yet given to a ring.
    Fresh,
    /// Waits on the ring's backlog for room in the submission queue.
    Backlogged,
    /// Was cancelled while on the backlog: completes without having been submitted.
    Withdrawn,
    /// The kernel has it, or will at the next enter.
    Submitted,
    /// Its final CQE has been seen.
    Final,
}

/// What a cell's body can do. All three are called on the home core, except `complete` of an op that never
/// reached a ring.
pub(crate) trait Body: Send + Sync + 'static {
    /// Describes the op. The memory it points at lives in the body and does not move.
    fn fill(&self, ring: &Ring) -> Sqe;

    /// Takes one completion. Wakers go to `wakers`: they are woken when the ring is not in use.
    fn complete(&self, cqe: Cqe, ring: Option<&Ring>, wakers: &mut Vec<Waker>);
}

struct Table {
    fill: unsafe fn(NonNull<Header>, &Ring) -> Sqe,
    complete: unsafe fn(NonNull<Header>, Cqe, Option<&Ring>, &mut Vec<Waker>),
    free: unsafe fn(NonNull<Header>),
}

/// The part of a cell that does not depend on the op.
#[repr(C)]
struct Header {
    node: Node,
    table: &'static Table,
    home: Arc<Inbox>,
    refs: AtomicU32,
    generation: u16,
    flight: Local<Flight>,
}

/// A cell as allocated.
#[repr(C)]
struct Block<B> {
    header: Header,
    body: B,
}

/// A counted reference to a cell of unknown body.
pub(crate) struct CellRef(NonNull<Header>);

// SAFETY: a reference may travel: `refs` and `node` are atomic, the body is Send + Sync, and `flight` is
// touched by the home core alone (the methods that touch it take the home core's `&Ring`).
unsafe impl Send for CellRef {}
// SAFETY: as above.
unsafe impl Sync for CellRef {}

/// Alignment of a cell: the low bits of its address are the tag of `user_data`.
pub(crate) const ALIGN: usize = 64;
const GENERATION_SHIFT: u32 = 48;

impl CellRef {
    /// Puts `body` into a cell whose op will be submitted by the core behind `home`. Two references: one for
    /// who waits, one for the kernel.
    pub(crate) fn pair<B: Body>(home: Arc<Inbox>, body: B) -> (Self, Self) {
        const { assert!(align_of::<Block<B>>() <= ALIGN, "cells are 64-byte aligned") };
        let (memory, generation) = memory::take(size_of::<Block<B>>());
        let block = memory.cast::<Block<B>>();
        let header = Header {
            node: Node::new(Kind::Other, handle),
            table: &Table { fill: fill::<B>, complete: complete::<B>, free: free::<B> },
            home,
            refs: AtomicU32::new(2),
            generation,
            flight: Local::new(Flight::Fresh),
        };
        // SAFETY: the memory is fresh, large enough and aligned for the block.
        unsafe { block.write(Block { header, body }) };
        (Self(block.cast()), Self(block.cast()))
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: a reference keeps the block alive.
        unsafe { self.0.as_ref() }
    }

    /// The body.
    ///
    /// # Safety
    /// The cell was made with a body of type `B`.
    #[inline]
    pub(crate) unsafe fn body<B: Body>(&self) -> &B {
        // SAFETY: the caller vouches for the type; the reference keeps the block alive.
        unsafe { &self.0.cast::<Block<B>>().as_ref().body }
    }

    /// The inbox of the core that owns the op.
    #[inline]
    pub(crate) fn home(&self) -> &Arc<Inbox> {
        &self.header().home
    }

    /// What the SQE carries and its CQEs bring back.
    pub(crate) fn user_data(&self) -> u64 {
        let address = self.0.as_ptr().expose_provenance() as u64;
        assert_eq!(address >> GENERATION_SHIFT, 0, "user addresses have 48 bits, and no tags");
        address | u64::from(self.header().generation) << GENERATION_SHIFT
    }

    /// Gives the reference to the kernel, to come back as `user_data`.
    pub(crate) fn into_kernel(self) {
        std::mem::forget(self);
    }

    /// Borrows the cell that a CQE names.
    ///
    /// # Safety
    /// `user_data` came from [`CellRef::user_data`] and the kernel's reference is still outstanding.
    pub(crate) unsafe fn from_kernel(user_data: u64) -> Self {
        let address = user_data & ((1 << GENERATION_SHIFT) - 1);
        let header = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: per contract this is the address of a live block.
        Self(unsafe { NonNull::new_unchecked(header) })
    }

    /// Home core: where the op is.
    pub(crate) fn flight(&self, _home: &Ring) -> Flight {
        self.header().flight.get()
    }

    /// Home core: moves the op on.
    #[inline]
    pub(crate) fn set_flight(&self, _home: &Ring, flight: Flight) {
        self.header().flight.set(flight);
    }

    /// Home core: describes the op.
    #[inline]
    pub(crate) fn fill(&self, home: &Ring) -> Sqe {
        // SAFETY: the table belongs to the body's type; we are on the home core (`home`).
        let mut sqe = unsafe { (self.header().table.fill)(self.0, home) };
        sqe.user_data = self.user_data();
        sqe
    }

    /// Takes one completion.
    #[inline]
    pub(crate) fn complete(&self, cqe: Cqe, ring: Option<&Ring>, wakers: &mut Vec<Waker>) {
        // SAFETY: the table belongs to the body's type.
        unsafe { (self.header().table.complete)(self.0, cqe, ring, wakers) };
    }

    /// Sends the kernel's reference to the home core, which submits the op.
    pub(crate) fn submit_at_home(self) {
        if fork::is_child() {
            // The core is a thread of the parent's.
            return self.refuse(RES_FORKED);
        }
        let first = self.header().node.request(SUBMIT);
        debug_assert!(first, "a fresh cell has no requests");
        self.travel();
    }

    /// Completes an op that no ring will ever see, on whatever thread.
    fn refuse(&self, res: i32) {
        let mut wakers = Vec::new();
        self.complete(Cqe::made_up(res), None, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Asks the home core to submit or to cancel. A home that is gone completes a never submitted op with
    /// [`RES_GONE`].
    pub(crate) fn request(&self, bits: u32) {
        if !self.header().node.request(bits) {
            return;
        }
        self.clone().travel();
    }

    /// Puts the node into the home inbox, with this reference.
    fn travel(self) {
        let home = Arc::clone(self.home());
        // SAFETY: the node is in no list (`request` said so) and carries this reference, which `handle` takes
        // back on whatever thread.
        let message = unsafe { Message::from_raw(self.0.cast::<Node>()) };
        std::mem::forget(self);
        drop(home.push_pinned(message).err());
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
}

impl Clone for CellRef {
    fn clone(&self) -> Self {
        let before = self.header().refs.fetch_add(1, Ordering::Relaxed);
        assert!(before < u32::MAX / 2, "too many references to one op");
        Self(self.0)
    }
}

impl Drop for CellRef {
    fn drop(&mut self) {
        // The sole owner needs no read-modify-write: nobody else can make a reference out of nothing.
        if self.header().refs.load(Ordering::Acquire) != 1 {
            if self.header().refs.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            fence(Ordering::Acquire);
        }
        // SAFETY: this was the last reference.
        unsafe { (self.header().table.free)(self.0) };
    }
}

unsafe fn fill<B: Body>(cell: NonNull<Header>, ring: &Ring) -> Sqe {
    // SAFETY: the table of a `Block<B>` is only called with such a block, alive.
    unsafe { &cell.cast::<Block<B>>().as_ref().body }.fill(ring)
}

unsafe fn complete<B: Body>(cell: NonNull<Header>, cqe: Cqe, ring: Option<&Ring>, wakers: &mut Vec<Waker>) {
    // SAFETY: as in `fill`.
    unsafe { &cell.cast::<Block<B>>().as_ref().body }.complete(cqe, ring, wakers);
}

unsafe fn free<B: Body>(cell: NonNull<Header>) {
    // SAFETY: the last reference is gone, so the block is ours; it was written by `new`.
    let generation = unsafe { cell.as_ref() }.generation;
    // SAFETY: as above; the memory itself stays valid until `give_back`.
    unsafe { cell.cast::<Block<B>>().drop_in_place() };
    // SAFETY: the memory came from `take` with this size and holds nothing any more.
    unsafe { memory::give_back(cell.cast::<u8>(), size_of::<Block<B>>(), generation) };
}

/// The node's function: a request has arrived at home, or home is gone.
unsafe fn handle(node: NonNull<Node>, fate: Fate) {
    let cell = CellRef(node.cast::<Header>());
    let requests = cell.header().node.take_requests();
    match fate {
        Fate::Delivered => with_current(|ring| {
            let ring = ring.expect("messages are delivered on the home core");
            // The message's reference is the kernel's, if it is to submit; a cancel only looks.
            let target = (requests & CANCEL != 0).then(|| cell.clone());
            if requests & SUBMIT != 0 {
                ring.submit(cell);
            }
            if let Some(target) = target {
                ring.cancel(&target);
            }
        }),
        Fate::Disposed if requests & SUBMIT != 0 => cell.refuse(RES_GONE),
        Fate::Disposed => {}
    }
}
