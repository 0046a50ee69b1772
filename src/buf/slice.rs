//! A part of an owned buffer.

use super::{IoBuf, IoBufMut};
use std::ops::Deref;

/// A part of a buffer that owns the whole.
///
/// Made by [`IoBuf::slice`] (to send a part) or [`IoBufMut::slice_mut`] (to read into a part).
#[derive(Debug, PartialEq, Eq)]
pub struct Slice<B> {
    buf: B,
    begin: usize,
    end: usize,
}

impl<B> Slice<B> {
    pub(super) fn new(buf: B, begin: usize, end: usize) -> Self {
        Self { buf, begin, end }
    }

    /// Where the part starts in the whole.
    pub fn begin(&self) -> usize {
        self.begin
    }

    /// Where the part ends in the whole.
    pub fn end(&self) -> usize {
        self.end
    }

    /// The whole buffer.
    pub fn get_ref(&self) -> &B {
        &self.buf
    }

    /// Gives the whole buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }
}

// SAFETY: the part lies within the buffer: `begin <= len` was checked when it was made and a buffer's
// initialised part never shrinks while it is owned here; `len` is cut to what is initialised.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn as_ptr(&self) -> *const u8 {
        // SAFETY: `begin` is within the buffer.
        unsafe { self.buf.as_ptr().add(self.begin) }
    }

    fn len(&self) -> usize {
        self.buf.len().min(self.end).saturating_sub(self.begin)
    }
}

// SAFETY: as above; `end <= capacity` was checked when the part was made.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `begin` is within the buffer.
        unsafe { self.buf.as_mut_ptr().add(self.begin) }
    }

    fn capacity(&self) -> usize {
        self.buf.capacity().min(self.end).saturating_sub(self.begin)
    }

    fn fill_from(&self) -> usize {
        0
    }

    unsafe fn assume_init(&mut self, end: usize) {
        // SAFETY: bytes before `begin` are initialised (checked when made), those up to `begin + end` per
        // contract.
        unsafe { self.buf.assume_init(self.begin + end) };
    }
}

impl<B: IoBuf> Deref for Slice<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}
