//! The buffer that the kernel picked, and its way home.
//!
//! Owns [`PooledBuf`] and the part of a core's buffer pool that outlives the core: the memory and the ways
//! home. The ring side (which buffers the kernel has) is `ring::pool`.
//!
//! # Protocol
//! - A buffer is in exactly one place: with the kernel's ring, in a `PooledBuf`, on the core's [`Desk`], or
//!   on the returns stack.
//! - The home core returns over its desk, a thread-local: the buffer's number, and the reference to the pool
//!   that it had, for the next one to be picked. So a buffer that is used and dropped at home costs no
//!   read-modify-write. The core takes what is there before each enter, and so before it sleeps.
//! - Any other thread puts the number on the returns stack, which has a protocol of its own (returns.rs). A
//!   core that has too few buffers says so there before it sleeps: the next return then sends the pool's
//!   parcel to its inbox, which rings it.

use super::heap::Block;
use super::returns::Returns;
use super::{IoBuf, IoBufMut};
use crate::base::inbox::Inbox;
use crate::base::parcel::{Deliver, Parcel};
use crate::sys::map::Map;
use std::cell::{RefCell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes between two buffers. Buffers of a power of two would all begin in the same set of the CPU's cache,
/// of which a request uses little more than the beginning.
const GAP: usize = 64;

/// What a [`PooledBuf`] has to say, at a place that does not move: so the buffer itself is one word, which
/// travels in a register through all the layers between a completion and a send.
pub(super) struct Head {
    start: NonNull<u8>,
    /// Bytes consumed at the front.
    from: u32,
    /// End of the bytes.
    to: u32,
    capacity: u32,
    id: u16,
    /// The pool, while the buffer is out; none of a heap buffer, whose bytes are behind this.
    origin: Option<Arc<Origin>>,
}

impl Head {
    /// Of an empty heap buffer at `start`.
    pub(super) fn of_heap(start: NonNull<u8>, capacity: u32) -> Self {
        Self { start, from: 0, to: 0, capacity, id: 0, origin: None }
    }

    /// Bytes that a heap buffer has room for.
    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// As if nothing had been received.
    pub(super) fn empty(&mut self) {
        (self.from, self.to) = (0, 0);
    }
}

/// Buffers of one size in a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) size: u32,
    pub(crate) count: u16,
}

/// The part of a pool that all its buffers share.
pub(crate) struct Origin {
    _memory: Map,
    /// Of each buffer; who has the buffer has this.
    heads: Box<[UnsafeCell<Head>]>,
    returns: Returns,
    home: Arc<Inbox>,
    parcel: Arc<Parcel<Comeback>>,
}

// SAFETY: `heads[id]` is touched by whoever has buffer `id`: its one `PooledBuf`, or the home core; all else
// is `Sync` by itself.
unsafe impl Sync for Origin {}
// SAFETY: as above; what a head refers to is `Send`.
unsafe impl Send for Origin {}

/// The message that says "buffers came home". Being delivered is all it does: the turn that follows refills,
/// and says whether the next return is to ring, too ([`Returns::fed`]).
#[derive(Debug)]
struct Comeback;

impl Deliver for Comeback {
    fn deliver(_parcel: Arc<Parcel<Self>>, _requests: u32) {}

    fn dispose(_parcel: Arc<Parcel<Self>>, _requests: u32) {}
}

impl Origin {
    /// The shared part of a pool of buffers of these kinds in `memory`, numbered in their order.
    pub(crate) fn new(memory: Map, kinds: &[Kind], home: Arc<Inbox>) -> Arc<Self> {
        assert!(memory.len() >= Self::memory_for(kinds), "the buffers fit their memory");
        let sizes = kinds.iter().flat_map(|kind| (0..kind.count).map(|_| kind.size));
        let mut at = 0;
        let heads = sizes.zip(0..).map(|(size, id)| {
            // SAFETY: the buffers before this one and it are within the memory (asserted).
            let start = unsafe { memory.start().add(at) };
            at += size as usize + GAP;
            UnsafeCell::new(Head { id, ..Head::of_heap(start, size) })
        });
        let heads: Box<[_]> = heads.collect();
        let returns = Returns::new(heads.len());
        Arc::new(Self { _memory: memory, heads, returns, home, parcel: Parcel::new(Comeback) })
    }

    /// Bytes that buffers of these kinds take.
    pub(crate) fn memory_for(kinds: &[Kind]) -> usize {
        kinds.iter().map(|kind| usize::from(kind.count) * (kind.size as usize + GAP)).sum()
    }

    /// Where buffer `id` starts, and how many bytes it has room for.
    ///
    /// # Safety
    /// The buffer is at home, and so is the caller.
    pub(crate) unsafe fn place(&self, id: u16) -> (NonNull<u8>, u32) {
        // SAFETY: who has the buffer has its head: the home core (per contract).
        let head = unsafe { &*self.heads[usize::from(id)].get() };
        (head.start, head.capacity)
    }

