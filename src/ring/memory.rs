//! Memory for cells, recycled per thread.
//!
//! Owns free lists by size class (multiples of 64 bytes), so that an op in steady state costs no call of the
//! allocator. A cell that is freed on another thread than it was made on stays with that thread's list. Each
//! block keeps a generation that grows with every use. It is not the arena for variable-length payloads
//! ([`super::arena`]).

use super::cell::ALIGN;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;

/// Sizes above `CLASSES * 64` bytes go to the allocator each time.
const CLASSES: usize = 16;
/// Blocks kept per class and thread: a burst beyond it gives memory back.
const KEPT: usize = 256;

/// A recycled block and the generation its next user gets.
struct Spare(NonNull<u8>, u16);

struct Lists([Vec<Spare>; CLASSES]);

impl Drop for Lists {
    fn drop(&mut self) {
        for (class, list) in self.0.iter_mut().enumerate() {
            for Spare(block, _) in list.drain(..) {
                // SAFETY: the block came from `fresh` with this class's layout and is in use by nobody.
                unsafe { dealloc(block.as_ptr(), layout(class)) };
            }
        }
    }
}

thread_local! {
    static LISTS: RefCell<Lists> = const { RefCell::new(Lists([const { Vec::new() }; CLASSES])) };
}

const fn class(size: usize) -> usize {
    size.div_ceil(ALIGN) - 1
}

fn layout(class: usize) -> Layout {
    Layout::from_size_align((class + 1) * ALIGN, ALIGN).expect("cells are small")
}

fn fresh(class: usize) -> NonNull<u8> {
    let layout = layout(class);
    // SAFETY: the layout has a size above zero.
    let block = unsafe { alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
}

/// A block of at least `size` bytes, 64-byte aligned, and its generation.
#[inline]
pub(crate) fn take(size: usize) -> (NonNull<u8>, u16) {
    let class = class(size);
    let spare = LISTS.try_with(|lists| lists.borrow_mut().0.get_mut(class).and_then(Vec::pop)).ok().flatten();
    match spare {
        Some(Spare(block, generation)) => (block, generation),
        None => (fresh(class), 0),
    }
}

/// Takes a block back.
///
/// # Safety
/// `block` came from [`take`] with the same `size` and nobody uses it any more.
#[inline]
pub(crate) unsafe fn give_back(block: NonNull<u8>, size: usize, generation: u16) {
    let class = class(size);
    let kept = LISTS.try_with(|lists| {
        let mut lists = lists.borrow_mut();
        match lists.0.get_mut(class) {
            Some(list) if list.len() < KEPT => {
                list.push(Spare(block, generation.wrapping_add(1)));
                true
            }
            _ => false,
        }
    });
    if !kept.unwrap_or(false) {
        // SAFETY: per contract the block is unused and has this layout.
        unsafe { dealloc(block.as_ptr(), layout(class)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_with_the_next_generation() {
        let (block, generation) = take(100);
        assert_eq!(block.addr().get() % ALIGN, 0);
        // SAFETY: just taken with this size and unused.
        unsafe { give_back(block, 100, generation) };
        let (again, next) = take(128);
        assert_eq!((again, next), (block, generation.wrapping_add(1)));
        // SAFETY: as above (100 and 128 bytes are one class).
        unsafe { give_back(again, 128, next) };
    }
}
