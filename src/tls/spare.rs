//! Spare buffers for records, kept per thread.
//!
//! Owns the room's one thread-local: a short list of vectors large enough for one record. A message is
//! encrypted into one of them and the same vector is sent; a record that lies in two receive buffers is
//! put together in one. So messages of up to one record cost no allocation here, and an idle connection
//! holds no buffer. A vector that was filled on one core and comes free on another stays there.
#![forbid(unsafe_code)]

use std::cell::RefCell;

/// What a spare buffer holds: a record of 16 KiB with header, nonce, tag and some padding.
pub(super) const SIZE: usize = 16 * 1024 + 512;
/// Spare buffers of a thread: about half a MiB, as many as there are sends between two turns of a busy
/// core.
const MOST: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A vector with room for [`SIZE`] bytes. It may hold bytes of its use before: what is filled by position
/// need not be zeroed again.
pub(super) fn take() -> Vec<u8> {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    spare.unwrap_or_else(|| Vec::with_capacity(SIZE))
}

/// Keeps a vector for later, if it is of the size that is kept and there are not enough yet.
pub(super) fn put(buf: Vec<u8>) {
    if buf.capacity() < SIZE || buf.capacity() > 2 * SIZE {
        return;
    }
    // A thread that is ending has no list any more: the vector is freed.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST {
            spare.push(buf);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_odd_sizes_are_not_kept() {
        let mut buf = take();
        buf.push(1);
        let address = buf.as_ptr();
        put(buf);
        put(Vec::with_capacity(16));
        put(Vec::with_capacity(8 * SIZE));
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (address, 1));
    }
}
