//! Pages of slots for cells of the least size.
//!
//! Owns the pages of one ring, of 4 KiB each: one slot of 64 bytes is the head, and the others are cells.
//! An allocator that is asked for 64 bytes at a multiple of 64 takes up to 176 (glibc 2.36), and a cell of
//! this size is in use for as long as a stream waits. It knows nothing of what is in a slot, and recycles
//! none by itself: the free lists in front of it do (`memory.rs`). Whoever has a slot finds its page by the
//! address; who may do what to a page is at the top of `slots.rs`.
//!
//! A page that is free as a whole goes back to the allocator, but for one. One that has a single cell left
//! stays, with room for others.

use super::slots::{COUNT, Slots};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a slot, and what its address is a multiple of.
pub(super) const SLOT: usize = 64;
const LAYOUT: Layout = match Layout::from_size_align(SLOT << 6, SLOT << 6) {
    Ok(layout) => layout,
    Err(_) => panic!("a page is small"),
};
/// No place in the list of pages with room.
const NOWHERE: usize = usize::MAX;

/// What a page begins with.
struct Head {
    slots: Slots,
    /// Home: its places in the two lists.
    at: usize,
    room_at: usize,
}

const _: () = assert!(size_of::<Head>() <= SLOT && COUNT as usize + 1 == LAYOUT.size() / SLOT);

/// The pages of one ring, which is their home.
#[derive(Default)]
pub(super) struct Slab {
    all: Vec<NonNull<Head>>,
    /// Those in which a slot is free.
    room: Vec<NonNull<Head>>,
}

/// The page of a slot, and the slot's number in it.
///
/// # Safety
/// The slot is from [`Slab::take`].
unsafe fn place_of(slot: NonNull<u8>) -> (NonNull<Head>, u32) {
    let offset = slot.addr().get() % LAYOUT.size();
    // SAFETY: per contract the slot is within a page, which is at a multiple of its size.
    (unsafe { slot.byte_sub(offset) }.cast(), (offset / SLOT) as u32)
}

/// What others than the home look at, too.
///
/// # Safety
/// The page is there for as long as the reference is used.
unsafe fn slots_of<'a>(page: NonNull<Head>) -> &'a Slots {
    // SAFETY: per contract. Of this field alone: the home writes to the others meanwhile.
    unsafe { &(*page.as_ptr()).slots }
}

impl Slab {
    /// Memory of the size and alignment of a slot.
    pub(super) fn take(&mut self) -> NonNull<u8> {
        let page = self.room.last().copied().unwrap_or_else(|| self.more());
        // SAFETY: what is in the lists is a page of this slab, whose home is the one that has the slab.
        let slot = unsafe { slots_of(page).take() }.expect("it is among those with room");
        // SAFETY: as above.
        if unsafe { slots_of(page).count_free() } == 0 {
            self.room.pop();
            // SAFETY: as above; only the home touches this.
            unsafe { (*page.as_ptr()).room_at = NOWHERE };
        }
        // SAFETY: the slot is within the page.
        unsafe { page.byte_add(slot as usize * SLOT) }.cast()
    }

    /// A page with room, when there is none.
    #[cold]
    fn more(&mut self) -> NonNull<Head> {
        for at in 0..self.all.len() {
            self.collect(self.all[at]);
        }
        if let Some(page) = self.room.last() {
            return *page;
        }
        // SAFETY: the layout has a size above zero.
        let page = NonNull::new(unsafe { alloc(LAYOUT) }).unwrap_or_else(|| handle_alloc_error(LAYOUT));
        let page = page.cast();
        // SAFETY: fresh memory, aligned, and larger than this.
        unsafe { page.write(Head { slots: Slots::new(), at: self.all.len(), room_at: NOWHERE }) };
        self.all.push(page);
        self.list(page);
        page
    }

    /// Makes what has strayed free.
    fn collect(&mut self, page: NonNull<Head>) {
        // SAFETY: as in `take`.
        let free = unsafe {
            slots_of(page).collect();
            slots_of(page).count_free()
        };
        if free > 0 {
            self.list(page);
        }
    }

    /// Has a page among those with room.
    fn list(&mut self, page: NonNull<Head>) {
        // SAFETY: as in `take`; only the home touches this field.
        let room_at = unsafe { &mut (*page.as_ptr()).room_at };
        if *room_at == NOWHERE {
            *room_at = self.room.len();
            self.room.push(page);
        }
    }

