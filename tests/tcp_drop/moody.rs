//! A buffer of a program that does not keep its word.

use ringwork::buf::{IoBuf, IoBufMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A buffer that panics when it is asked for anything, once it was told to.
pub(crate) struct Moody {
    bytes: Vec<u8>,
    panics: Arc<AtomicBool>,
    /// Also without having been told, when there are bytes in it.
    at_the_end: bool,
}

impl Moody {
    /// With these bytes, and what tells it.
    pub(crate) fn new(bytes: Vec<u8>) -> (Self, Arc<AtomicBool>) {
        let panics = Arc::new(AtomicBool::new(false));
        (Self { bytes, panics: Arc::clone(&panics), at_the_end: false }, panics)
    }

    /// One that panics when it is told what has been read, and not before.
    pub(crate) fn at_the_end(bytes: Vec<u8>) -> Self {
        Self { bytes, panics: Arc::default(), at_the_end: true }
    }

    fn answers(&self) {
        assert!(!self.panics.load(Ordering::Relaxed), "a buffer that panics, on purpose");
    }
}

// SAFETY: the bytes are on the heap and initialised, and nothing adds to them.
unsafe impl IoBuf for Moody {
    fn as_ptr(&self) -> *const u8 {
        self.answers();
        self.bytes.as_ptr()
    }

    fn len(&self) -> usize {
        self.answers();
        self.bytes.len()
    }
}

// SAFETY: all of them may be written.
unsafe impl IoBufMut for Moody {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.answers();
        self.bytes.as_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.answers();
        self.bytes.len()
    }

    fn fill_from(&self) -> usize {
        self.answers();
        0
    }

    unsafe fn assume_init(&mut self, _end: usize) {
        self.answers();
        assert!(!self.at_the_end, "a buffer that panics, on purpose");
    }
}
