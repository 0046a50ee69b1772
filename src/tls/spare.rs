//! Spare buffers for records, kept per thread.
//!
//! Owns the room's one thread-local: short lists of vectors, some large enough for one record, others for
//! short messages. A message is encrypted into one of them and the same vector is sent; a record that lies in
//! two receive buffers is put together in one. So messages of up to one record cost no allocation here, and
//! an idle connection holds no buffer. A vector that was filled on one core and comes free on another stays
//! there.
//!
//! Short messages have vectors of their own, because a busy core has one under way for each of many
//! connections between two turns: large ones would be more than are worth keeping, and each touch another
//! page.
#![forbid(unsafe_code)]

use std::cell::RefCell;

/// What a spare buffer holds: a record of 16 KiB with header, nonce, tag and some padding.
pub(super) const SIZE: usize = 16 * 1024 + 512;
/// Spare buffers of a thread: about half a MiB.
const MOST: usize = 32;
/// What a small one holds.
const SMALL: usize = 1024;
/// Room in a small one for what encryption adds.
const MARGIN: usize = 64;
/// Small ones of a thread: 256 KiB, as many as there are sends between two turns of a busy core.
const MOST_SMALL: usize = 256;

/// The lists of a thread.
struct Spare {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { small: Vec::new(), large: Vec::new() }) };
}

/// A vector with room for [`SIZE`] bytes, or for a message of `len` bytes if that is less. It may hold bytes
/// of its use before: what is filled by position need not be zeroed again.
pub(super) fn take(len: usize) -> Vec<u8> {
    let is_small = len <= SMALL - MARGIN;
    let pop = |spare: &RefCell<Spare>| {
        let mut spare = spare.borrow_mut();
        if is_small { spare.small.pop() } else { spare.large.pop() }
    };
    let spare = SPARE.try_with(pop).ok().flatten();
    spare.unwrap_or_else(|| Vec::with_capacity(if is_small { SMALL } else { SIZE }))
}

/// Keeps a vector for later, if it is of a size that is kept and there are not enough yet.
pub(super) fn put(buf: Vec<u8>) {
    let is_small = match buf.capacity() {
        SMALL..SIZE if buf.capacity() <= 2 * SMALL => true,
        SIZE.. if buf.capacity() <= 2 * SIZE => false,
        _ => return,
    };
    // A thread that is ending has no list any more: the vector is freed.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        let (list, most) = if is_small { (&mut spare.small, MOST_SMALL) } else { (&mut spare.large, MOST) };
        if list.len() < most {
            list.push(buf);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_odd_sizes_are_not_kept() {
        for (len, size) in [(SIZE, SIZE), (100, SMALL)] {
            let mut buf = take(len);
            buf.push(1);
            let address = buf.as_ptr();
            put(buf);
            put(Vec::with_capacity(16));
            put(Vec::with_capacity(4 * SMALL));
            put(Vec::with_capacity(8 * SIZE));
            let again = take(len);
            assert_eq!((again.as_ptr(), again.len(), again.capacity()), (address, 1, size));
        }
    }
}
