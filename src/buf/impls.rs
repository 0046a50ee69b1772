//! The traits for the buffers people have: vectors, boxes, arrays, strings, `bytes`.

use super::{IoBuf, IoBufMut};
use bytes::{Bytes, BytesMut};

// SAFETY: a vector's bytes are on the heap and `len` of them are initialised.
unsafe impl IoBuf for Vec<u8> {
    fn as_ptr(&self) -> *const u8 {
        Vec::as_ptr(self)
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }
}

// SAFETY: `capacity` bytes may be written; reads land behind `len`.
unsafe impl IoBufMut for Vec<u8> {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        Vec::as_mut_ptr(self)
    }

    fn capacity(&self) -> usize {
        Vec::capacity(self)
    }

    fn fill_from(&self) -> usize {
        Vec::len(self)
    }

    unsafe fn assume_init(&mut self, end: usize) {
        if end > Vec::len(self) {
            // SAFETY: per contract the bytes are initialised and within the capacity.
            unsafe { self.set_len(end) };
        }
    }
}

// SAFETY: a box's bytes are on the heap, all initialised.
unsafe impl IoBuf for Box<[u8]> {
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

// SAFETY: all bytes are initialised and writable.
unsafe impl IoBufMut for Box<[u8]> {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        <[u8]>::as_mut_ptr(self)
    }

    fn capacity(&self) -> usize {
        <[u8]>::len(self)
    }

    fn fill_from(&self) -> usize {
        0
    }

    unsafe fn assume_init(&mut self, _end: usize) {}
}

// SAFETY: an array is its bytes; it is not moved while an op has it.
unsafe impl<const N: usize> IoBuf for [u8; N] {
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    fn len(&self) -> usize {
        N
    }
}

// SAFETY: all bytes are initialised and writable.
unsafe impl<const N: usize> IoBufMut for [u8; N] {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        <[u8]>::as_mut_ptr(self)
    }

    fn capacity(&self) -> usize {
        N
    }

    fn fill_from(&self) -> usize {
        0
    }

    unsafe fn assume_init(&mut self, _end: usize) {}
}

// SAFETY: a static slice is initialised and never moves.
unsafe impl IoBuf for &'static [u8] {
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

// SAFETY: as for slices.
unsafe impl IoBuf for &'static str {
    fn as_ptr(&self) -> *const u8 {
        str::as_ptr(self)
    }

    fn len(&self) -> usize {
        str::len(self)
    }
}

// SAFETY: a string's bytes are a vector's.
unsafe impl IoBuf for String {
    fn as_ptr(&self) -> *const u8 {
        str::as_ptr(self)
    }

    fn len(&self) -> usize {
        str::len(self)
    }
}

// SAFETY: the bytes live on the heap (or are static), shared and immutable.
unsafe impl IoBuf for Bytes {
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    fn len(&self) -> usize {
        Bytes::len(self)
    }
}

// SAFETY: the bytes live on the heap and `len` of them are initialised.
unsafe impl IoBuf for BytesMut {
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    fn len(&self) -> usize {
        BytesMut::len(self)
    }
}

// SAFETY: `capacity` bytes may be written; reads land behind `len`.
unsafe impl IoBufMut for BytesMut {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        // From the spare room, because a slice's pointer may not be used behind the slice.
        let len = BytesMut::len(self);
        self.spare_capacity_mut().as_mut_ptr().cast::<u8>().wrapping_sub(len)
    }

    fn capacity(&self) -> usize {
        BytesMut::capacity(self)
    }

    fn fill_from(&self) -> usize {
        BytesMut::len(self)
    }

    unsafe fn assume_init(&mut self, end: usize) {
        if end > BytesMut::len(self) {
            // SAFETY: per contract the bytes are initialised and within the capacity.
            unsafe { self.set_len(end) };
        }
    }
}
