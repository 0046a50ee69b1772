//! A core's provided buffers: the kernel picks one when data is there.
//!
//! Owns the ring through which buffers are handed to the kernel and the count of those it has. Buffers in the
//! hands of users are `buf::PooledBuf`s and come home through `buf::pooled::Origin`. It does not decide what
//! a starved stream does (net/recv.rs): an empty pool stops nobody, a receive then uses a heap buffer.

use super::Ring;
use crate::buf::PooledBuf;
use crate::buf::pooled::{Home, Origin};
use crate::sys::fork;
use crate::sys::map::Map;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The buffer group of the one pool a ring has.
pub(crate) const GROUP: u16 = 0;
/// Bytes per buffer: two pages hold most requests and messages whole; bulk goes one-shot.
pub(crate) const BUFFER_SIZE: u32 = 8192;
/// Buffers per core: 2 MiB, touched as they are first used.
pub(crate) const BUFFERS: u16 = 256;
/// A stream arms a multishot only if the kernel has at least this many buffers; else it would starve at once.
pub(crate) const ARM_FLOOR: u16 = 8;

/// The provided buffers of one ring.
pub(crate) struct Pool {
    origin: Arc<Origin>,
    home: Home,
    entries: Map,
    count: u16,
    tail: u16,
    /// Buffers the kernel has.
    available: u16,
}

impl Pool {
    fn entry(&mut self, index: u16) -> &mut BufRingEntry {
        let start = self.entries.start().cast::<BufRingEntry>();
        // SAFETY: the map holds `count` entries, `index` is masked, and only this thread writes them. Entries
        // past the kernel's head are ours until the tail is published.
        unsafe { start.add(usize::from(index & (self.count - 1))).as_mut() }
    }

    fn publish(&self) {
        let start = self.entries.start().cast::<BufRingEntry>();
        // SAFETY: the tail lies in the first entry of the map, aligned to two bytes; the kernel reads it
        // atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(start.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn offer(&mut self, id: u16) {
        let (address, size) = (self.origin.address(id), self.origin.buffer_size());
        let tail = self.tail;
        let entry = self.entry(tail);
        entry.set_addr(address.as_ptr().expose_provenance() as u64);
        entry.set_len(size);
        entry.set_bid(id);
        self.tail = tail.wrapping_add(1);
        self.available += 1;
    }

    /// Hands returned buffers back to the kernel.
    fn refill(&mut self) {
        let before = self.tail;
        while let Some(id) = self.home.next_returned() {
            self.offer(id);
        }
        if self.origin.has_returned() {
            let origin = Arc::clone(&self.origin);
            origin.take_returned(|id| self.offer(id));
        }
        if self.tail != before {
            self.publish();
        }
        if self.available > ARM_FLOOR {
            self.origin.fed();
        }
    }
}

impl Ring {
    /// Makes and registers the pool. Without one (not enough locked memory) all receives use heap buffers.
    pub(crate) fn make_pool(&self, buffer_size: u32, count: u16) -> io::Result<()> {
        assert!(count.is_power_of_two(), "the kernel wants a power of two");
        let entries = Map::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Map::new(Origin::memory_for(buffer_size, count))?;
        let start: NonNull<u8> = entries.start();
        self.backend.borrow_mut().register_buffers(start, count, GROUP)?;
        let origin = Origin::new(memory, buffer_size, count, self.inbox());
        let home = Home::of(&origin, count);
        let mut pool = Pool { origin, home, entries, count, tail: 0, available: 0 };
        (0..count).for_each(|id| pool.offer(id));
        pool.publish();
        self.counters().pool_buffers.set(u64::from(count));
        *self.pool.borrow_mut() = Some(pool);
        Ok(())
    }

    /// Hands returned buffers back to the kernel (every turn).
    pub(super) fn refill_pool(&self) {
        if let Some(pool) = self.pool.borrow_mut().as_mut() {
            pool.refill();
            self.counters().pool_available.set(u64::from(pool.available));
        }
    }

    /// Whether a multishot receive has buffers to live on. If not, a returned buffer will ring this core.
    pub(crate) fn pool_can_arm(&self) -> bool {
        if fork::is_child() {
            return false;
        }
        let mut pool = self.pool.borrow_mut();
        let Some(pool) = pool.as_mut() else { return false };
        if pool.available < ARM_FLOOR {
            pool.refill();
        }
        if pool.available < ARM_FLOOR {
            pool.origin.starve();
            pool.refill();
        }
        pool.available >= ARM_FLOOR
    }

    /// The buffer that a completion names, with the `len` bytes the kernel has put there.
    pub(crate) fn picked(&self, id: u16, len: u32) -> PooledBuf {
        let mut pool = self.pool.borrow_mut();
        let pool = pool.as_mut().expect("only a registered pool has buffers to pick");
        pool.available -= 1;
        // SAFETY: the kernel names a buffer that it was given (`offer`), once for each time.
        unsafe { pool.home.picked(id, len) }
    }

    /// The kernel found no buffer.
    pub(crate) fn note_starved(&self) {
        self.counters().pool_starved.add(1);
        if let Some(pool) = self.pool.borrow_mut().as_mut() {
            pool.origin.starve();
        }
    }
}
