//! The steal queue: a bounded ring of runnable tasks with one owner and many thieves.
//!
//! Owns the items between `push_back` and the moment one side claims them. Promises that every item comes
//! out exactly once, oldest first, on one side or the other, and that nobody waits for anybody: each call
//! ends after a bounded number of its own steps unless others keep making progress. It knows nothing of
//! tasks: an item is a word or two that is moved. It is not the place for `!Send` work (that is the local
//! queue), and it does not say when to steal (that is the idle policy).
//!
//! # State
//! Positions are `u32`s that only count up (and wrap); a position's slot is its remainder by the capacity.
//!
//! ```text
//!            steal           real                    tail
//!              │  claimed by   │      ready items      │      free
//!   ───────────┴───────────────┴───────────────────────┴─────────────▶ positions
//!              └──────────────── at most N ────────────┘
//! ```
//!
//! - `head` packs `steal` and `real` in one word. `real` is the oldest item nobody has claimed. `steal` lags
//!   behind it only while somebody moves items out of `steal..real`; `steal == real` says that nobody does.
//! - `tail` is where the owner writes next.
//!
//! Who may touch what:
//! - `tail` is written by the owner only.
//! - A slot in `real..tail` is written by nobody; it is read by whoever moves `real` past it, **after**
//!   that, so no slot is ever read by two sides or before it is claimed.
//! - A slot in `steal..real` belongs to the one thief (or the owner, see overflow) that made the gap.
//! - A slot outside `steal..tail` belongs to the owner.
//!
//! # Steps
//! Push (owner): if `tail - steal < N`, write the slot, then publish `tail + 1` (Release). The Acquire read
//! of `head` orders a thief's reads of the slot's last content before this write.
//!
//! Pop (owner): compare-exchange `real + 1` into `head` (and `steal + 1` with it if nobody steals), read
//! the slot.
//!
//! Steal (thief): (S1) read `head`; if `steal != real`, give up; (S2) read `tail`, take the older half,
//! rounded up; (S3) compare-exchange `real + half` into `head`, leaving `steal` behind; (S4) move the
//! slots; (S5) compare-exchange `steal = real`. If S3 succeeds, `head` has not changed since S1, so what S2
//! saw is there.
//!
//! Overflow (owner, only when the ring is full and nobody steals): (O1) claim the older half exactly as a
//! thief does; (O2) put `tail` back by half, which makes the newer half the owner's; (O3) put `head` back.
//! The newer half leaves, so what has waited longest stays first in line. O3 restores a word that a thief
//! may have read before O1; its S3 then succeeds, and that is sound: it claims at most N/2, and from O3
//! until `head` changes there are never fewer items than that. (This is why N/2 stay, and why overflow is
//! refused unless the ring is full.) O3 is a Release, so whoever claims after that knows the new `tail`. A
//! thief that sees the ring empty or busy between O1 and O3 goes elsewhere: the owner is awake and has the
//! items in hand.
//!
//! # Rejected
//! - One index for the head: a thief must then copy items out before it claims them, reading slots that the
//!   owner may be writing. That is a data race, however it is resolved afterwards.
//! - `u16` halves in the head: it can come round while a thief sleeps between S1 and S3, and then S3 would
//!   claim items that are not there. With `u32`, four billion items must pass in that gap.
//! - Sending the older half away on overflow: simpler by O2 and O3, but those that have waited longest would
//!   then wait behind everything in the injector.
//! - A growing deque: its thieves read a buffer that may be retired, which needs an epoch or a leak; and a
//!   bound is what makes surplus visible to other cores.
//!
//! Models: `tests/loom`, `queue_*`, with a capacity of four, so that a few steps wrap it and fill it.

use crate::base::apart::Apart;
use crate::base::sync::{Arc, AtomicU32, AtomicU64, Ordering, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;

/// How many items a core's steal queue holds.
///
/// Two batches of completions fit without overflow, an overflow moves 128 items at the price of one append,
/// and the ring of pointers is 2 KiB. Models use four.
pub(crate) const CAPACITY: usize = 256;

/// The owner's end: one per queue, on the core the queue belongs to.
pub(crate) struct Owner<T, const N: usize = CAPACITY> {
    ring: Arc<Ring<T, N>>,
}

/// A thief's end: any number, on any thread.
pub(crate) struct Stealer<T, const N: usize = CAPACITY> {
    ring: Arc<Ring<T, N>>,
}

/// The newer half of a full queue, on its way out. What is not taken out of it is dropped.
#[must_use = "items that are not taken out of a surplus are dropped"]
pub(crate) struct Surplus<'a, T, const N: usize = CAPACITY> {
    owner: &'a mut Owner<T, N>,
    next: u32,
    end: u32,
}

struct Ring<T, const N: usize> {
    /// Thieves write it, too.
    head: Apart<AtomicU64>,
    /// The owner alone writes it.
    tail: Apart<AtomicU32>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>; N]>,
}

