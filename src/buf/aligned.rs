//! A buffer aligned for direct I/O.

use super::{IoBuf, IoBufMut};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A heap buffer whose address is a multiple of a chosen alignment, as `O_DIRECT` wants it (`open(2)`).
///
/// Reads append behind `len()`, as with a `Vec<u8>`; the capacity is fixed.
///
/// Worth its while also for large reads through the page cache, at offsets that are multiples of 64: a `Vec`
/// of 128 KiB or more may begin where some CPUs copy ten times slower (kernel-notes/copy-offset.md), and what
/// is aligned to 64 bytes does not.
///
/// ```
/// use ringwork::buf::{AlignedBuf, IoBuf, IoBufMut};
/// let buf = AlignedBuf::new(8192, 4096);
/// assert_eq!(IoBuf::as_ptr(&buf).addr() % 4096, 0);
/// assert_eq!(buf.capacity(), 8192);
/// ```
pub struct AlignedBuf {
    start: NonNull<u8>,
    layout: Layout,
    len: usize,
}

// SAFETY: the buffer owns its memory alone.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared access only reads.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer of `capacity` bytes.
    ///
    /// # Panics
    /// If `capacity` is zero or too large for an address space, or `align` is not a power of two.
    pub fn new(capacity: usize, align: usize) -> Self {
        assert!(capacity > 0, "an aligned buffer has room for at least one byte");
        assert!(align.is_power_of_two(), "the alignment is a power of two, and not {align}");
        let layout = Layout::from_size_align(capacity, align).expect("it fits into an address space");
        // SAFETY: the layout has a size above zero.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, layout, len: 0 }
    }

    /// Says that the first `len` bytes count. The memory was zeroed when it was made.
    ///
    /// # Panics
    /// If `len` is more than the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.layout.size(), "{len} bytes in a buffer of {}", self.layout.size());
        self.len = len;
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

// SAFETY: all of the memory is initialised (zeroed when made) and on the heap.
unsafe impl IoBuf for AlignedBuf {
    fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for AlignedBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn capacity(&self) -> usize {
        self.layout.size()
    }

    fn fill_from(&self) -> usize {
        self.len
    }

    unsafe fn assume_init(&mut self, end: usize) {
        self.len = self.len.max(end);
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the first `len` bytes are initialised and ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len).field("layout", &self.layout).finish()
    }
}
