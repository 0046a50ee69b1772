//! The memory of receive buffers that come from the heap and not from a pool.
//!
//! Owns [`Block`], and one free list per thread of those that receives in bulk take where the pool has none:
//! they come and go with every 64 KiB, and an allocator that gives such memory back to the kernel in between
//! has it filled with zeros anew. A block that is dropped on another thread than it was taken on stays there.

use super::pooled::Head;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;

/// Bytes of the buffers that are kept.
pub(crate) const KEPT_SIZE: u32 = 64 * 1024;
/// How many of them a thread keeps: 2 MiB.
const KEPT: usize = 32;

thread_local! {
    static BLOCKS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// A heap buffer that nobody has: a head, and behind it the bytes.
pub(super) struct Block(NonNull<Head>);

impl Block {
    /// One with room for `capacity` bytes.
    pub(super) fn with(capacity: u32) -> Self {
        // The thread may be going down, with its thread-locals gone.
        let kept = || BLOCKS.try_with(|blocks| blocks.borrow_mut().pop()).ok().flatten();
        let kept = if capacity == KEPT_SIZE { kept() } else { None };
        kept.unwrap_or_else(|| Self::new(capacity))
    }

    fn new(capacity: u32) -> Self {
        let (layout, bytes) = Self::layout(capacity);
        // SAFETY: a head is part of it, so its size is not 0.
        let Some(block) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        let head = block.cast::<Head>();
        // SAFETY: the block has room for a head and `capacity` bytes behind it.
        unsafe { head.write(Head::of_heap(block.add(bytes), capacity)) };
        Self(head)
    }

    /// Of a block, and where in it the bytes begin.
    fn layout(capacity: u32) -> (Layout, usize) {
        let bytes = Layout::array::<u8>(capacity as usize).expect("below 4 GiB");
        Layout::new::<Head>().extend(bytes).expect("below 4 GiB and a head")
    }

    /// The head of an empty buffer, which is the caller's from now on.
    pub(super) fn into_head(self) -> NonNull<Head> {
        let head = self.0;
        std::mem::forget(self);
        // SAFETY: the block was ours alone.
        unsafe { (*head.as_ptr()).empty() };
        head
    }

    /// The block of a buffer that nobody has any more.
    ///
    /// # Safety
    /// `head` came from [`Block::into_head`], has no pool, and nobody uses it again.
    pub(super) unsafe fn from_head(head: NonNull<Head>) -> Self {
        Self(head)
    }

    /// Bytes that it has room for.
    fn capacity(&self) -> u32 {
        // SAFETY: the block is ours alone.
        unsafe { self.0.as_ref() }.capacity()
    }

    /// Keeps it for another receive, if it is of that size and there is room.
    pub(super) fn give_back(self) {
        if self.capacity() != KEPT_SIZE {
            return;
        }
        let _ = BLOCKS.try_with(|blocks| {
            let mut blocks = blocks.borrow_mut();
            if blocks.len() < KEPT {
                blocks.push(self);
            }
        });
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let (layout, _) = Self::layout(self.capacity());
        // SAFETY: `new` allocated it so, the block is ours alone, and nothing in it needs to be dropped.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::{IoBufMut, PooledBuf};

    #[test]
    fn buffers_of_receives_in_bulk_are_used_again_and_empty_and_others_are_not_kept() {
        let mut first = PooledBuf::copied(&[7; KEPT_SIZE as usize]);
        first.advance(10);
        let place = first.as_mut_ptr().addr() - 10;
        drop(first);
        drop(PooledBuf::heap(100));
        let mut again = PooledBuf::heap(KEPT_SIZE as usize);
        assert_eq!(
            (again.as_mut_ptr().addr(), again.len(), again.capacity()),
            (place, 0, KEPT_SIZE as usize)
        );
    }

    #[test]
    fn a_thread_keeps_no_more_than_said() {
        let many: Vec<PooledBuf> = (0..2 * KEPT).map(|_| PooledBuf::heap(KEPT_SIZE as usize)).collect();
        drop(many);
        assert_eq!(BLOCKS.with_borrow(Vec::len), KEPT);
    }
}