    /// Buffer `id` is free, and so is this reference.
    #[inline]
    fn give_back(self: Arc<Self>, id: u16) {
        let mut origin = Some(self);
        // Nothing in here is foreign code. On a thread whose thread-locals are gone, nobody is at home.
        let _ = DESK.try_with(|desk| {
            let mut desk = desk.borrow_mut();
            let Some(desk) = desk.as_mut() else { return };
            if origin.as_ref().is_some_and(|origin| Arc::ptr_eq(origin, &desk.origin)) {
                desk.returned.push(id);
                desk.spare.extend(origin.take());
            }
        });
        if let Some(origin) = origin {
            origin.send_back(id);
        }
    }

    /// Any other thread: buffer `id` is free.
    fn send_back(&self, id: u16) {
        if self.returns.push(id) {
            self.parcel.request(&self.home, 1);
        }
    }

    /// The buffers that other threads return; for the home core.
    #[inline]
    pub(crate) fn returns(&self) -> &Returns {
        &self.returns
    }
}

/// Where the buffers of a core's pool come back that are dropped on the core.
struct Desk {
    origin: Arc<Origin>,
    /// Free buffers.
    returned: Vec<u16>,
    /// References that buffers have had and will have.
    spare: Vec<Arc<Origin>>,
}

thread_local! {
    static DESK: RefCell<Option<Desk>> = const { RefCell::new(None) };
}

/// Says that this thread is the home of a pool.
#[must_use = "buffers come home over the desk only while the guard lives"]
pub(crate) struct Home {
    // A thread-local was set: the guard must end on the same thread.
    _here: PhantomData<*const ()>,
}

impl Home {
    /// This thread is the home of `origin`'s buffers, of which there are `count`.
    pub(crate) fn of(origin: &Arc<Origin>, count: u16) -> Self {
        let (returned, spare) = (Vec::with_capacity(count.into()), Vec::with_capacity(count.into()));
        let desk = Desk { origin: Arc::clone(origin), returned, spare };
        let before = DESK.with_borrow_mut(|place| place.replace(desk));
        assert!(before.is_none(), "a thread is the home of one pool");
        Self { _here: PhantomData }
    }

    /// A reference for a buffer that was picked.
    #[inline]
    fn reference(&self) -> Option<Arc<Origin>> {
        DESK.with_borrow_mut(|desk| {
            let desk = desk.as_mut()?;
            Some(desk.spare.pop().unwrap_or_else(|| Arc::clone(&desk.origin)))
        })
    }

    /// Takes the buffers that have come back over the desk, the last one first.
    #[inline]
    pub(crate) fn take_returned(&self, mut each: impl FnMut(u16)) {
        DESK.with_borrow_mut(|desk| {
            let Some(desk) = desk else { return };
            while let Some(id) = desk.returned.pop() {
                each(id);
            }
        });
    }

    /// Buffer `id` of the pool, of which the kernel has filled `len` bytes.
    ///
    /// # Safety
    /// The kernel has just given it out: it is in no other place.
    #[inline]
    pub(crate) unsafe fn picked(&self, id: u16, len: u32) -> PooledBuf {
        let origin = self.reference().expect("set until the guard is dropped");
        let place = NonNull::from(&origin.heads[usize::from(id)]).cast::<Head>();
        // SAFETY: the buffer is ours (per contract), and with it its head; the reference that is put there
        // keeps it alive.
        unsafe {
            assert!(len <= (*place.as_ptr()).capacity, "the kernel fills no more than the buffer");
            (*place.as_ptr()).from = 0;
            (*place.as_ptr()).to = len;
            (*place.as_ptr()).origin = Some(origin);
        }
        PooledBuf { head: place }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What is still out comes back to a pool that nobody takes from.
        let _ = DESK.try_with(RefCell::take);
    }
}

/// Received bytes in a buffer that the runtime owns.
///
/// It derefs to the bytes, can be sent as it is, and goes back to its pool when dropped, on whatever thread,
/// also after the runtime. An empty one means the end of the stream.
///
/// In a child of `fork` the bytes of a pool's buffer are not there: it may be dropped, and not be looked at.
pub struct PooledBuf {
    head: NonNull<Head>,
}

// SAFETY: a `PooledBuf` is the only one with access to its bytes, and its owner may be given back to from any
// thread.
unsafe impl Send for PooledBuf {}
// SAFETY: shared access only reads.
unsafe impl Sync for PooledBuf {}

impl PooledBuf {
    /// An empty buffer of `capacity` bytes from the heap.
    pub(crate) fn heap(capacity: usize) -> Self {
        let capacity = u32::try_from(capacity).expect("receive buffers are below 4 GiB");
        Self { head: Block::with(capacity).into_head() }
    }

    #[inline]
    fn head(&self) -> &Head {
        // SAFETY: the head lives as long as its buffer, and by `&self` nobody changes it.
        unsafe { self.head.as_ref() }
    }

