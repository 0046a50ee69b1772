//! A block of memory that begins on a page, owned, as the runtimes with owned buffers take it.

use std::alloc::{Layout, dealloc};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use crate::raw;

const ALIGN: usize = 4096;

/// Zeroed when made, of one length for ever.
pub(crate) struct Page {
    start: *mut u8,
    length: usize,
}

// SAFETY: it owns its memory alone.
unsafe impl Send for Page {}

impl Page {
    /// Whole pages.
    pub(super) fn new(length: usize) -> Page {
        assert!(length > 0 && length.is_multiple_of(ALIGN), "whole pages");
        Page { start: raw::leak(length, ALIGN), length }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let layout = Layout::from_size_align(self.length, ALIGN).expect("it was allocated so");
        // SAFETY: `raw::leak` has allocated it with this layout, for the length is a multiple of the
        // alignment.
        unsafe { dealloc(self.start, layout) };
    }
}

impl Deref for Page {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length` bytes, initialised, ours alone.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl DerefMut for Page {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

// SAFETY: the memory is on the heap and does not move with the value.
unsafe impl monoio::buf::IoBuf for Page {
    fn read_ptr(&self) -> *const u8 {
        self.start
    }

    fn bytes_init(&self) -> usize {
        self.length
    }
}

// SAFETY: as above; all of it is initialised at any time.
unsafe impl monoio::buf::IoBufMut for Page {
    fn write_ptr(&mut self) -> *mut u8 {
        self.start
    }

    fn bytes_total(&mut self) -> usize {
        self.length
    }

    unsafe fn set_init(&mut self, _position: usize) {}
}

impl compio::buf::IoBuf for Page {
    fn as_init(&self) -> &[u8] {
        self
    }
}

impl compio::buf::SetLen for Page {
    unsafe fn set_len(&mut self, _length: usize) {}
}

impl compio::buf::IoBufMut for Page {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: `length` bytes, ours alone; whoever writes to them leaves them initialised.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.length) }
    }
}
