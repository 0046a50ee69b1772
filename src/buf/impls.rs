//! The traits for the buffers people have: vectors, boxes, arrays, strings, `bytes`.

use super::{IoBuf, IoBufMut};
use bytes::{Bytes, BytesMut};
use std::ptr;

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

// SAFETY: as for slices. It is what a literal such as `b"ping"` is.
unsafe impl<const N: usize> IoBuf for &'static [u8; N] {
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(*self)
    }

    fn len(&self) -> usize {
        N
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
        // A slice's pointer may be used within the slice only, and `BytesMut` lends its bytes as two: what is
        // initialised and the spare room behind. Both are exposed, so that the pointer may be used in both.
        let begin = <[u8]>::as_mut_ptr(self).expose_provenance();
        let _ = self.spare_capacity_mut().as_mut_ptr().expose_provenance();
        ptr::with_exposed_provenance_mut(begin)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// With Miri, that all of it may be written through one pointer.
    #[test]
    fn bytes_are_written_from_the_first_to_the_last_there_is_room_for() {
        for old in [&b""[..], b"old", b"12345678"] {
            let mut bytes = BytesMut::with_capacity(8);
            bytes.extend_from_slice(old);
            let room = IoBufMut::capacity(&bytes);
            let begin = IoBufMut::as_mut_ptr(&mut bytes);
            // SAFETY: within the capacity, of which all is initialised then.
            unsafe {
                begin.write_bytes(b'n', room);
                bytes.assume_init(room);
            }
            assert_eq!(&bytes[..], vec![b'n'; room]);
        }
    }
}