// SAFETY: slots cross threads by value only (hence `T: Send`), each handed over by `head` and `tail` as the
// file's header says.
unsafe impl<T: Send, const N: usize> Sync for Ring<T, N> {}
// SAFETY: owning the ring is owning its items.
unsafe impl<T: Send, const N: usize> Send for Ring<T, N> {}

/// The two positions packed in `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    steal: u32,
    real: u32,
}

impl Head {
    fn unpack(word: u64) -> Self {
        Self { steal: (word >> 32) as u32, real: word as u32 }
    }

    fn pack(self) -> u64 {
        u64::from(self.steal) << 32 | u64::from(self.real)
    }

    /// Whether somebody is moving claimed items out.
    fn is_busy(self) -> bool {
        self.steal != self.real
    }
}

impl<T, const N: usize> Owner<T, N> {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        Self { ring: Arc::new(Ring::new()) }
    }

    /// A thief's end of this queue.
    pub(crate) fn stealer(&self) -> Stealer<T, N> {
        Stealer { ring: Arc::clone(&self.ring) }
    }

    /// Adds an item behind all others.
    ///
    /// # Errors
    /// The item, if the queue is full: see [`Owner::split_off_half`].
    pub(crate) fn push_back(&mut self, item: T) -> Result<(), T> {
        let tail = self.tail();
        if self.free(tail) == 0 {
            return Err(item);
        }
        // SAFETY: `tail` is outside `steal..tail`, so the slot is the owner's, which `&mut self` makes us.
        unsafe { self.ring.write(tail, item) };
        self.ring.tail.store(tail.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Takes the oldest item.
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let tail = self.tail();
        let mut word = self.ring.head.load(Ordering::Acquire);
        loop {
            let head = Head::unpack(word);
            if head.real == tail {
                return None;
            }
            let real = head.real.wrapping_add(1);
            let steal = if head.is_busy() { head.steal } else { real };
            debug_assert!(tail.wrapping_sub(head.real) as usize <= N);
            match self.ring.claim(word, Head { steal, real }) {
                // SAFETY: this exchange moved `real` past the slot, so the item in it is ours alone.
                Ok(()) => return Some(unsafe { self.ring.read(head.real) }),
                Err(now) => word = now,
            }
        }
    }

    /// How many items nobody has claimed. Thieves may claim some while this is read.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether there is nothing to pop.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the newer half out of a full queue, oldest first, to be put where every core can find it.
    ///
    /// Empty if the queue is not full or a thief is just making room; then the caller's one item goes there
    /// alone.
    pub(crate) fn split_off_half(&mut self) -> Surplus<'_, T, N> {
        let tail = self.tail();
        let word = self.ring.head.load(Ordering::Acquire);
        let head = Head::unpack(word);
        let full = tail.wrapping_sub(head.real) as usize == N;
        let middle = head.real.wrapping_add(Ring::<T, N>::HALF);
        let claimed = Head { steal: head.steal, real: middle };
        if head.is_busy() || !full || self.ring.claim(word, claimed).is_err() {
            return Surplus { owner: self, next: tail, end: tail };
        }
        // No thief moves `head` while it is busy, and none can have claimed beyond the middle: with `tail`
        // back, `middle..tail` is outside `steal..tail` and thus the owner's.
        self.ring.tail.store(middle, Ordering::Release);
        self.ring.head.store(word, Ordering::Release);
        Surplus { owner: self, next: middle, end: tail }
    }

    /// Where the owner writes next. Only the owner writes it, so it reads its own last store.
    fn tail(&self) -> u32 {
        self.ring.tail.load(Ordering::Relaxed)
    }

    /// How many slots are the owner's to write, from `tail` on.
    fn free(&self, tail: u32) -> usize {
        let head = Head::unpack(self.ring.head.load(Ordering::Acquire));
        let used = tail.wrapping_sub(head.steal) as usize;
        debug_assert!(used <= N, "{used} of {N} slots used");
        N - used
    }
}

impl<T, const N: usize> Drop for Owner<T, N> {
    fn drop(&mut self) {
        // Items that a thief has claimed are the thief's; all others end here, and the ring is left empty.
        while let Some(item) = self.pop_front() {
            drop(item);
        }
    }
}

impl<T, const N: usize> Stealer<T, N> {
    /// Moves the older half, rounded up, behind what is in `into`, in its order. How many that were.
    ///
    /// Nothing is taken if there is nothing, if another thief is at work here, or if `into` is more than
    /// half full.
    pub(crate) fn steal_half_into(&self, into: &mut Owner<T, N>) -> usize {
        assert!(!Arc::ptr_eq(&self.ring, &into.ring), "a core does not steal from itself");
        let tail = into.tail();
        if into.free(tail) < N / 2 {
            return 0;
        }
        let (from, count) = self.claim_half();
        if count == 0 {
            return 0;
        }
        for step in 0..count {
            // SAFETY: `from..from + count` was claimed just now and nobody else reads it.
            let item = unsafe { self.ring.read(from.wrapping_add(step)) };
            // SAFETY: `into` had N/2 free slots from its tail on, `&mut Owner` makes us their owner, and
            // at most N/2 are written.
            unsafe { into.ring.write(tail.wrapping_add(step), item) };
        }
        self.release();
        into.ring.tail.store(tail.wrapping_add(count), Ordering::Release);
        count as usize
    }

