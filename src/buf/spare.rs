//! Byte vectors for copies on their way out, recycled per thread.
//!
//! Owns one free list per thread, so that a write that copies costs no call of the allocator in steady state
//! and a stream that writes nothing holds no buffer. A vector that comes back on another thread than it was
//! taken on stays there. It is not for buffers that the kernel fills (`pooled`).
#![forbid(unsafe_code)]

use std::cell::RefCell;

/// Vectors kept per thread: a burst beyond it gives memory back.
const KEPT: usize = 64;
/// Bytes of the largest vector kept: what growing by doubling makes of the 64 KiB that one send takes at
/// most (`net::poll_write`). So a thread keeps 8 MiB at most.
const LARGEST: usize = 128 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty vector, with memory if there is one to reuse.
pub(crate) fn take() -> Vec<u8> {
    // The thread may be going down, with its thread-locals gone.
    SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Takes a vector back.
pub(crate) fn give_back(mut bytes: Vec<u8>) {
    if bytes.capacity() == 0 || bytes.capacity() > LARGEST {
        return;
    }
    bytes.clear();
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < KEPT {
            spare.push(bytes);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_empty_and_no_more_is_kept_than_said() {
        let mut bytes = take();
        bytes.extend([7; 100]);
        let place = bytes.as_ptr();
        give_back(bytes);
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        drop(again);
        give_back(Vec::with_capacity(2 * LARGEST));
        assert_eq!(take().capacity(), 0, "too large to be kept");
        (0..2 * KEPT).for_each(|_| give_back(vec![1]));
        assert_eq!((0..2 * KEPT).filter(|_| take().capacity() > 0).count(), KEPT);
    }
}
