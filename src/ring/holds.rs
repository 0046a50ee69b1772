//! How many hold a cell.
//!
//! Owns one count and its two rules: whoever makes a hold has one, and whoever gives up the last one has the
//! cell to himself. Who holds a cell, and which two share a hold, is prose at the top of `cell.rs`; `cell_*`
//! in `tests/loom` checks it with this file. It frees nothing.
#![forbid(unsafe_code)]

use crate::base::sync::{AtomicU32, Ordering, fence};

/// The count of one cell.
#[derive(Debug)]
pub(crate) struct Holds(AtomicU32);

impl Holds {
    /// A cell that is born with `count` holds.
    #[inline]
    pub(crate) fn new(count: u32) -> Self {
        Self(AtomicU32::new(count))
    }

    /// One more; the caller has one.
    ///
    /// # Panics
    /// With more holds than memory could have use for: a leak in a loop, about to wrap round.
    pub(crate) fn add(&self) {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        assert!(before < u32::MAX / 2, "too many references to one op");
    }

    /// The caller's is given up. True if it was the last: the cell is the caller's, and everything that the
    /// others have done to it comes before.
    #[inline]
    #[must_use = "the last one frees the cell"]
    pub(crate) fn give_up(&self) -> bool {
        // The only one needs no read-modify-write: nobody can make a hold without having one.
        if self.0.load(Ordering::Acquire) == 1 {
            return true;
        }
        if self.0.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        fence(Ordering::Acquire);
        true
    }
}
