//! Memory for cells, recycled by each ring.
//!
//! Owns free lists by size class (multiples of 64 bytes), so that an op in steady state costs no call of the
//! allocator. What a block begins with is its [`Ground`]. Two parts of that outlive the cells in it: a
//! reference to the inbox of the ring's core, so that an op does not touch the inbox's count either; and a
//! generation that grows with every use. A cell that ends on another thread, or was made on one that has no
//! ring, gives its memory back to where it is from: the allocator, or the pages of its ring if it is of the
//! least size ([`super::slab`]). It is not the arena for variable-length payloads ([`super::arena`]).

use super::cell::ALIGN;
use super::flight::Flight;
use super::holds::Holds;
use super::slab::{self, SLOT, Slab};
use super::{Ring, with_current};
use crate::base::inbox::Inbox;
use crate::base::message::Node;
use crate::base::sync::UnsafeCell;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Sizes above `CLASSES * 64` bytes go to the allocator each time.
const CLASSES: usize = 16;
/// Blocks kept per class and ring: a burst beyond it gives memory back.
const KEPT: usize = 256;
/// The class of slots.
const LEAST: usize = class(SLOT);

const _: () = assert!(SLOT == ALIGN);

/// What a block of 64-byte aligned memory begins with. `home`, `generation` and `paged` outlive the cell and
/// are constant while it is there. The node in front, `holds` and `flight` are the cell's, and cell.rs says
/// who may touch them. The link in front is the list's, while there is no cell.
///
/// Without a gap, and with what is small of the cell, so that a multishot's cell is one cache line.
#[repr(C)]
pub(crate) struct Ground {
    pub(crate) front: Front,
    /// The core that the cell belongs to.
    pub(crate) home: Arc<Inbox>,
    /// The cell's.
    pub(crate) holds: Holds,
    /// Of the cell that is there, or will be.
    pub(crate) generation: u16,
    /// The cell's.
    pub(crate) flight: UnsafeCell<Flight>,
    /// The block is a slot of its home's slab.
    paged: bool,
}

// A node is found by its address, which is the block's.
const _: () = assert!(std::mem::offset_of!(Ground, front) == 0);

/// What the first words of a block are.
#[repr(C)]
pub(crate) union Front {
    /// While a cell is there: its node, which is found by its address and so is in front.
    pub(crate) node: ManuallyDrop<Node>,
    /// In a list: the next block.
    next: Option<NonNull<Ground>>,
}

/// The class of a cell of `size` bytes.
pub(crate) const fn class(size: usize) -> usize {
    assert!(size >= size_of::<Ground>());
    size.div_ceil(ALIGN) - 1
}

fn layout(class: usize) -> Layout {
    Layout::from_size_align((class + 1) * ALIGN, ALIGN).expect("cells are small")
}

/// Memory for a cell of this class from the allocator.
#[cold]
pub(crate) fn fresh(class: usize, home: Arc<Inbox>) -> NonNull<Ground> {
    let layout = layout(class);
    // SAFETY: the layout has a size above zero.
    let block = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
    // SAFETY: fresh memory, aligned, and larger than a ground (`class`).
    unsafe { found(block, home, false) }
}

/// Memory for a cell of this class that was no cell of this ring's before.
#[cold]
pub(crate) fn fresh_at_home(class: usize, ring: &Ring) -> NonNull<Ground> {
    if class != LEAST {
        return fresh(class, ring.inbox());
    }
    let slot = ring.memory.borrow_mut().slab.take();
    // SAFETY: nobody else's memory, with the alignment and the size of this class.
    unsafe { found(slot, ring.inbox(), true) }
}

/// Writes the ground of a new block.
///
/// # Safety
/// The block is nobody else's, aligned, and larger than a ground.
unsafe fn found(block: NonNull<u8>, home: Arc<Inbox>, paged: bool) -> NonNull<Ground> {
    let (front, holds) = (Front { next: None }, Holds::new(0));
    let flight = UnsafeCell::new(Flight::Fresh);
    let block = block.cast();
    // SAFETY: per contract.
    unsafe { block.write(Ground { front, home, holds, generation: 0, flight, paged }) };
    block
}

/// Takes the memory of a cell that is over to the lists of this thread's ring, if that is the cell's home.
///
/// # Safety
/// The block is of this class, from [`fresh`], [`fresh_at_home`] or [`Memory::take`], and nobody uses it any
/// more.
#[inline]
pub(crate) unsafe fn give_back(block: NonNull<Ground>, class: usize) {
    let kept = with_current(|ring| {
        let Some(ring) = ring else { return false };
        // SAFETY: per contract the block is ours.
        let is_home = unsafe { Arc::ptr_eq(&ring.inbox, &block.as_ref().home) };
        // SAFETY: as above.
        is_home && unsafe { ring.memory.borrow_mut().keep(block, class) }
    });
    if !kept {
        // SAFETY: per contract.
        unsafe { free(block, class) };
    }
}

/// Gives a block back to where it is from.
///
/// # Safety
/// As [`give_back`].
#[cold]
unsafe fn free(block: NonNull<Ground>, class: usize) {
    // SAFETY: per contract the block is ours.
    unsafe {
        if !block.as_ref().paged {
            ptr::drop_in_place(&raw mut (*block.as_ptr()).home);
            // All others come from `fresh`, with the layout of their class.
            return dealloc(block.as_ptr().cast(), layout(class));
        }
    }
    let given = with_current(|ring| {
        let Some(ring) = ring else { return false };
        // SAFETY: as above; a slot is of its home's slab.
        unsafe { Arc::ptr_eq(&ring.inbox, &block.as_ref().home) && ring.memory.borrow_mut().put_down(block) }
    });
    if !given {
        // SAFETY: as above.
        unsafe {
            ptr::drop_in_place(&raw mut (*block.as_ptr()).home);
            slab::stray(block.cast());
        }
    }
}

