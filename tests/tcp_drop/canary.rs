//! A buffer that shows whether anybody wrote to it after it was dropped.
//!
//! The memory of a dropped [`Canary`] is not given back: it is painted and buried, and [`graves_are_quiet`]
//! looks whether the paint is whole. A sanitizer can not see what the kernel writes; this can.

use ringwork::buf::{IoBuf, IoBufMut};
use std::sync::{Mutex, PoisonError};

const PAINT: u8 = 0xee;

static GRAVES: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// An owned buffer with `len` bytes in it and room for the rest.
#[derive(Debug)]
pub(crate) struct Canary {
    memory: Box<[u8]>,
    len: usize,
}

impl Canary {
    /// Room for `capacity` bytes.
    pub(crate) fn empty(capacity: usize) -> Self {
        Self { memory: vec![0; capacity].into(), len: 0 }
    }

    /// A buffer full of `bytes`.
    pub(crate) fn full(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len(), memory: bytes.into() }
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        memory.fill(PAINT);
        GRAVES.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

/// Fails if a buried buffer was written to. Digs all graves up.
pub(crate) fn graves_are_quiet() {
    let graves = std::mem::take(&mut *GRAVES.lock().unwrap_or_else(PoisonError::into_inner));
    for (index, grave) in graves.iter().enumerate() {
        // Read as volatile: the compiler is not to assume what the kernel may have done.
        let at = (0..grave.len()).find(|&at| {
            // SAFETY: `at` is within the grave.
            unsafe { std::ptr::read_volatile(&raw const grave[at]) != PAINT }
        });
        assert!(at.is_none(), "grave {index} of {} was written to at byte {at:?}", graves.len());
    }
}

// SAFETY: the bytes are on the heap, all initialised (zeroed when made).
unsafe impl IoBuf for Canary {
    fn as_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: all of the memory may be written; reads land behind `len`.
unsafe impl IoBufMut for Canary {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.as_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.memory.len()
    }

    fn fill_from(&self) -> usize {
        self.len
    }

    unsafe fn assume_init(&mut self, end: usize) {
        self.len = self.len.max(end);
    }
}
