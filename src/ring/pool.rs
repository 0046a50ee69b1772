//! A core's provided buffers: the kernel picks one when data is there.
//!
//! Owns two groups of buffers, small ones for messages and large ones for bulk, and decides how many of each
//! the kernel has. Buffers in the hands of users are `buf::PooledBuf`s and come home through
//! `buf::pooled::Origin`. It does not decide from which group a stream receives, nor what a starved stream
//! does (net/flow.rs): an empty group stops nobody, a receive then uses a heap buffer.
//!
//! # The window
//! The kernel takes buffers in the order in which they were given (kernel-notes/provided-buffers.md), so all
//! that it has go through the CPU's cache one after another. Of small ones a request touches little; 32 large
//! ones fill a second-level cache of 2 MiB. So of the large ones the kernel has no more than a window, first
//! those that came home in the last turn. A receive that finds none widens the window by one, and every
//! [`STEADY`] that are taken narrow it by one: about one receive in as many finds none, and the kernel has no
//! more buffers than the turns of this core need.
//!
//! Of small ones it has [`FIRST`], and as many again as it ever had whenever a turn has left it less than
//! half of them, or a receive has found none. That goes one way: what has been touched is memory of this
//! process anyway. So a core that serves few messages at a time, for however many streams, touches few pages.

use super::Ring;
use super::group::{Given, Group};
use crate::buf::pooled::{Home, Kind, Origin};
use crate::buf::{PooledBuf, heap};
use crate::sys::fork;
use crate::sys::map::Map;
use std::io;
use std::sync::Arc;

/// Bytes of a buffer for messages.
pub(crate) const BUFFER_SIZE: u32 = MESSAGES.size;
/// Bytes of a buffer for bulk.
pub(crate) const BULK_SIZE: u32 = BULK.size;
/// Buffers of each group.
pub(crate) const COUNTS: [u16; 2] = [MESSAGES.count, BULK.count];
/// Of each core 2 MiB at most, touched as they are first used; numbered before those for bulk.
const MESSAGES: Kind = Kind { size: 8 << 10, count: 256 };
/// Buffers for messages that the kernel has from the start.
const FIRST: u16 = 32;
/// As many bytes as those for messages.
const BULK: Kind = Kind { size: heap::KEPT_SIZE, count: 32 };
/// A stream starts a receive of messages only if the kernel has at least this many buffers; else it would
/// starve at once.
pub(crate) const ARM_FLOOR: u16 = 8;
/// The narrowest window: one buffer is received into while another one is sent.
const NARROWEST: u16 = 2;
/// So many large buffers taken narrow the window by one.
const STEADY: u16 = 16;

/// The provided buffers of one ring.
pub(crate) struct Pool {
    origin: Arc<Origin>,
    home: Home,
    messages: Given,
    /// Buffers for messages that the kernel has ever had: the first ones. The others are at home.
    known: u16,
    /// None if there was no memory to register it.
    bulk: Option<Given>,
    /// Large buffers at home that the kernel does not have; those of the last turn are last.
    spare: Vec<u16>,
    /// How many large buffers the kernel gets.
    window: u16,
    /// Large buffers taken since the window last became narrower.
    taken: u16,
}

impl Pool {
    /// A buffer is at home.
    #[inline]
    fn take_home(origin: &Origin, messages: &mut Given, spare: &mut Vec<u16>, id: u16) {
        if id < MESSAGES.count {
            // SAFETY: it is at home, and this is the home core.
            messages.offer(id, unsafe { origin.place(id) });
        } else {
            spare.push(id);
        }
    }

    /// Hands returned buffers back to the kernel.
    fn refill(&mut self) {
        let Self { origin, home, messages, spare, .. } = self;
        // Before those that come home: what a turn takes at once is to be there for the next one.
        let left = messages.available();
        let before = messages.mark();
        home.take_returned(|id| Self::take_home(origin, messages, spare, id));
        if origin.returns().has_any() {
            origin.returns().take_all(|id| Self::take_home(origin, messages, spare, id));
        }
        if self.messages.mark() != before {
            self.messages.publish();
        }
        if self.known < MESSAGES.count && left < self.known / 2 {
            self.make_known(2 * self.known);
        }
        if self.messages.available() > ARM_FLOOR {
            self.origin.returns().fed();
        }
        self.refill_bulk();
    }

    /// Gives the kernel buffers for messages that it never had, until it has known so many.
    #[cold]
    fn make_known(&mut self, known: u16) {
        for id in self.known..known.min(MESSAGES.count) {
            // SAFETY: it is at home, because it never left, and this is the home core.
            self.messages.offer(id, unsafe { self.origin.place(id) });
            self.known += 1;
        }
        self.messages.publish();
    }

    /// Buffers for messages that nobody has.
    fn messages_available(&self) -> u16 {
        self.messages.available() + (MESSAGES.count - self.known)
    }

    /// Gives the kernel large buffers up to the window.
    fn refill_bulk(&mut self) {
        let Some(bulk) = &mut self.bulk else { return };
        if bulk.available() >= self.window {
            return;
        }
        let before = bulk.mark();
        while bulk.available() < self.window
            && let Some(id) = self.spare.pop()
        {
            // SAFETY: it is at home, and this is the home core.
            bulk.offer(id, unsafe { self.origin.place(id) });
        }
        if bulk.mark() != before {
            bulk.publish();
        }
    }

