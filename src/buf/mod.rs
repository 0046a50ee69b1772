//! L2: owned buffers in, owned buffers out.
//!
//! Owns the two traits by which an op takes a buffer, their implementations for the usual types, and
//! [`PooledBuf`], the buffer that the kernel picked. A buffer moves into the op's cell and comes back with
//! the result; the kernel never holds a borrowed slice. It does not know rings: `pooled::Origin` is how a
//! pool's buffer gets home.
//!
//! Reads append: into a `Vec<u8>` they land behind `len()`, up to `capacity()`, and `len()` grows. Buffers of
//! fixed length (`Box<[u8]>`, arrays, slices of a buffer) are filled from their start. So `vec![0; n]` has no
//! room, and a read into it is refused: "0 bytes" would look like the end (`without_room`).

mod aligned;
pub(crate) mod heap;
mod impls;
pub(crate) mod pooled;
mod returns;
mod slice;
pub(crate) mod spare;

pub use aligned::AlignedBuf;
pub use pooled::PooledBuf;
pub use slice::Slice;
pub use spare::SpareBuf;

use std::io;
use std::ops::{Bound, RangeBounds};

/// A buffer the kernel may read from.
///
/// # Safety
/// - `as_ptr` points at `len()` initialised bytes.
/// - That stays true, and each method gives the same answer, while the value is neither touched through
///   `&mut` nor moved; if the bytes are not inside the value itself, also when it is moved. A move changes no
///   length in any case.
#[diagnostic::on_unimplemented(
    note = "buffers are handed over and come back with the result: pass a `Vec` or an array by value",
    note = "borrowed slices work through tokio's and futures' traits: features `tokio-io`, `futures-io`"
)]
pub unsafe trait IoBuf: Send + Sized + 'static {
    /// Where the bytes start.
    fn as_ptr(&self) -> *const u8;

    /// How many bytes are initialised.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reserved for the index under which this buffer is registered with every ring. Nothing asks for it yet.
    fn registered_index(&self) -> Option<u16> {
        None
    }

    /// The initialised bytes.
    fn as_slice(&self) -> &[u8] {
        // SAFETY: the trait's contract.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// A part of the buffer, itself a buffer. The whole comes back from [`Slice::into_inner`].
    ///
    /// # Panics
    /// If the range ends behind `len()` or starts behind its end.
    ///
    /// ```
    /// use ringwork::buf::IoBuf;
    /// let part = vec![1u8, 2, 3, 4].slice(1..3);
    /// assert_eq!(&part[..], &[2, 3]);
    /// assert_eq!(part.into_inner(), [1, 2, 3, 4]);
    /// ```
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self> {
        let (begin, end) = resolve(range, self.len());
        assert!(end <= self.len(), "slice {begin}..{end} of a buffer of {} bytes", self.len());
        Slice::new(self, begin, end)
    }
}

/// A buffer the kernel may write to.
///
/// # Safety
/// - `as_mut_ptr` points at `capacity()` writable bytes, the same as `as_ptr`, of which the first `len()` are
///   initialised, and `fill_from() <= len() <= capacity()`.
/// - Stability as for [`IoBuf`]; a move changes neither `capacity()` nor `fill_from()`. `as_mut_ptr` changes
///   no answer, `assume_init` makes `len()` no smaller.
#[diagnostic::on_unimplemented(
    note = "buffers are handed over and come back with the result: pass `Vec::with_capacity(n)` or an array",
    note = "borrowed slices work through tokio's and futures' traits: features `tokio-io`, `futures-io`"
)]
pub unsafe trait IoBufMut: IoBuf {
    /// Where the writable bytes start.
    fn as_mut_ptr(&mut self) -> *mut u8;

    /// How many bytes may be written, those before `fill_from()` included.
    fn capacity(&self) -> usize;

    /// Where the next read lands.
    fn fill_from(&self) -> usize;

    /// Says that the first `end` bytes are initialised. Never makes the buffer shorter.
    ///
    /// # Safety
    /// They are, and `end <= capacity()`.
    unsafe fn assume_init(&mut self, end: usize);

