//! Byte vectors for bytes on their way out, recycled per thread.
//!
//! Owns one free list per thread, so that a write that copies costs no call of the allocator in steady state
//! and a stream that writes nothing holds no buffer; and [`SpareBuf`], by which users have the same. A vector
//! that comes back on another thread than it was taken on stays there. It is not for buffers that the kernel
//! picks (`pooled`).

use super::{IoBuf, IoBufMut};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Vectors kept per thread: a burst beyond it gives memory back.
const KEPT: usize = 64;
/// Bytes of the largest vector kept: what growing by doubling makes of the 64 KiB that one send takes at
/// most (`net::poll_write`), and what a read of a file on its way to a socket takes (`net::file`): as much,
/// and a page to align it. So a thread keeps little more than 8 MiB.
const LARGEST: usize = (128 + 4) * 1024;

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

/// A byte vector that gives its memory back to the thread it is dropped on, for the next one.
///
/// For messages that are made and [sent off](crate::net::TcpStream::send_off), where no buffer comes back: in
/// steady state they cost no call of the allocator. A thread keeps at most 64 vectors, of at most 132 KiB.
///
/// ```
/// use ringwork::buf::SpareBuf;
/// use ringwork::net::TcpStream;
/// use std::io::Write;
///
/// async fn greet(stream: &TcpStream, name: &str) -> std::io::Result<()> {
///     let mut message = SpareBuf::new();
///     writeln!(message, "Hello, {name}.")?;
///     stream.send_off(message).await
/// }
/// ```
#[derive(Debug)]
pub struct SpareBuf(Vec<u8>);

impl SpareBuf {
    /// An empty one, with memory if the thread has some to spare.
    #[expect(clippy::new_without_default, reason = "a default is a value, and this is a resource")]
    pub fn new() -> Self {
        Self(take())
    }

    /// The vector, which is not given back then, unless it is made a `SpareBuf` again.
    pub fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl From<Vec<u8>> for SpareBuf {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for SpareBuf {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for SpareBuf {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for SpareBuf {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.0));
    }
}

// SAFETY: a vector's bytes are on the heap, and `len` of them are initialised.
unsafe impl IoBuf for SpareBuf {
    fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: the implementation of the vector in it.
unsafe impl IoBufMut for SpareBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }

    fn fill_from(&self) -> usize {
        self.0.len()
    }

    unsafe fn assume_init(&mut self, end: usize) {
        // SAFETY: the caller's promise is about these bytes.
        unsafe { IoBufMut::assume_init(&mut self.0, end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_from_one_spare_buffer_to_the_next() {
        let mut first = SpareBuf::new();
        first.extend([7; 100]);
        let place = Vec::as_ptr(&first);
        drop(first);
        let mut second = SpareBuf::new();
        assert_eq!((Vec::as_ptr(&second), second.len()), (place, 0));
        second.extend([8; 50]);
        assert_eq!(second.into_vec(), [8; 50]);
        assert_eq!(SpareBuf::new().capacity(), 0, "it was taken out");
    }

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