    /// A slot is free again.
    ///
    /// # Safety
    /// It is from [`take`](Self::take) of this slab, and nobody uses it any more.
    pub(super) unsafe fn give(&mut self, slot: NonNull<u8>) {
        // SAFETY: per contract.
        let (page, number) = unsafe { place_of(slot) };
        // SAFETY: as in `take`; the slot is the caller's to give.
        unsafe { slots_of(page).give(number) };
        self.collect(page);
        // SAFETY: as in `take`.
        if unsafe { slots_of(page).count_free() } == COUNT && self.room.len() > 1 {
            self.free(page);
        }
    }

    /// Gives a page back in which all slots are free.
    #[cold]
    fn free(&mut self, page: NonNull<Head>) {
        // SAFETY: as in `take`; only the home touches these fields.
        unsafe {
            let Head { at, room_at, .. } = *page.as_ptr();
            self.all.swap_remove(at);
            if let Some(moved) = self.all.get(at) {
                (*moved.as_ptr()).at = at;
            }
            self.room.swap_remove(room_at);
            if let Some(moved) = self.room.get(room_at) {
                (*moved.as_ptr()).room_at = room_at;
            }
        }
        // SAFETY: it is in no list any more, and nobody has a slot of it.
        unsafe { dealloc(page.as_ptr().cast(), LAYOUT) };
    }
}

/// A slot is free again, on a thread that does not have its slab, or after that is gone.
///
/// # Safety
/// It is from [`Slab::take`], and nobody uses it any more.
pub(super) unsafe fn stray(slot: NonNull<u8>) {
    // SAFETY: per contract.
    let (page, number) = unsafe { place_of(slot) };
    // SAFETY: a slot that is in use keeps its page, and this one is the caller's to give.
    if unsafe { slots_of(page).stray(number) } {
        // SAFETY: the last one has the page to itself.
        unsafe { dealloc(page.as_ptr().cast(), LAYOUT) };
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        for page in self.all.drain(..) {
            // SAFETY: as in `take`, and it is not used as the page's home again.
            if unsafe { slots_of(page).orphan() } {
                // SAFETY: no slot is in use, and nobody else frees it.
                unsafe { dealloc(page.as_ptr().cast(), LAYOUT) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const PAGE: usize = COUNT as usize;

    #[test]
    fn slots_are_aligned_and_different_and_pages_go_when_nobody_needs_them() {
        let mut slab = Slab::default();
        let mut slots: Vec<_> = (0..3 * PAGE).map(|_| slab.take()).collect();
        assert!(slots.iter().all(|slot| slot.addr().get() % SLOT == 0));
        assert_eq!(slots.iter().collect::<HashSet<_>>().len(), slots.len());
        assert_eq!((slab.all.len(), slab.room.len()), (3, 0));
        // One of each page: there is room for as many, and no page more.
        for at in [2 * PAGE + 1, PAGE + 7, 0] {
            // SAFETY: taken above, and given once.
            unsafe { slab.give(slots.swap_remove(at)) };
        }
        slots.extend((0..3).map(|_| slab.take()));
        assert_eq!((slab.all.len(), slab.room.len()), (3, 0));
        for slot in slots.drain(..) {
            // SAFETY: as above.
            unsafe { slab.give(slot) };
        }
        assert_eq!((slab.all.len(), slab.room.len()), (1, 1), "one page is kept");
        slots.extend((0..PAGE).map(|_| slab.take()));
        assert_eq!((slab.all.len(), slab.room.len()), (1, 0));
        for slot in slots {
            // SAFETY: as above.
            unsafe { slab.give(slot) };
        }
    }

    #[test]
    fn what_is_given_up_elsewhere_is_used_again_and_may_outlast_the_slab() {
        let mut slab = Slab::default();
        let slots: HashSet<_> = (0..2 * PAGE).map(|_| slab.take().addr()).collect();
        let at = |slab: &Slab, addr: &std::num::NonZero<usize>| {
            let page = slab.all.iter().find(|page| page.addr().get() == addr.get() & !(LAYOUT.size() - 1));
            page.unwrap().cast::<u8>().map_addr(|_| *addr)
        };
        let (strays, rest) = (slots.iter().take(5), slots.iter().skip(5));
        for addr in strays.clone() {
            // SAFETY: taken above, and given once.
            unsafe { stray(at(&slab, addr)) };
        }
        let again: HashSet<_> = (0..5).map(|_| slab.take().addr()).collect();
        assert_eq!(again, strays.copied().collect());
        assert_eq!(slab.all.len(), 2);
        let last: Vec<_> = again.iter().chain(rest).map(|addr| at(&slab, addr)).collect();
        drop(slab);
        for slot in last {
            // SAFETY: as above. The last one of each page frees it, which AddressSanitizer looks at.
            unsafe { stray(slot) };
        }
    }
}
