//! When a read is answered on the spot.
//!
//! A read that the page cache can answer costs less as one `preadv2(RWF_NOWAIT)` than as an op: no cell, no
//! completion, no wake, and its result is there a microsecond later instead of a turn later. Where the cache
//! does not hold what is asked for, the call comes back at once and the read goes through the ring
//! (kernel-notes/read-nowait.md). Owns the decision whether to try: not for large reads, which would hold the
//! core; seldom after a try in vain; never again on a file that cannot tell; and never past the page cache,
//! where the call would wait for the disk. Owns also what kind of file it is, as far as that matters here:
//! a part that was read may be thrown away, to be read by the ring, only where it can be read again.
#![forbid(unsafe_code)]

use super::Metadata;
use crate::sys::io::{Kind, kind_of};
use crate::sys::sqe::SQE_ASYNC;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, Ordering};

/// The largest read on the spot: some ten microseconds of copying.
pub(super) const MOST: usize = 64 * 1024;
/// Reads through the ring after one that was tried in vain: where the cache holds nothing, a try costs a
/// sixteenth of itself per read.
const SKIPPED: u8 = 15;
const NEVER: u8 = u8::MAX;

/// Not known what kind of file it is.
const UNKNOWN: u8 = u8::MAX;

/// What one handle of a file has learned. What a race loses is a try more or less, never what a user has set.
#[derive(Debug)]
pub(super) struct Cached {
    /// Reads to come that are not tried, or [`NEVER`].
    skips: AtomicU8,
    /// A [`Kind`], or [`UNKNOWN`].
    kind: AtomicU8,
}

impl Default for Cached {
    fn default() -> Self {
        Self { skips: AtomicU8::new(0), kind: AtomicU8::new(UNKNOWN) }
    }
}

impl Clone for Cached {
    fn clone(&self) -> Self {
        let copy = |of: &AtomicU8| AtomicU8::new(of.load(Ordering::Relaxed));
        Self { skips: copy(&self.skips), kind: copy(&self.kind) }
    }
}

impl Cached {
    /// Whether reads are ever to be tried.
    pub(super) fn set(&self, on: bool) {
        self.skips.store(if on { 0 } else { NEVER }, Ordering::Relaxed);
    }

    /// Whether a read of `len` bytes is to be tried now.
    #[inline]
    pub(super) fn is_worth_a_try(&self, len: usize) -> bool {
        if len == 0 || len > MOST {
            return false;
        }
        match self.skips.load(Ordering::Relaxed) {
            0 => true,
            NEVER => false,
            skip => {
                // Whoever sets it meanwhile is right.
                let _ = self.skips.compare_exchange(skip, skip - 1, Ordering::Relaxed, Ordering::Relaxed);
                false
            }
        }
    }

    /// Whether `file`, which is the one of this handle, gives the same bytes to whoever reads them again.
    #[inline]
    pub(super) fn gives_again(&self, file: RawFd) -> bool {
        self.kind(file) == Kind::GivesAgain as u8
    }

    /// The flags of a read or write of `file`, likewise: one that may wait although it is not to is not tried
    /// on the core.
    #[inline]
    pub(super) fn op_flags(&self, file: RawFd) -> u8 {
        self.kind(file) & SQE_ASYNC
    }

    #[inline]
    fn kind(&self, file: RawFd) -> u8 {
        match self.kind.load(Ordering::Relaxed) {
            UNKNOWN => self.find_kind(file),
            kind => kind,
        }
    }

    #[cold]
    fn find_kind(&self, file: RawFd) -> u8 {
        let kind = kind_of(file) as u8;
        self.kind.store(kind, Ordering::Relaxed);
        kind
    }

    /// Notes what kind of file this handle is of, where that is known.
    pub(super) fn see(&self, metadata: &Metadata) {
        if metadata.is_file() {
            self.kind.store(Kind::GivesAgain as u8, Ordering::Relaxed);
        }
    }

    /// A try was in vain.
    #[cold]
    pub(super) fn learn(&self, error: &io::Error) {
        // The last two, and none, are of an offset that no file has.
        let of_this_read = [libc::EAGAIN, libc::EINTR, libc::EINVAL, libc::EOVERFLOW];
        let is_of_this_read = error.raw_os_error().is_none_or(|errno| of_this_read.contains(&errno));
        let skips = if is_of_this_read { SKIPPED } else { NEVER };
        // It was worth a try a moment ago. Whoever has set it since is right.
        let _ = self.skips.compare_exchange(0, skips, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::transfer::read_now;
    use std::os::fd::AsRawFd;

    fn tries(cached: &Cached, reads: usize) -> usize {
        (0..reads).filter(|_| cached.is_worth_a_try(4096)).count()
    }

    #[test]
    fn reads_are_tried_until_one_was_in_vain_and_then_seldom() {
        let cached = Cached::default();
        assert_eq!(tries(&cached, 100), 100);
        cached.learn(&io::Error::from_raw_os_error(libc::EAGAIN));
        assert_eq!(tries(&cached, usize::from(SKIPPED)), 0);
        assert_eq!(tries(&cached, 100), 100);
    }

    #[test]
    fn a_read_at_an_offset_that_no_file_has_says_nothing_of_the_next_ones() {
        let file = std::fs::File::open("Cargo.toml").unwrap();
        for offset in [1 << 63, u64::MAX, i64::MAX as u64] {
            let cached = Cached::default();
            let (mut buf, gives_again) = (Vec::with_capacity(4096), || true);
            match read_now(file.as_raw_fd(), &mut buf, offset, gives_again) {
                Ok(read) => assert_eq!(read, 0),
                Err(error) => cached.learn(&error),
            }
            assert!(tries(&cached, 1_000) > 900, "{offset}");
        }
    }

    #[test]
    fn a_file_that_cannot_tell_and_one_that_is_told_not_to_are_not_tried() {
        let cached = Cached::default();
        cached.learn(&io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        assert_eq!(tries(&cached, 1_000), 0);
        cached.set(true);
        assert!(!cached.is_worth_a_try(0) && !cached.is_worth_a_try(MOST + 1) && cached.is_worth_a_try(MOST));
        cached.set(false);
        cached.learn(&io::Error::from_raw_os_error(libc::EAGAIN));
        assert_eq!(tries(&cached.clone(), 1_000), 0, "a read that was under way tells nothing new");
    }
}