    /// A part of the buffer to read into, up to `capacity()`.
    ///
    /// # Panics
    /// If the range starts behind `len()` or ends behind `capacity()`.
    ///
    /// ```
    /// use ringwork::buf::{IoBuf, IoBufMut};
    /// let room = Vec::with_capacity(16).slice_mut(0..8);
    /// assert_eq!(room.capacity(), 8);
    /// ```
    fn slice_mut(self, range: impl RangeBounds<usize>) -> Slice<Self> {
        let (begin, end) = resolve(range, self.capacity());
        assert!(begin <= self.len(), "a slice to read into starts within the initialised bytes");
        assert!(end <= self.capacity(), "slice {begin}..{end} of a capacity of {}", self.capacity());
        Slice::new(self, begin, end)
    }
}

/// How many bytes a read into `buf` may bring.
pub(crate) fn room<B: IoBufMut>(buf: &B) -> usize {
    buf.capacity() - buf.fill_from()
}

/// The answer of a read into `buf`, if there is nothing to ask anybody for: nothing was wanted, or the buffer
/// is full.
#[inline]
pub(crate) fn without_room<B: IoBufMut>(buf: &B) -> Option<io::Result<usize>> {
    if room(buf) > 0 {
        return None;
    }
    Some(if buf.fill_from() == 0 { Ok(0) } else { Err(full()) })
}

#[cold]
fn full() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the buffer is full: reads append, so `Vec::with_capacity(n)` has room and `vec![0; n]` has none; \
         an array, or `slice_mut(..)` of the `Vec`, is overwritten",
    )
}

/// Where a read into `buf` lands.
pub(crate) fn landing<B: IoBufMut>(buf: &mut B) -> *mut u8 {
    let offset = buf.fill_from();
    // SAFETY: `fill_from() <= capacity()` by the trait's contract.
    unsafe { buf.as_mut_ptr().add(offset) }
}

/// Notes that the kernel has written `n` bytes where `landing` pointed.
///
/// # Safety
/// It has, and `n <= room(buf)`.
pub(crate) unsafe fn landed<B: IoBufMut>(buf: &mut B, n: usize) {
    let end = buf.fill_from() + n;
    // SAFETY: bytes before `fill_from` are initialised by the trait's contract, the `n` behind by ours.
    unsafe { buf.assume_init(end) };
}

/// Copies as much of `bytes` as fits to where a read would land; returns how much.
pub(crate) fn fill<B: IoBufMut>(buf: &mut B, bytes: &[u8]) -> usize {
    let n = bytes.len().min(room(buf));
    // SAFETY: `room` bytes may be written at `landing`, and the source is another allocation than a buffer we
    // own.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), landing(buf), n);
        landed(buf, n);
    }
    n
}

fn resolve(range: impl RangeBounds<usize>, all: usize) -> (usize, usize) {
    let begin = match range.start_bound() {
        Bound::Included(&at) => at,
        Bound::Excluded(&at) => at.checked_add(1).expect("the slice starts within memory"),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&at) => at.checked_add(1).expect("the slice ends within memory"),
        Bound::Excluded(&at) => at,
        Bound::Unbounded => all,
    };
    assert!(begin <= end, "slice starts at {begin} and ends at {end}");
    (begin, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vec_is_appended_to_and_an_array_is_overwritten() {
        let mut vec = Vec::with_capacity(4);
        vec.push(1);
        assert_eq!(fill(&mut vec, &[2, 3, 4, 5]), vec.capacity() - 1);
        assert_eq!(&vec[..4], &[1, 2, 3, 4]);
        let mut array = [9u8; 4];
        assert_eq!(fill(&mut array, &[1, 2]), 2);
        assert_eq!(array, [1, 2, 9, 9]);
    }

    #[test]
    fn a_slice_to_read_into_lands_where_it_says() {
        let mut vec = Vec::with_capacity(8);
        vec.extend([1, 2, 3]);
        let mut part = vec.slice_mut(2..6);
        assert_eq!(fill(&mut part, &[7, 8, 9, 10, 11]), 4);
        assert_eq!(part.into_inner(), [1, 2, 7, 8, 9, 10]);
    }
}
