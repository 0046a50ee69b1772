//! Memory for cells, recycled by each ring.
//!
//! Owns free lists by size class (multiples of 64 bytes), so that an op in steady state costs no call of the
//! allocator. With each block a list keeps a reference to the inbox of the ring's core, which the next cell
//! gets, so that an op does not touch the inbox's count either; and a generation that grows with every use. A
//! cell that ends on another thread, or was made on one that has no ring, gives its memory to the allocator.
//! It is not the arena for variable-length payloads ([`super::arena`]).

use super::cell::ALIGN;
use super::with_current;
use crate::base::inbox::Inbox;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

/// Sizes above `CLASSES * 64` bytes go to the allocator each time.
const CLASSES: usize = 16;
/// Blocks kept per class and ring: a burst beyond it gives memory back.
const KEPT: usize = 256;

/// What a cell is made from: a block of 64-byte aligned memory, the generation of its user, and a reference
/// to the inbox of the core that the cell belongs to.
///
/// Without a destructor: what is not given back leaks.
#[must_use = "what is not given back leaks"]
pub(crate) struct Ground {
    pub(crate) block: NonNull<u8>,
    pub(crate) generation: u16,
    pub(crate) home: Arc<Inbox>,
}

/// The class of a cell of `size` bytes.
pub(crate) const fn class(size: usize) -> usize {
    size.div_ceil(ALIGN) - 1
}

fn layout(class: usize) -> Layout {
    Layout::from_size_align((class + 1) * ALIGN, ALIGN).expect("cells are small")
}

impl Ground {
    /// Memory for a cell of this class from the allocator.
    #[cold]
    pub(crate) fn fresh(class: usize, home: Arc<Inbox>) -> Self {
        let layout = layout(class);
        // SAFETY: the layout has a size above zero.
        let block = unsafe { alloc(layout) };
        let block = NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout));
        Self { block, generation: 0, home }
    }

    /// Takes the memory of a cell that is over to the lists of this thread's ring, if that is the cell's
    /// home.
    ///
    /// # Safety
    /// The block is of this class, and nobody uses it any more.
    #[inline]
    pub(crate) unsafe fn give_back(self, class: usize) {
        let left = with_current(|ring| match ring {
            Some(ring) if Arc::ptr_eq(&ring.inbox, &self.home) => ring.memory.borrow_mut().keep(self, class),
            _ => Some(self),
        });
        if let Some(ground) = left {
            // SAFETY: per contract.
            unsafe { ground.free(class) };
        }
    }

    /// # Safety
    /// The block is of this class and in use by nobody.
    #[cold]
    unsafe fn free(self, class: usize) {
        // SAFETY: per contract; all blocks come from `fresh`, with the layout of their class.
        unsafe { dealloc(self.block.as_ptr(), layout(class)) };
    }
}

/// The free lists of one ring.
#[derive(Default)]
pub(crate) struct Memory([Vec<Ground>; CLASSES]);

impl Memory {
    /// Memory that a cell of this class, of this ring, has used before.
    #[inline]
    pub(crate) fn take(&mut self, class: usize) -> Option<Ground> {
        self.0.get_mut(class)?.pop()
    }

    /// Keeps a block for the next cell of its class, if there is room.
    #[inline]
    fn keep(&mut self, mut ground: Ground, class: usize) -> Option<Ground> {
        match self.0.get_mut(class) {
            Some(list) if list.len() < KEPT => {
                ground.generation = ground.generation.wrapping_add(1);
                list.push(ground);
                None
            }
            _ => Some(ground),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for (class, list) in self.0.iter_mut().enumerate() {
            for ground in list.drain(..) {
                // SAFETY: the lists are by class, and what is in them is in use by nobody.
                unsafe { ground.free(class) };
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
        let ground = Ground::fresh(class(100), Arc::clone(&inbox));
        let (block, generation) = (ground.block, ground.generation);
        assert_eq!(block.addr().get() % ALIGN, 0);
        let references = Arc::strong_count(&inbox);
        // SAFETY: just taken with this size and unused; 100 and 128 bytes are one class.
        unsafe { ground.give_back(class(100)) };
        let again = ring.memory.borrow_mut().take(class(128)).expect("kept");
        assert_eq!((again.block, again.generation), (block, generation + 1));
        assert_eq!(Arc::strong_count(&inbox), references);
        // SAFETY: as above.
        unsafe { again.give_back(class(128)) };
        drop((entered, ring));
        assert_eq!(Arc::strong_count(&inbox), 1, "the ring has let go of what it kept");
    }

    #[test]
    fn what_ends_where_its_ring_is_not_keeps_no_inbox_alive() {
        let inbox = Arc::new(Inbox::new(Box::new(|| ())));
        let (elsewhere, _kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
        let _entered = enter(Rc::clone(&elsewhere));
        // SAFETY: just taken with this size and unused.
        unsafe { Ground::fresh(class(64), Arc::clone(&inbox)).give_back(class(64)) };
        assert!(elsewhere.memory.borrow_mut().take(class(64)).is_none());
        assert_eq!(Arc::strong_count(&inbox), 1);
    }
}