    #[inline]
    fn head_mut(&mut self) -> &mut Head {
        // SAFETY: as above, and by `&mut self` nobody else reads it.
        unsafe { self.head.as_mut() }
    }

    /// A heap buffer with these bytes.
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        let mut buf = Self::heap(bytes.len());
        super::fill(&mut buf, bytes);
        buf
    }

    /// The end of the stream.
    pub(crate) fn end_of_stream() -> Self {
        Self::heap(0)
    }

    /// Whether the bytes lie in a pool's buffer (and not in a heap buffer, which stood in for an empty pool).
    pub fn is_from_pool(&self) -> bool {
        self.head().origin.is_some()
    }

    /// Forgets the first `n` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advance by {n} in {} bytes", self.len());
        self.head_mut().from += n as u32;
    }

    /// Keeps the first `n` bytes, if there are more.
    pub fn truncate(&mut self, n: usize) {
        let head = self.head_mut();
        head.to = head.to.min(head.from.saturating_add(u32::try_from(n).unwrap_or(u32::MAX)));
    }
}

impl Drop for PooledBuf {
    #[inline]
    fn drop(&mut self) {
        let Head { id, ref mut origin, .. } = *self.head_mut();
        match origin.take() {
            // The head is another's from here on.
            Some(origin) => origin.give_back(id),
            // SAFETY: `heap` took it from a block, and nobody has the buffer any more.
            None => unsafe { Block::from_head(self.head) }.give_back(),
        }
    }
}

// SAFETY: `from..to` has been written by the kernel or by `fill`; the memory is the pool's or the heap's and
// does not move with the value.
unsafe impl IoBuf for PooledBuf {
    fn as_ptr(&self) -> *const u8 {
        let head = self.head();
        // SAFETY: `from <= to <= capacity`.
        unsafe { head.start.as_ptr().add(head.from as usize) }
    }

    fn len(&self) -> usize {
        let head = self.head();
        (head.to - head.from) as usize
    }
}

// SAFETY: `capacity - from` bytes behind `from` may be written; reads land behind the bytes that are there.
unsafe impl IoBufMut for PooledBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        let head = self.head();
        // SAFETY: `from <= capacity`.
        unsafe { head.start.as_ptr().add(head.from as usize) }
    }

    fn capacity(&self) -> usize {
        let head = self.head();
        (head.capacity - head.from) as usize
    }

    fn fill_from(&self) -> usize {
        self.len()
    }

    unsafe fn assume_init(&mut self, end: usize) {
        let head = self.head_mut();
        head.to = head.to.max(head.from + end as u32);
    }
}

impl Deref for PooledBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for PooledBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        // SAFETY: `from..to` is initialised and ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), len) }
    }
}

impl AsRef<[u8]> for PooledBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PooledBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBuf").field("len", &self.len()).field("pool", &self.is_from_pool()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Arc<Origin> {
        let inbox = Arc::new(Inbox::new(Box::new(|| ())));
        let kinds = [Kind { size: 4096, count: 4 }];
        Origin::new(Map::new(Origin::memory_for(&kinds)).unwrap(), &kinds, inbox)
    }

    #[test]
    fn a_buffer_comes_home_over_the_desk_with_its_reference_and_from_elsewhere_over_the_stack() {
        let origin = pool();
        let home = Home::of(&origin, 4);
        // SAFETY: there is no kernel, and each number is picked once.
        let (here, there) = unsafe { (home.picked(0, 10), home.picked(1, 5)) };
        let references = Arc::strong_count(&origin);
        drop(here);
        let mut returned = Vec::new();
        home.take_returned(|id| returned.push(id));
        home.take_returned(|id| returned.push(id));
        assert_eq!(returned, [0]);
        assert!(!origin.returns().has_any());
        // SAFETY: as above.
        let again = unsafe { home.picked(2, 1) };
        assert_eq!(Arc::strong_count(&origin), references, "it has the reference of the first one");
        std::thread::spawn(move || drop(there)).join().unwrap();
        home.take_returned(|id| panic!("{id} has not come over the desk"));
        let mut returned = Vec::new();
        origin.returns().take_all(|id| returned.push(id));
        assert_eq!((returned, origin.returns().has_any()), (vec![1], false));
        drop((again, home));
        assert_eq!(Arc::strong_count(&origin), 1);
    }

    #[test]
    fn a_buffer_of_another_pool_is_not_taken_for_ones_own() {
        let (own, other) = (pool(), pool());
        let elsewhere = Arc::clone(&other);
        // SAFETY: picked once, as above.
        let pick = move || unsafe { Home::of(&elsewhere, 4).picked(3, 1) };
        let buffer = std::thread::spawn(pick).join().unwrap();
        let home = Home::of(&own, 4);
        drop(buffer);
        home.take_returned(|id| panic!("{id} is none of this pool's"));
        assert!(other.returns().has_any());
    }
}
