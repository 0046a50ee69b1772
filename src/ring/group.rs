//! A group of provided buffers, as the kernel knows it: a ring through which it is given some.
//!
//! Owns the ring's memory and the count of buffers that the kernel has. Which buffers those are, and how many
//! it gets, is the pool's (ring/pool.rs).

use super::Ring;
use crate::sys::map::Map;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// From which buffers a receive takes. The value is the number by which the kernel knows the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Two pages each, which hold most requests and messages whole.
    Messages = 0,
    /// Large ones.
    Bulk = 1,
}

/// What the kernel has of one group.
pub(super) struct Given {
    entries: Map,
    count: u16,
    tail: u16,
    available: u16,
}

impl Given {
    /// Registers a group of at most `count` buffers, none of which the kernel has yet.
    pub(super) fn register(ring: &Ring, group: Group, count: u16) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "the kernel wants a power of two");
        let entries = Map::new(usize::from(count) * size_of::<BufRingEntry>())?;
        ring.backend.borrow_mut().register_buffers(entries.start(), count, group as u16)?;
        Ok(Self { entries, count, tail: 0, available: 0 })
    }

    /// Buffers the kernel has, those included that are not published yet.
    pub(super) fn available(&self) -> u16 {
        self.available
    }

    /// How many buffers were offered so far, wrapping: if it has changed since the last
    /// [`publish`](Self::publish), there is something to publish.
    pub(super) fn mark(&self) -> u16 {
        self.tail
    }

    fn entry(&mut self, index: u16) -> &mut BufRingEntry {
        let start = self.entries.start().cast::<BufRingEntry>();
        // SAFETY: the map holds `count` entries, `index` is masked, and only this thread writes them. Entries
        // past the kernel's head are ours until the tail is published.
        unsafe { start.add(usize::from(index & (self.count - 1))).as_mut() }
    }

    /// Puts a buffer into the ring. The kernel has it once it is published.
    pub(super) fn offer(&mut self, id: u16, (address, size): (NonNull<u8>, u32)) {
        let tail = self.tail;
        let entry = self.entry(tail);
        entry.set_addr(address.as_ptr().expose_provenance() as u64);
        entry.set_len(size);
        entry.set_bid(id);
        self.tail = tail.wrapping_add(1);
        self.available += 1;
    }

    /// Gives the kernel all that was offered.
    pub(super) fn publish(&self) {
        let start = self.entries.start().cast::<BufRingEntry>();
        // SAFETY: the tail lies in the first entry of the map, aligned to two bytes; the kernel reads it
        // atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(start.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The buffer that the kernel takes next.
    #[cfg(test)]
    pub(super) fn next(&mut self) -> u16 {
        self.entry(self.tail.wrapping_sub(self.available)).bid()
    }

    /// The kernel has taken one.
    pub(super) fn taken(&mut self) {
        self.available -= 1;
    }
}