    /// How many items nobody had claimed a moment ago.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether there was nothing to steal a moment ago.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Claims the older half (S1 to S3): where it begins and how many items it has.
    fn claim_half(&self) -> (u32, u32) {
        let mut word = self.ring.head.load(Ordering::Acquire);
        loop {
            let head = Head::unpack(word);
            if head.is_busy() {
                return (head.real, 0);
            }
            let tail = self.ring.tail.load(Ordering::Acquire);
            // `tail` may be newer than `head`, and the difference more than N; the exchange fails then.
            let ready = tail.wrapping_sub(head.real);
            let half = ready - ready / 2;
            if half == 0 {
                return (head.real, 0);
            }
            let claimed = Head { steal: head.steal, real: head.real.wrapping_add(half) };
            match self.ring.claim(word, claimed) {
                Ok(()) => {
                    debug_assert!(half as usize <= N / 2, "{half} items claimed of {N}");
                    return (head.real, half);
                }
                Err(now) => word = now,
            }
        }
    }

    /// Gives the emptied slots back to the owner (S5). Only the owner's pops compete with it.
    fn release(&self) {
        let mut word = self.ring.head.load(Ordering::Relaxed);
        loop {
            let head = Head::unpack(word);
            debug_assert!(head.is_busy());
            match self.ring.claim(word, Head { steal: head.real, real: head.real }) {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
    }
}

impl<T, const N: usize> Clone for Stealer<T, N> {
    fn clone(&self) -> Self {
        Self { ring: Arc::clone(&self.ring) }
    }
}

impl<T, const N: usize> Iterator for Surplus<'_, T, N> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.next == self.end {
            return None;
        }
        let at = self.next;
        self.next = at.wrapping_add(1);
        // SAFETY: the slots from the tail to `end` were taken from the thieves by `split_off_half`; this
        // borrow of the owner keeps them from being written, and each is read once.
        Some(unsafe { self.owner.ring.read(at) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.wrapping_sub(self.next) as usize;
        (left, Some(left))
    }
}

impl<T, const N: usize> ExactSizeIterator for Surplus<'_, T, N> {}

impl<T, const N: usize> Drop for Surplus<'_, T, N> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl<T, const N: usize> fmt::Debug for Owner<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").field("len", &self.len()).finish()
    }
}

impl<T, const N: usize> fmt::Debug for Stealer<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stealer").field("len", &self.len()).finish()
    }
}

impl<T, const N: usize> Ring<T, N> {
    /// Half the capacity: what an overflow moves, and the most a thief claims.
    const HALF: u32 = {
        assert!(N.is_power_of_two() && N >= 2 && N <= 1 << 16, "the capacity is a power of two, 2 to 65,536");
        N as u32 / 2
    };

    fn new() -> Self {
        let slots: Box<[_]> = (0..N).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        let Ok(slots) = slots.try_into() else { unreachable!("N slots were made") };
        Self { head: Apart(AtomicU64::new(0)), tail: Apart(AtomicU32::new(0)), slots }
    }

    /// Moves `head` from `word` to `next`, or says what it is now. Not the weak kind: a failure means that
    /// somebody else made progress.
    fn claim(&self, word: u64, next: Head) -> Result<(), u64> {
        let moved = self.head.compare_exchange(word, next.pack(), Ordering::AcqRel, Ordering::Acquire);
        moved.map(drop)
    }

    fn len(&self) -> usize {
        let head = Head::unpack(self.head.load(Ordering::Acquire));
        let tail = self.tail.load(Ordering::Acquire);
        // `tail` may be newer than `head`, hence the bound; it is never behind `real`.
        (tail.wrapping_sub(head.real) as usize).min(N)
    }

    fn slot(&self, at: u32) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[at as usize & (N - 1)]
    }

    /// Moves an item in.
    ///
    /// # Safety
    /// The slot is the caller's and holds no item.
    unsafe fn write(&self, at: u32, item: T) {
        // SAFETY: the caller says so.
        self.slot(at).with_mut(|slot| unsafe { (*slot).write(item) });
    }

    /// Moves an item out.
    ///
    /// # Safety
    /// The slot holds an item that the caller has claimed and reads this once.
    unsafe fn read(&self, at: u32) -> T {
        // SAFETY: the caller says so.
        self.slot(at).with(|slot| unsafe { (*slot).assume_init_read() })
    }
}

#[cfg(test)]
mod tests;
