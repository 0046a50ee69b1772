//! Which slots of a page are in use, and who is the last to let go of the page.
//!
//! Owns one bit per slot, and no memory. Slot 0 is the page's own head (`slab.rs`), and its bit says that the
//! page has no home any more.
//!
//! # Who may touch what
//! - `free`: the home, which is the one thread that takes slots. A bit is a slot that can be taken.
//! - `strays`: anyone. A bit is a slot that was given up on another thread than the home, or after it.
//!
//! # Protocol
//! 1. The home takes a slot, and gives it back ([`Slots::take`], [`Slots::give`]), plainly.
//! 2. Anyone else gives a slot up by one read-modify-write ([`Slots::stray`]), and does not look at the page
//!    again, unless that says that it was the last. The home collects such slots ([`Slots::collect`]).
//! 3. The home goes ([`Slots::orphan`]): it adds its free slots to the strays, and the bit of slot 0. From
//!    then on `free` is nobody's.
//! 4. Whoever sets the last of all bits is the last, and has the page to itself, behind all that was done to
//!    its slots. That can be a stray only once the home has gone.
//!
//! Who sets a bit releases what was done to the slot; who collects it, or is the last, acquires that before
//! the memory is used again or freed.
//!
//! While the home is there the page is its own to free, if all slots are free: nobody else has one.
//!
//! Model: `tests/loom`, `slots`.

use crate::base::sync::{AtomicU64, Ordering, UnsafeCell};

/// The bit of the page's head: its home is gone.
const ORPHANED: u64 = 1;
/// All other slots.
const ALL: u64 = !ORPHANED;
/// Slots that can be taken.
pub(crate) const COUNT: u32 = ALL.count_ones();

/// The slots of one page.
#[derive(Debug)]
pub(crate) struct Slots {
    free: UnsafeCell<u64>,
    strays: AtomicU64,
}

impl Slots {
    /// All of them are free.
    pub(crate) fn new() -> Self {
        Self { free: UnsafeCell::new(ALL), strays: AtomicU64::new(0) }
    }

    /// Home: the number of a slot that is the caller's now.
    ///
    /// # Safety
    /// The caller is the home, and has not gone.
    pub(crate) unsafe fn take(&self) -> Option<u32> {
        self.free.with_mut(|free| {
            // SAFETY: per contract the caller is the home, and nobody else looks.
            let free = unsafe { &mut *free };
            let slot = free.trailing_zeros();
            // The lowest bit that is set, if there is one.
            *free &= free.wrapping_sub(1);
            (slot < u64::BITS).then_some(slot)
        })
    }

    /// Home: a slot is free.
    ///
    /// # Safety
    /// As [`take`](Self::take); the slot was taken and is the caller's to give.
    pub(crate) unsafe fn give(&self, slot: u32) {
        // SAFETY: as in `take`.
        self.free.with_mut(|free| unsafe { *free |= 1 << slot });
    }

    /// Home: makes those free that were given up elsewhere.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    pub(crate) unsafe fn collect(&self) {
        // A look before the swap: nearly always there are none.
        if self.strays.load(Ordering::Relaxed) != 0 {
            let strays = self.strays.swap(0, Ordering::Acquire);
            // SAFETY: as in `take`.
            self.free.with_mut(|free| unsafe { *free |= strays });
        }
    }

    /// Home: how many are free.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    pub(crate) unsafe fn count_free(&self) -> u32 {
        // SAFETY: as in `take`.
        self.free.with(|free| unsafe { *free }).count_ones()
    }

    /// Anyone: gives a slot up. True if that was the last of a page without a home.
    ///
    /// # Safety
    /// The slot was taken and is the caller's to give. Unless the answer is true, the page may be gone.
    #[must_use = "the last one frees the page"]
    pub(crate) unsafe fn stray(&self, slot: u32) -> bool {
        let bit = 1 << slot;
        self.strays.fetch_or(bit, Ordering::AcqRel) | bit == ALL | ORPHANED
    }

    /// The home goes. True if no slot is in use any more.
    ///
    /// # Safety
    /// As [`take`](Self::take). Unless the answer is true, the page may be gone.
    #[must_use = "the last one frees the page"]
    pub(crate) unsafe fn orphan(&self) -> bool {
        // SAFETY: as in `take`.
        let bits = self.free.with(|free| unsafe { *free }) | ORPHANED;
        self.strays.fetch_or(bits, Ordering::AcqRel) | bits == ALL | ORPHANED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_taken_once_and_again_when_it_was_given_back_or_has_strayed() {
        let slots = Slots::new();
        // SAFETY: this thread is the home, and gives what it has taken.
        unsafe {
            let taken: Vec<_> = std::iter::from_fn(|| slots.take()).collect();
            assert_eq!(taken, (1..=COUNT).collect::<Vec<_>>());
            slots.give(5);
            assert!(!slots.stray(63) && !slots.stray(2));
            assert_eq!((slots.take(), slots.take()), (Some(5), None));
            slots.collect();
            assert_eq!((slots.take(), slots.take(), slots.take()), (Some(2), Some(63), None));
        }
    }

    #[test]
    fn the_last_of_a_page_without_a_home_is_told_so() {
        let slots = Slots::new();
        // SAFETY: as above.
        unsafe {
            let (one, other) = (slots.take().unwrap(), slots.take().unwrap());
            assert!(!slots.stray(one));
            assert!(!slots.orphan());
            assert!(slots.stray(other));
        }
        let slots = Slots::new();
        // SAFETY: as above.
        unsafe {
            let one = slots.take().unwrap();
            assert!(!slots.stray(one), "there is a home");
            assert!(slots.orphan());
        }
    }
}
