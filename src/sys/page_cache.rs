//! Whether the page cache holds a part of a file.
//!
//! Owns the two ways to ask. `cachestat(2)` counts pages. Newer kernels tell only who owns the file or may
//! write it, and answer EPERM to others (kernel-notes/cachestat.md): a server that runs as somebody else
//! than the owner of what it serves. Older ones (before 6.5) answer ENOSYS. From then on the handle asks by
//! a read that does not wait (`RWF_NOWAIT`), of all of the part, into a page that nobody looks at: that is
//! one system call, as exact, and needs no room for the bytes.
//!
//! Pages that are on their way from the disk are counted, and whoever uses them waits. They are the last
//! ones of a part, or all of it: what is read ahead comes in windows, one behind the other. So where a
//! count finds all there, one byte of the first page and of the last one of each [`WINDOW`] is read,
//! without waiting. That is spared for the beginning of a file as far as it was seen to be there
//! ([`PageCache::settled`]), until a look finds something missing: what has arrived does not get on its way
//! again unless it has left.
//!
//! Rejected: to read a byte at each end without the count, which misses what is gone in between; to keep
//! what was read and send that, which is a buffer and a copy of its own for each connection; `mincore(2)`,
//! which tells the same users the truth and others that all is there.
//!
//! It promises never to wait for the disk, to take nothing from a file that gives its bytes once, and to
//! say no of a file that is read past the page cache. What it says holds for the moment: memory may be
//! taken away before it is used.

use super::io::{gives_again, is_direct, read_now, read_now_into};
use super::syscall;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// `SYS_cachestat` (6.5): one number on all architectures we run on.
const SYS_CACHESTAT: libc::c_long = 451;

#[repr(C)]
struct CachestatRange {
    off: u64,
    len: u64,
}

#[repr(C)]
#[derive(Default)]
struct Cachestat {
    nr_cache: u64,
    nr_dirty: u64,
    nr_writeback: u64,
    nr_evicted: u64,
    nr_recently_evicted: u64,
}

const BY_COUNT: u8 = 0;
/// The kernel refuses to count.
const BY_READING: u8 = 1;
/// It refuses, and a read would wait or take something.
const NOT_AT_ALL: u8 = 2;

/// Bytes between two looks whether what was counted has arrived.
const WINDOW: u64 = 256 * 1024;

/// How one handle of a file is asked about. Plain loads and stores: what a race loses is a call in vain.
#[derive(Debug, Default)]
pub struct PageCache {
    way: AtomicU8,
    /// Up to here all bytes were seen to have arrived, since a look last found some missing.
    settled: AtomicU64,
    is_direct: bool,
}

impl Clone for PageCache {
    fn clone(&self) -> Self {
        let settled = AtomicU64::new(self.settled.load(Ordering::Relaxed));
        Self { way: AtomicU8::new(self.way()), settled, is_direct: self.is_direct }
    }
}

impl PageCache {
    /// Of a handle; `is_direct` says that it reads past the page cache.
    pub(crate) fn new(is_direct: bool) -> Self {
        let way = if is_direct { NOT_AT_ALL } else { BY_COUNT };
        Self { way: AtomicU8::new(way), settled: AtomicU64::new(0), is_direct }
    }

    /// Whether the handle reads past the page cache: offsets, lengths and memory must be aligned.
    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// Whether it holds all of `len` bytes from `offset` of `file`, which is the one of this handle. False
    /// where the kernel cannot tell, and at the end of the file.
    pub(crate) fn holds(&self, file: RawFd, offset: u64, len: u64) -> bool {
        let Some(end) = offset.checked_add(len) else { return false };
        if len == 0 {
            return false;
        }
        if self.way() == BY_COUNT {
            match cached_pages(file, offset, len) {
                Ok(pages) => {
                    let size = page_size();
                    return pages >= end.div_ceil(size) - offset / size
                        && self.have_arrived(file, offset, end)
                        || self.unsettle();
                }
                Err(error) => self.learn(&error, file),
            }
        }
        self.way() == BY_READING && can_be_read_now(file, offset, end)
    }

    /// Whether a part that is larger costs little more to ask about: pages are counted and not read.
    #[inline]
    pub(crate) fn counts(&self) -> bool {
        self.way() == BY_COUNT
    }

    fn way(&self) -> u8 {
        self.way.load(Ordering::Relaxed)
    }

    /// Whether pages that were counted are there and not on their way.
    fn have_arrived(&self, file: RawFd, offset: u64, end: u64) -> bool {
        let settled = self.settled.load(Ordering::Relaxed);
        if end <= settled {
            return true;
        }
        let mut at = offset;
        while has_arrived(file, at) {
            if at == end - 1 {
                if offset <= settled {
                    self.settled.store(end, Ordering::Relaxed);
                }
                return true;
            }
            at = at.saturating_add(WINDOW).min(end - 1);
        }
        false
    }

    /// Something is missing, so that more may be on its way soon. False, as the answer of a look.
    #[cold]
    fn unsettle(&self) -> bool {
        self.settled.store(0, Ordering::Relaxed);
        false
    }

