//! Whole pages of anonymous memory, to lend to the kernel. The bytes are only ever copied in and out through
//! the raw address, so a write by the kernel in between is seen, not undefined. It is not a buffer type for
//! users.

use std::io;
use std::ptr::{self, NonNull};

/// A private anonymous mapping. Unmapped on drop: whoever lends it out keeps it until the kernel is done.
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and has no thread affinity.
unsafe impl Send for Pages {}

impl Pages {
    /// Maps `len` bytes of zeroes, rounded up to whole pages by the kernel.
    pub fn new(len: usize) -> io::Result<Pages> {
        let len = len.max(1).next_multiple_of(4096);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Pages { start, len })
    }

    /// Pages that begin with `bytes`.
    pub fn holding(bytes: &[u8]) -> io::Result<Pages> {
        let pages = Pages::new(bytes.len())?;
        // SAFETY: the mapping is at least as long as `bytes`, and the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pages.start.as_ptr(), bytes.len()) };
        Ok(pages)
    }

    /// The address of the first byte.
    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The length in bytes, a multiple of 4096.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true: there is at least one page.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets every byte.
    pub fn fill(&self, byte: u8) {
        // SAFETY: the range is the whole mapping, which this value owns.
        unsafe { ptr::write_bytes(self.start.as_ptr(), byte, self.len) };
    }

    /// Reads one byte as it is now.
    pub fn peek(&self, at: usize) -> u8 {
        assert!(at < self.len, "peek past the end");
        // SAFETY: the address lies inside the mapping; volatile, because the kernel may write it at any time.
        unsafe { self.start.as_ptr().add(at).read_volatile() }
    }

    /// Writes one byte.
    pub fn poke(&self, at: usize, byte: u8) {
        assert!(at < self.len, "poke past the end");
        // SAFETY: the address lies inside the mapping, which this value owns.
        unsafe { self.start.as_ptr().add(at).write_volatile(byte) }
    }

    /// A copy of the bytes `from..from + len`.
    pub fn copy_out(&self, from: usize, len: usize) -> Vec<u8> {
        (from..from + len).map(|at| self.peek(at)).collect()
    }

    /// Gives the kernel advice about the whole mapping.
    pub fn advise(&self, advice: i32) -> io::Result<()> {
        // SAFETY: the range is the whole mapping; the advice used here changes what a child sees of it, and
        // dropping its content needs no reference to be live: `Pages` hands none out.
        match unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, belongs to this value, and is not used after this line.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
