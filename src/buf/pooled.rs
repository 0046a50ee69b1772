//! The buffer that the kernel picked, and its way home.
//!
//! Owns [`PooledBuf`] and the part of a core's buffer pool that outlives the core: the memory and the stack
//! of returned buffers. The ring side (which buffers the kernel has) is `ring::pool`.
//!
//! # Protocol
//! - A buffer is in exactly one place: with the kernel's ring, in a `PooledBuf`, on the core's [`Desk`], or
//!   on the returns stack.
//! - The home core returns over its desk, a thread-local: the buffer's number, and the reference to the pool
//!   that it had, for the next one to be picked. So a buffer that is used and dropped at home costs no
//!   read-modify-write. The core takes what is there before each enter, and so before it sleeps.
//! - Any other thread returns: (R1) push the id onto the stack by compare-exchange; (R2) if `starved` is set,
//!   send the pool's parcel to the home inbox (which rings a parked core).
//! - The home core takes: (T1) swap the stack's head for empty; and before it may sleep without buffers: (S1)
//!   set `starved`, (S2) take once more.
//!
//! R1, R2, S1, S2 are SeqCst: if S2 missed a push then S1 precedes R2, so the pusher sees `starved` and
//! rings. The stack is push and take-all, so it has no ABA.

use super::{IoBuf, IoBufMut};
use crate::base::inbox::Inbox;
use crate::base::parcel::{Deliver, Parcel};
use crate::sys::map::Map;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

const NONE: u32 = u32::MAX;

/// The part of a pool that all its buffers share.
#[derive(Debug)]
pub(crate) struct Origin {
    memory: Map,
    buffer_size: u32,
    head: AtomicU32,
    next: Box<[AtomicU32]>,
    starved: AtomicBool,
    home: Arc<Inbox>,
    parcel: Arc<Parcel<Comeback>>,
}

/// The message that says "buffers came home". Being delivered is all it does: the turn that follows refills.
#[derive(Debug)]
struct Comeback(Weak<Origin>);

impl Deliver for Comeback {
    fn deliver(parcel: Arc<Parcel<Self>>, _requests: u32) {
        if let Some(origin) = parcel.value.0.upgrade() {
            origin.starved.store(false, Ordering::SeqCst);
        }
    }

    fn dispose(_parcel: Arc<Parcel<Self>>, _requests: u32) {}
}

impl Origin {
    /// The shared part of a pool of `count` buffers of `buffer_size` bytes in `memory`.
    pub(crate) fn new(memory: Map, buffer_size: u32, count: u16, home: Arc<Inbox>) -> Arc<Self> {
        assert!(memory.len() >= buffer_size as usize * usize::from(count), "the buffers fit their memory");
        Arc::new_cyclic(|origin| Self {
            memory,
            buffer_size,
            head: AtomicU32::new(NONE),
            next: (0..count).map(|_| AtomicU32::new(NONE)).collect(),
            starved: AtomicBool::new(false),
            home,
            parcel: Parcel::new(Comeback(Weak::clone(origin))),
        })
    }

    /// Bytes in one buffer.
    pub(crate) fn buffer_size(&self) -> u32 {
        self.buffer_size
    }

    /// Where buffer `id` starts.
    pub(crate) fn address(&self, id: u16) -> NonNull<u8> {
        assert!(usize::from(id) < self.next.len(), "the pool has no buffer {id}");
        // SAFETY: `id` is within the pool (asserted), so the address is within its memory.
        unsafe { self.memory.start().add(usize::from(id) * self.buffer_size as usize) }
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

    /// Any thread: buffer `id` is free (R1, R2).
    fn send_back(&self, id: u16) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            self.next[usize::from(id)].store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(head, u32::from(id), Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if self.starved.load(Ordering::SeqCst) {
            self.parcel.request(&self.home, 1);
        }
    }

    /// Home core: whether other threads have returned any. SeqCst, because after `starve` this is S2.
    #[inline]
    pub(crate) fn has_returned(&self) -> bool {
        self.head.load(Ordering::SeqCst) != NONE
    }

    /// Home core: takes all that other threads have returned (T1).
    pub(crate) fn take_returned(&self, mut each: impl FnMut(u16)) {
        let mut at = self.head.swap(NONE, Ordering::SeqCst);
        while at != NONE {
            // Read before the buffer is handed out: from then on its link may be written by a return.
            let next = self.next[at as usize].load(Ordering::Relaxed);
            each(at as u16);
            at = next;
        }
    }

    /// Home core: from now on a return sends a message (S1). Take once more afterwards (S2).
    pub(crate) fn starve(&self) {
        self.starved.store(true, Ordering::SeqCst);
    }

    /// Home core: returns need no message any more.
    pub(crate) fn fed(&self) {
        if self.starved.load(Ordering::Relaxed) {
            self.starved.store(false, Ordering::SeqCst);
        }
    }
}

/// Where the buffers of a core's pool come back that are dropped on the core.
#[derive(Debug)]
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

    /// Takes a buffer that has come back over the desk.
    #[inline]
    pub(crate) fn next_returned(&self) -> Option<u16> {
        DESK.with_borrow_mut(|desk| desk.as_mut()?.returned.pop())
    }