    #[cold]
    fn learn(&self, error: &io::Error, file: RawFd) {
        if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) {
            // Past the page cache, a read waits for the disk (kernel-notes/read-nowait.md).
            let by_reading = gives_again(file) && !is_direct(file);
            self.way.store(if by_reading { BY_READING } else { NOT_AT_ALL }, Ordering::Relaxed);
        }
    }
}

/// Whether a byte can be read without waiting. Of a file that is in the page cache.
fn has_arrived(file: RawFd, at: u64) -> bool {
    let mut byte = MaybeUninit::<u8>::uninit();
    // SAFETY: it is one byte.
    unsafe { read_now(file, byte.as_mut_ptr(), 1, at) }.is_ok_and(|read| read == 1)
}

/// Bytes in a page of memory.
pub(crate) fn page_size() -> u64 {
    // SAFETY: a call without memory.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

fn cached_pages(file: RawFd, offset: u64, len: u64) -> io::Result<u64> {
    let range = CachestatRange { off: offset, len };
    let mut stat = Cachestat::default();
    // Both structures are the kernel's and live for the call.
    syscall!(syscall(SYS_CACHESTAT, file, &raw const range, &raw mut stat, 0u32))?;
    Ok(stat.nr_cache)
}

/// Bytes that a read lands on, again and again.
const NOWHERE: usize = 4096;
/// How often in one call.
const TIMES: usize = 64;

/// Bytes land as far behind a multiple of it as they come from: some CPUs copy ten times slower to other
/// places (kernel-notes/copy-offset.md).
const LINE: usize = 64;

#[repr(align(64))]
struct Nowhere([MaybeUninit<u8>; NOWHERE + LINE]);

fn can_be_read_now(file: RawFd, offset: u64, end: u64) -> bool {
    let mut nowhere = Nowhere([MaybeUninit::uninit(); NOWHERE + LINE]);
    let place = nowhere.0[offset as usize % LINE..].as_mut_ptr();
    let mut parts = [libc::iovec { iov_base: place.cast(), iov_len: NOWHERE }; TIMES];
    let mut at = offset;
    while at < end {
        let wanted = (end - at).min((NOWHERE * TIMES) as u64) as usize;
        let count = wanted.div_ceil(NOWHERE);
        parts[count - 1].iov_len = wanted - (count - 1) * NOWHERE;
        // SAFETY: each part is `NOWHERE` bytes or less from `place`, behind which `nowhere` has as many, and
        // its bytes may be anything.
        match unsafe { read_now_into(file, &parts[..count], at) } {
            Ok(read) if read == wanted => at += wanted as u64,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn both_ways_say_the_same_of_a_file_that_was_just_written() {
        let path = std::env::temp_dir().join(format!("ringwork-page-cache-{}", std::process::id()));
        let len = 1_000_001;
        std::fs::write(&path, vec![7; len as usize]).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (counts, reads, neither) = (BY_COUNT, BY_READING, NOT_AT_ALL);
        for way in [counts, reads, neither] {
            let cache = PageCache { way: AtomicU8::new(way), ..PageCache::default() };
            let holds = |offset, len| cache.holds(file.as_raw_fd(), offset, len);
            let told = way == reads || way == counts;
            for (offset, len) in [(0, len), (0, 1), (5, 10_000), (len - 1, 1), (4095, 2), (262_143, 262_146)]
            {
                assert_eq!(holds(offset, len), told, "{way}: {len} from {offset}");
            }
            for (offset, len) in [(0, 0), (len + 5000, 1), (0, len + 5000), (u64::MAX, 1), (u64::MAX, 2)] {
                assert!(!holds(offset, len), "{way}: {len} from {offset}");
            }
        }
    }

    #[test]
    fn who_is_refused_once_asks_by_reading_if_that_takes_nothing() {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let refused = io::Error::from_raw_os_error(errno);
            let cache = PageCache::default();
            cache.learn(&io::Error::from_raw_os_error(libc::EBADF), -1);
            assert_eq!(cache.way(), BY_COUNT);
            cache.learn(&refused, std::fs::File::open("Cargo.toml").unwrap().as_raw_fd());
            assert_eq!(cache.clone().way(), BY_READING);
            cache.learn(&refused, std::fs::File::open("/dev/zero").unwrap().as_raw_fd());
            assert_eq!(cache.way(), NOT_AT_ALL);
        }
    }

    #[test]
    fn what_has_arrived_is_not_looked_at_again_until_something_is_missing() {
        let file = std::fs::File::open("Cargo.toml").unwrap();
        let (fd, len) = (file.as_raw_fd(), file.metadata().unwrap().len());
        let (cache, settled) =
            (PageCache::default(), |cache: &PageCache| cache.settled.load(Ordering::Relaxed));
        assert!(cache.holds(fd, 1, len - 1) && settled(&cache) == 0, "nothing is known of what is before");
        assert!(cache.holds(fd, 0, 10) && settled(&cache) == 10);
        assert!(cache.holds(fd, 5, len - 5) && settled(&cache) == len);
        assert!(cache.holds(fd, 0, 10) && settled(&cache.clone()) == len);
        assert!(!cache.holds(fd, 0, len + 5000) && settled(&cache) == 0);
        assert!(!PageCache::new(true).holds(fd, 0, 10), "it is read past the page cache");
    }
}