/// Blocks of one class that nobody uses.
#[derive(Default)]
struct List {
    first: Option<NonNull<Ground>>,
    count: usize,
}

impl List {
    #[inline]
    fn pop(&mut self) -> Option<NonNull<Ground>> {
        let block = self.first?;
        // SAFETY: what is in the list is the list's, and `keep` has written the link.
        self.first = unsafe { block.as_ref().front.next };
        self.count -= 1;
        Some(block)
    }
}

/// The free lists of one ring, and what those of the least size are filled from.
#[derive(Default)]
pub(crate) struct Memory {
    lists: [List; CLASSES],
    slab: Slab,
}

impl Memory {
    /// Memory that a cell of this class, of this ring, has used before.
    #[inline]
    pub(crate) fn take(&mut self, class: usize) -> Option<NonNull<Ground>> {
        self.lists.get_mut(class)?.pop()
    }

    /// Keeps a block for the next cell of its class. False if there is no room.
    ///
    /// # Safety
    /// As [`give_back`].
    #[inline]
    unsafe fn keep(&mut self, mut block: NonNull<Ground>, class: usize) -> bool {
        let Some(list) = self.lists.get_mut(class).filter(|list| list.count < KEPT) else { return false };
        // SAFETY: per contract the block is ours.
        let ground = unsafe { block.as_mut() };
        ground.generation = ground.generation.wrapping_add(1);
        ground.front.next = list.first.replace(block);
        list.count += 1;
        true
    }

    /// Gives a block back to the slab. False if it is not from there.
    ///
    /// # Safety
    /// As [`give_back`]; the memory is that of the block's home.
    unsafe fn put_down(&mut self, block: NonNull<Ground>) -> bool {
        // SAFETY: per contract.
        unsafe {
            block.as_ref().paged && {
                ptr::drop_in_place(&raw mut (*block.as_ptr()).home);
                self.slab.give(block.cast());
                true
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for class in 0..CLASSES {
            while let Some(block) = self.lists[class].pop() {
                // SAFETY: the lists are by class, and what is in them is in use by nobody.
                unsafe {
                    if !self.put_down(block) {
                        free(block, class);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{enter, stub};
    use std::rc::Rc;

    #[test]
    fn a_block_comes_back_with_the_next_generation_and_its_inbox_uncounted() {
        let inbox = Arc::new(Inbox::new(Box::new(|| ())));
        let (ring, _kernel) = stub::ring(Arc::clone(&inbox));
        let entered = enter(Rc::clone(&ring));
        let block = fresh(class(100), Arc::clone(&inbox));
        assert_eq!(block.addr().get() % ALIGN, 0);
        let references = Arc::strong_count(&inbox);
        // SAFETY: just taken with this size and unused; 100 and 128 bytes are one class.
        unsafe { give_back(block, class(100)) };
        let again = ring.memory.borrow_mut().take(class(128)).expect("kept");
        // SAFETY: nobody else has it.
        assert_eq!((again, unsafe { again.as_ref() }.generation), (block, 1));
        assert_eq!(Arc::strong_count(&inbox), references);
        // SAFETY: as above.
        unsafe { give_back(again, class(128)) };
        drop((entered, ring));
        assert_eq!(Arc::strong_count(&inbox), 1, "the ring has let go of what it kept");
    }

    struct Sent(NonNull<Ground>);

    // SAFETY: blocks may end anywhere.
    unsafe impl Send for Sent {}

    #[test]
    fn blocks_of_the_least_size_are_slots_of_pages_and_keep_no_inbox_alive_wherever_they_end() {
        let inbox = Arc::new(Inbox::new(Box::new(|| ())));
        let (ring, _kernel) = stub::ring(Arc::clone(&inbox));
        let entered = enter(Rc::clone(&ring));
        let mut blocks: Vec<_> = (0..KEPT + 100).map(|_| fresh_at_home(LEAST, &ring)).collect();
        // SAFETY: nobody else has them.
        assert!(blocks.iter().all(|block| unsafe { block.as_ref() }.paged));
        // One ends elsewhere, one after its ring, and the others here, more than the list keeps.
        let (elsewhere, late) = (Sent(blocks.pop().unwrap()), Sent(blocks.pop().unwrap()));
        // SAFETY: each is unused and given back once.
        let give_back_there = |sent: Sent| unsafe { give_back({ sent }.0, LEAST) };
        std::thread::spawn(move || give_back_there(elsewhere)).join().unwrap();
        for block in blocks {
            // SAFETY: as above.
            unsafe { give_back(block, LEAST) };
        }
        assert_eq!(ring.memory.borrow().lists[LEAST].count, KEPT);
        drop((entered, ring));
        assert_eq!(Arc::strong_count(&inbox), 2, "of the one that is left");
        std::thread::spawn(move || give_back_there(late)).join().unwrap();
        assert_eq!(Arc::strong_count(&inbox), 1);
    }

    #[test]
    fn what_ends_where_its_ring_is_not_keeps_no_inbox_alive() {
        let inbox = Arc::new(Inbox::new(Box::new(|| ())));
        let (elsewhere, _kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
        let _entered = enter(Rc::clone(&elsewhere));
        // SAFETY: just taken with this size and unused.
        unsafe { give_back(fresh(class(64), Arc::clone(&inbox)), class(64)) };
        assert!(elsewhere.memory.borrow_mut().take(class(64)).is_none());
        assert_eq!(Arc::strong_count(&inbox), 1);
    }
}