    fn available(&self, group: Group) -> u16 {
        match (group, &self.bulk) {
            (Group::Messages, _) => self.messages.available(),
            (Group::Bulk, bulk) => bulk.as_ref().map_or(0, Given::available),
        }
    }

    /// The kernel has taken a buffer.
    fn taken(&mut self, group: Group) {
        match (group, &mut self.bulk) {
            (Group::Messages, _) => self.messages.taken(),
            (Group::Bulk, bulk) => {
                bulk.as_mut().expect("only a registered group has buffers to pick").taken();
                self.taken += 1;
                if self.taken == STEADY {
                    self.taken = 0;
                    self.window = (self.window - 1).max(NARROWEST);
                }
            }
        }
    }

    /// The kernel found no buffer.
    fn starved(&mut self, group: Group) {
        match group {
            Group::Messages => {
                self.make_known(2 * self.known);
                self.origin.returns().starve();
            }
            Group::Bulk => self.window = (self.window + 1).min(BULK.count),
        }
    }
}

impl Ring {
    /// Makes and registers the pool. Without one (not enough locked memory) all receives use heap buffers;
    /// without its group for bulk, those in bulk.
    pub(crate) fn make_pool(&self) -> io::Result<()> {
        let memory = Map::new(Origin::memory_for(&[MESSAGES, BULK]))?;
        let messages = Given::register(self, Group::Messages, MESSAGES.count)?;
        let bulk = Given::register(self, Group::Bulk, BULK.count).ok();
        let large = if bulk.is_some() { BULK.count } else { 0 };
        let kinds = [MESSAGES, Kind { count: large, ..BULK }];
        let origin = Origin::new(memory, &kinds, self.inbox());
        let all = MESSAGES.count + large;
        let home = Home::of(&origin, all);
        let spare = Vec::with_capacity(BULK.count.into());
        let mut pool = Pool { origin, home, messages, known: 0, bulk, spare, window: NARROWEST, taken: 0 };
        pool.make_known(FIRST);
        pool.spare.extend(MESSAGES.count..all);
        pool.refill_bulk();
        self.counters().pool_buffers.set(u64::from(MESSAGES.count));
        self.counters().pool_large_buffers.set(large.into());
        *self.pool.borrow_mut() = Some(pool);
        Ok(())
    }

    /// Hands returned buffers back to the kernel (every turn).
    pub(super) fn refill_pool(&self) {
        if let Some(pool) = self.pool.borrow_mut().as_mut() {
            pool.refill();
            self.counters().pool_available.set(pool.messages_available().into());
            if let Some(bulk) = &pool.bulk {
                let large = pool.spare.len() as u64 + u64::from(bulk.available());
                self.counters().pool_large_available.set(large);
            }
        }
    }

    /// Whether a receive of this group may start: the kernel has enough buffers, or the receive polls first
    /// and needs none yet. If there are too few for messages, one that comes home will ring this core.
    pub(crate) fn pool_can_arm(&self, group: Group, polls_first: bool) -> bool {
        if fork::is_child() {
            return false;
        }
        let floor = match group {
            Group::Messages => ARM_FLOOR,
            Group::Bulk => 1,
        };
        let mut pool = self.pool.borrow_mut();
        let Some(pool) = pool.as_mut() else { return false };
        if polls_first && group == Group::Bulk {
            return pool.bulk.is_some();
        }
        if pool.available(group) < floor {
            pool.refill();
        }
        if pool.available(group) < floor && group == Group::Messages {
            pool.origin.returns().starve();
            pool.refill();
        }
        pool.available(group) >= floor
    }

    /// The buffer that a completion names, with the `len` bytes the kernel has put there.
    pub(crate) fn picked(&self, group: Group, id: u16, len: u32) -> PooledBuf {
        let mut pool = self.pool.borrow_mut();
        let pool = pool.as_mut().expect("only a registered pool has buffers to pick");
        pool.taken(group);
        // SAFETY: the kernel names a buffer that it was given (`offer`), once for each time.
        unsafe { pool.home.picked(id, len) }
    }

