//! Memory of the generator: outgoing messages and pools of receive buffers, made when a conversation first
//! needs them and never freed, for the kernel may still use what a given-up connection has left behind.

use std::io;

use crate::raw::{BufPool, Lanes, leak};

/// Buffers and their size, by what a conversation needs: few connections, many, long replies.
const POOLS: [(u16, u32); 3] = [(2048, 4096), (8192, 4096), (256, 65536)];
const MANY: usize = 1024;

/// The pools that have been needed, and the one in use.
#[derive(Default)]
pub(super) struct Pools {
    made: [Option<BufPool>; POOLS.len()],
    used: usize,
}

impl Pools {
    /// Uses the pool that suits `sockets` on which replies of `length` come.
    pub(super) fn choose(&mut self, lanes: &Lanes, sockets: usize, length: usize) -> io::Result<()> {
        self.used = match length {
            0..=4096 if sockets <= MANY => 0,
            0..=4096 => 1,
            _ => 2,
        };
        if self.made[self.used].is_none() {
            let (count, size) = POOLS[self.used];
            self.made[self.used] = Some(BufPool::new(lanes, self.used as u16, count, size)?);
        }
        Ok(())
    }

    fn pool(&self) -> &BufPool {
        self.made[self.used].as_ref().expect("chosen before anything is received")
    }

    /// The number by which receives name the pool in use.
    pub(super) fn group(&self) -> u16 {
        self.pool().group()
    }

    /// What a completion has put into buffer `bid`.
    pub(super) fn bytes(&self, bid: u16, length: usize) -> &[u8] {
        self.pool().bytes(bid, length)
    }

    /// Lets the kernel have a buffer again that a completion has brought.
    pub(super) fn give_back(&mut self, bid: u16) {
        let pool = self.made[self.used].as_mut().expect("chosen before anything is received");
        pool.taken();
        pool.give_back(bid);
    }

    /// Makes returned buffers visible to the kernel.
    pub(super) fn publish(&self) {
        self.pool().publish();
    }
}

/// Outgoing messages: for each connection some slots, one behind the other.
pub(super) struct Messages {
    memory: *mut u8,
    length: usize,
    /// Bytes per slot and per connection.
    slot: usize,
    stride: usize,
}

impl Default for Messages {
    fn default() -> Messages {
        Messages { memory: std::ptr::null_mut(), length: 0, slot: 0, stride: 0 }
    }
}

impl Messages {
    /// Room for `depth` messages of `slot` bytes on each of `sockets`.
    pub(super) fn make_room(&mut self, sockets: usize, slot: usize, depth: usize) {
        // An odd number of cache lines: else the messages of all connections would share a few sets.
        self.stride = ((slot * depth).div_ceil(64) | 1) * 64;
        self.slot = slot;
        let needed = self.stride * sockets;
        if needed > self.length {
            // Sixteen: zeroed memory of that alignment comes untouched from the kernel.
            (self.memory, self.length) = (leak(needed, 16), needed);
        }
    }

    /// Where a message begins.
    pub(super) fn address(&self, index: usize, slot: usize) -> *const u8 {
        let at = index * self.stride + slot * self.slot;
        assert!(at + self.slot <= self.length, "beyond the memory of the messages");
        self.memory.wrapping_add(at)
    }

    /// A message, to be written or compared. No send of it may be under way: it is new, or has been answered,
    /// or is being answered and thus has left whole.
    pub(super) fn get(&mut self, index: usize, slot: usize) -> &mut [u8] {
        let address = self.address(index, slot).cast_mut();
        // SAFETY: inside the memory, which is never freed; the borrow of `self` keeps a second one away. The
        // kernel only reads it, and has finished, as the caller knows.
        unsafe { std::slice::from_raw_parts_mut(address, self.slot) }
    }
}
