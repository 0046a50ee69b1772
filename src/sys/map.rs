//! Anonymous memory that a forked child does not get.
//!
//! Owns page-aligned, zeroed, `MADV_DONTFORK` regions for buffer rings and the buffers behind them. A region
//! that the kernel may still write to is leaked by its owner, never unmapped (kernel-notes/ring-close.md). A
//! child unmaps none: where the region was, it may have memory of its own by now.

use super::fork;
use std::io;
use std::ptr::NonNull;

/// A private anonymous mapping.
#[derive(Debug)]
pub(crate) struct Map {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the region is plain memory; who may touch which part of it is its owner's protocol.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// At least `len` zeroed bytes, touched lazily.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        assert!(len > 0, "an empty mapping is a mistake of the caller");
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the region was mapped just above; DONTFORK only changes what a child inherits.
        unsafe { libc::madvise(start, len, libc::MADV_DONTFORK) };
        let start = NonNull::new(start.cast::<u8>()).expect("mmap does not map page zero");
        Ok(Self { start, len })
    }

    /// Where it starts.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How long it is.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        // SAFETY: the region is ours and its owner drops it only when nobody uses it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