    /// The kernel found no buffer of this group.
    pub(crate) fn note_starved(&self, group: Group) {
        let counter = match group {
            Group::Messages => &self.counters().pool_starved,
            Group::Bulk => &self.counters().pool_large_starved,
        };
        counter.add(1);
        if let Some(pool) = self.pool.borrow_mut().as_mut() {
            pool.starved(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub;
    use super::*;
    use crate::base::inbox::Inbox;
    use std::collections::HashSet;

    fn inbox() -> Arc<Inbox> {
        Arc::new(Inbox::new(Box::new(|| ())))
    }

    /// Large buffers that the kernel has.
    fn given(ring: &Ring) -> u16 {
        ring.pool.borrow().as_ref().unwrap().available(Group::Bulk)
    }

    #[test]
    fn without_memory_for_large_buffers_there_are_those_for_messages_and_no_others() {
        let (ring, kernel) = stub::ring(inbox());
        kernel.refuses.set(Some(Group::Bulk as u16));
        ring.make_pool().unwrap();
        ring.refill_pool();
        assert!(ring.pool_can_arm(Group::Messages, false));
        assert!(!ring.pool_can_arm(Group::Bulk, false) && !ring.pool_can_arm(Group::Bulk, true));
        let counters = ring.counters();
        assert_eq!((counters.pool_large_buffers.get(), counters.pool_large_available.get()), (0, 0));
        assert_eq!(counters.pool_available.get(), counters.pool_buffers.get());
    }

    #[test]
    fn the_kernel_has_as_many_large_buffers_as_receives_have_wanted() {
        let (ring, _) = stub::ring(inbox());
        ring.make_pool().unwrap();
        assert_eq!(given(&ring), NARROWEST);
        // A turn that wants six.
        for _ in NARROWEST..6 {
            ring.note_starved(Group::Bulk);
        }
        ring.refill_pool();
        assert_eq!(given(&ring), 6);
        // Turns that want one.
        let mut used = HashSet::new();
        for _ in 0..6 * STEADY {
            let next = ring.pool.borrow_mut().as_mut().unwrap().bulk.as_mut().unwrap().next();
            used.insert(next);
            drop(ring.picked(Group::Bulk, next, 1));
            ring.refill_pool();
        }
        assert_eq!(given(&ring), NARROWEST);
        assert!(used.len() <= 6, "what comes home is given again, and not what lies there: {used:?}");
        for _ in 0..1000 {
            ring.note_starved(Group::Bulk);
        }
        ring.refill_pool();
        assert_eq!(given(&ring), BULK.count, "there are no more");
    }

    /// Small buffers that the kernel has.
    fn small(ring: &Ring) -> u16 {
        ring.pool.borrow().as_ref().unwrap().available(Group::Messages)
    }

    /// The kernel takes the next small one.
    fn pick(ring: &Ring) -> (u16, PooledBuf) {
        let next = ring.pool.borrow_mut().as_mut().unwrap().messages.next();
        (next, ring.picked(Group::Messages, next, 1))
    }

    #[test]
    fn the_kernel_has_small_buffers_for_the_messages_of_a_turn_and_no_more_but_all_if_they_are_needed() {
        let (ring, _) = stub::ring(inbox());
        ring.make_pool().unwrap();
        assert_eq!(small(&ring), FIRST);
        // Turns with as many messages as leave the kernel half of them.
        let mut used = HashSet::new();
        for _ in 0..100 {
            let turn: Vec<_> = (0..FIRST / 2).map(|_| pick(&ring)).collect();
            used.extend(turn.iter().map(|(id, _)| *id));
            ring.refill_pool();
            drop(turn);
            ring.refill_pool();
        }
        assert_eq!((used.len(), small(&ring)), (FIRST.into(), FIRST));
        assert_eq!(ring.counters().pool_available.get(), u64::from(MESSAGES.count));
        // Messages that nobody drops: none that there is a buffer for goes without.
        let mut held = Vec::new();
        for _ in 0..MESSAGES.count {
            assert!(small(&ring) > 0, "after {} messages", held.len());
            held.push(pick(&ring));
            ring.refill_pool();
        }
        assert_eq!((small(&ring), ring.counters().pool_available.get()), (0, 0));
        held.clear();
        ring.refill_pool();
        assert_eq!(small(&ring), MESSAGES.count);
    }

    #[test]
    fn the_kernel_gets_more_small_buffers_also_if_those_of_a_turn_are_at_home_before_the_next() {
        let (ring, _) = stub::ring(inbox());
        ring.make_pool().unwrap();
        for turn in 1..=3 {
            (0..small(&ring)).for_each(|_| drop(pick(&ring)));
            ring.refill_pool();
            assert_eq!(small(&ring), FIRST << turn);
        }
        assert_eq!(small(&ring), MESSAGES.count);
    }

    #[test]
    fn a_receive_that_finds_no_small_buffer_has_the_kernel_get_more_at_once() {
        let (ring, _) = stub::ring(inbox());
        ring.make_pool().unwrap();
        let held: Vec<_> = (0..FIRST).map(|_| pick(&ring)).collect();
        ring.note_starved(Group::Messages);
        assert_eq!(small(&ring), FIRST);
        ring.refill_pool();
        drop(held);
    }

    #[test]
    fn a_receive_that_polls_first_needs_no_large_buffer_to_start() {
        let (ring, _) = stub::ring(inbox());
        ring.make_pool().unwrap();
        let mut held = Vec::new();
        for _ in 0..BULK.count {
            let next = ring.pool.borrow_mut().as_mut().unwrap().bulk.as_mut().unwrap().next();
            held.push(ring.picked(Group::Bulk, next, 1));
            ring.refill_pool();
        }
        assert_eq!(ring.counters().pool_large_available.get(), 0);
        assert!(ring.pool_can_arm(Group::Bulk, true) && !ring.pool_can_arm(Group::Bulk, false));
        held.clear();
        assert!(ring.pool_can_arm(Group::Bulk, false));
    }
}