    /// Buffer `id` of the pool, of which the kernel has filled `len` bytes.
    #[inline]
    pub(crate) fn picked(&self, id: u16, len: u32) -> PooledBuf {
        let origin = self.reference().expect("set until the guard is dropped");
        let (start, capacity) = (origin.address(id), origin.buffer_size);
        assert!(len <= capacity, "the kernel fills no more than the buffer");
        PooledBuf { start, from: 0, to: len, capacity, owner: Owner::Pool(origin, id) }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What is still out comes back to a pool that nobody takes from.
        let _ = DESK.try_with(RefCell::take);
    }
}

#[derive(Debug)]
enum Owner {
    Pool(Arc<Origin>, u16),
    Heap,
}

/// Received bytes in a buffer that the runtime owns.
///
/// It derefs to the bytes, can be sent as it is, and goes back to its pool when dropped, on whatever thread,
/// also after the runtime. An empty one means the end of the stream.
pub struct PooledBuf {
    start: NonNull<u8>,
    /// Bytes consumed at the front.
    from: u32,
    /// End of the bytes.
    to: u32,
    capacity: u32,
    owner: Owner,
}

// SAFETY: a `PooledBuf` is the only one with access to its bytes, and its owner may be given back to from any
// thread.
unsafe impl Send for PooledBuf {}
// SAFETY: shared access only reads.
unsafe impl Sync for PooledBuf {}

impl PooledBuf {
    /// An empty buffer of `capacity` bytes from the heap.
    pub(crate) fn heap(capacity: usize) -> Self {
        let mut memory = std::mem::ManuallyDrop::new(Vec::<u8>::with_capacity(capacity));
        let start = NonNull::new(memory.as_mut_ptr()).expect("a vector's pointer is not null");
        let capacity = u32::try_from(memory.capacity()).expect("receive buffers are below 4 GiB");
        Self { start, from: 0, to: 0, capacity, owner: Owner::Heap }
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
        matches!(self.owner, Owner::Pool(..))
    }

    /// Empties a heap buffer for another use, if it has room for `least` bytes then; false if it is a
    /// pool's or too small.
    pub(crate) fn reset(&mut self, least: usize) -> bool {
        if self.is_from_pool() || (self.capacity as usize) < least {
            return false;
        }
        (self.from, self.to) = (0, 0);
        true
    }

    /// Forgets the first `n` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advance by {n} in {} bytes", self.len());
        self.from += n as u32;
    }

    /// Keeps the first `n` bytes, if there are more.
    pub fn truncate(&mut self, n: usize) {
        self.to = self.to.min(self.from.saturating_add(u32::try_from(n).unwrap_or(u32::MAX)));
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.owner, Owner::Heap) {
            Owner::Pool(origin, id) => origin.give_back(id),
            Owner::Heap => {
                let capacity = self.capacity as usize;
                // SAFETY: `heap` took these parts out of a vector of bytes and they have not changed.
                drop(unsafe { Vec::from_raw_parts(self.start.as_ptr(), 0, capacity) });
            }
        }
    }
}

// SAFETY: `from..to` has been written by the kernel or by `fill`; the memory is the pool's or the heap's and
// does not move with the value.
unsafe impl IoBuf for PooledBuf {
    fn as_ptr(&self) -> *const u8 {
        // SAFETY: `from <= to <= capacity`.
        unsafe { self.start.as_ptr().add(self.from as usize) }
    }

    fn len(&self) -> usize {
        (self.to - self.from) as usize
    }
}

// SAFETY: `capacity - from` bytes behind `from` may be written; reads land behind the bytes that are there.
unsafe impl IoBufMut for PooledBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `from <= capacity`.
        unsafe { self.start.as_ptr().add(self.from as usize) }
    }

    fn capacity(&self) -> usize {
        (self.capacity - self.from) as usize
    }

    fn fill_from(&self) -> usize {
        (self.to - self.from) as usize
    }

    unsafe fn assume_init(&mut self, end: usize) {
        self.to = self.to.max(self.from + end as u32);
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
        Origin::new(Map::new(4 * 4096).unwrap(), 4096, 4, inbox)
    }

    #[test]
    fn a_buffer_comes_home_over_the_desk_with_its_reference_and_from_elsewhere_over_the_stack() {
        let origin = pool();
        let home = Home::of(&origin, 4);
        let (here, there) = (home.picked(0, 10), home.picked(1, 5));
        let references = Arc::strong_count(&origin);
        drop(here);
        assert_eq!((home.next_returned(), home.next_returned()), (Some(0), None));
        assert!(!origin.has_returned());
        let again = home.picked(2, 1);
        assert_eq!(Arc::strong_count(&origin), references, "it has the reference of the first one");
        std::thread::spawn(move || drop(there)).join().unwrap();
        assert_eq!(home.next_returned(), None);
        let mut returned = Vec::new();
        origin.take_returned(|id| returned.push(id));
        assert_eq!((returned, origin.has_returned()), (vec![1], false));
        drop((again, home));
        assert_eq!(Arc::strong_count(&origin), 1);
    }

    #[test]
    fn a_buffer_of_another_pool_is_not_taken_for_ones_own() {
        let (own, other) = (pool(), pool());
        let elsewhere = Arc::clone(&other);
        let buffer = std::thread::spawn(move || Home::of(&elsewhere, 4).picked(3, 1)).join().unwrap();
        let home = Home::of(&own, 4);
        drop(buffer);
        assert_eq!(home.next_returned(), None);
        assert!(other.has_returned());
    }
}
