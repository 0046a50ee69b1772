//! Models of the slots of a page (`src/ring/slots.rs`).
//!
//! What is in a slot is a loom cell, and so is the page itself: whoever is the last writes to all of it, and
//! what does not come before that is a data race.

use super::explore;
use crate::base::sync::UnsafeCell;
use crate::ring::slots::Slots;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

struct Page {
    slots: Slots,
    used: [UnsafeCell<u32>; 2],
    freed: AtomicU32,
}

// SAFETY: loom checks the accesses.
unsafe impl Sync for Page {}
// SAFETY: as above.
unsafe impl Send for Page {}

impl Page {
    fn new() -> Arc<Self> {
        let used = [UnsafeCell::new(0), UnsafeCell::new(0)];
        Arc::new(Self { slots: Slots::new(), used, freed: AtomicU32::new(0) })
    }

    fn use_slot(&self, slot: u32) {
        // SAFETY: as above.
        self.used[slot as usize - 1].with_mut(|used| unsafe { *used += 1 });
    }

    /// The last one frees the page.
    fn free(&self) {
        assert_eq!(self.freed.fetch_add(1, Ordering::Relaxed), 0, "it is freed once");
        (1..=2).for_each(|slot| self.use_slot(slot));
    }

    /// Ends the use of a slot on another thread than the home.
    fn stray(this: &Arc<Self>, slot: u32) -> thread::JoinHandle<()> {
        let page = Arc::clone(this);
        thread::spawn(move || {
            page.use_slot(slot);
            // SAFETY: the slot was taken for this thread.
            if unsafe { page.slots.stray(slot) } {
                page.free();
            }
        })
    }
}

/// Two slots are given up elsewhere while the home goes.
pub fn the_last_of_a_page_has_it_to_itself() {
    explore(3, || {
        let page = Page::new();
        // SAFETY: this thread is the home.
        let taken = unsafe { (page.slots.take(), page.slots.take()) };
        assert_eq!(taken, (Some(1), Some(2)));
        let strays = [Page::stray(&page, 1), Page::stray(&page, 2)];
        // SAFETY: as above, and it is not the home any more afterwards.
        if unsafe { page.slots.orphan() } {
            page.free();
        }
        strays.into_iter().for_each(|stray| stray.join().unwrap());
        assert_eq!(page.freed.load(Ordering::Relaxed), 1);
    });
}

/// The home collects what another thread gives up, uses it again and goes.
pub fn what_strays_is_taken_again_behind_its_user() {
    explore(3, || {
        let page = Page::new();
        // SAFETY: this thread is the home.
        let taken = unsafe { page.slots.take() };
        assert_eq!(taken, Some(1));
        let stray = Page::stray(&page, 1);
        // SAFETY: as above; what is taken is given back.
        unsafe {
            page.slots.collect();
            // The first one again, or one that was never used.
            let slot = page.slots.take().unwrap();
            page.use_slot(slot);
            page.slots.give(slot);
            if page.slots.orphan() {
                page.free();
            }
        }
        stray.join().unwrap();
        assert_eq!(page.freed.load(Ordering::Relaxed), 1);
    });
}
