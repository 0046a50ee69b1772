//! Whether the page cache holds a part of a file.
//!
//! Owns the two ways to ask. `cachestat(2)` (6.5) counts pages. Newer kernels tell only who owns the file or
//! may write it, and answer EPERM to others (kernel-notes/cachestat.md): a server that runs as somebody else
//! than the owner of what it serves. From then on the handle asks by a read that does not wait
//! (`RWF_NOWAIT`), of all of the part, into a page that nobody looks at: that is one system call, as exact,
//! and needs no room for the bytes. Rejected: to read a byte at each end, which misses what is gone in
//! between, and a core would wait for the disk there; to keep what was read and send that, which is a buffer
//! and a copy of its own for each connection; `mincore(2)`, which tells the same users the truth and others
//! that all is there.
//!
//! It promises never to wait for the disk, and to take nothing from a file that gives its bytes once.

use super::io::{gives_again, is_direct, read_now_into};
use super::syscall;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

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

static HAS_CACHESTAT: AtomicBool = AtomicBool::new(true);

const BY_COUNT: u8 = 0;
/// The kernel refuses to count.
const BY_READING: u8 = 1;
/// It refuses, and a read would wait or take something.
const NOT_AT_ALL: u8 = 2;

/// How one handle of a file is asked about. Plain loads and stores: what a race loses is a call in vain.
#[derive(Debug, Default)]
pub struct PageCache(AtomicU8);

impl Clone for PageCache {
    fn clone(&self) -> Self {
        Self(AtomicU8::new(self.0.load(Ordering::Relaxed)))
    }
}

impl PageCache {
    /// Whether it holds all of `len` bytes from `offset` of `file`, which is the one of this handle. False
    /// where the kernel cannot tell, and at the end of the file.
    pub(crate) fn holds(&self, file: RawFd, offset: u64, len: u64) -> bool {
        let Some(end) = offset.checked_add(len) else { return false };
        if !HAS_CACHESTAT.load(Ordering::Relaxed) || len == 0 {
            return false;
        }
        if self.0.load(Ordering::Relaxed) == BY_COUNT {
            match cached_pages(file, offset, len) {
                Ok(pages) => {
                    let size = page_size();
                    return pages >= end.div_ceil(size) - offset / size;
                }
                Err(error) => self.learn(&error, file),
            }
        }
        self.0.load(Ordering::Relaxed) == BY_READING && can_be_read_now(file, offset, end)
    }

    /// Whether a part that is larger costs little more to ask about: pages are counted and not read.
    #[inline]
    pub(crate) fn counts(&self) -> bool {
        self.0.load(Ordering::Relaxed) == BY_COUNT
    }

    #[cold]
    fn learn(&self, error: &io::Error, file: RawFd) {
        match error.raw_os_error() {
            Some(libc::ENOSYS) => HAS_CACHESTAT.store(false, Ordering::Relaxed),
            Some(libc::EPERM) => {
                // Past the page cache, a read waits for the disk (kernel-notes/read-nowait.md).
                let by_reading = gives_again(file) && !is_direct(file);
                self.0.store(if by_reading { BY_READING } else { NOT_AT_ALL }, Ordering::Relaxed);
            }
            _ => {}
        }
    }
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

/// Aligned, for the sake of CPUs that copy far slower to some other places (kernel-notes/copy-offset.md).
#[repr(align(64))]
struct Nowhere([MaybeUninit<u8>; NOWHERE]);

fn can_be_read_now(file: RawFd, offset: u64, end: u64) -> bool {
    let mut nowhere = Nowhere([MaybeUninit::uninit(); NOWHERE]);
    let mut parts = [libc::iovec { iov_base: nowhere.0.as_mut_ptr().cast(), iov_len: NOWHERE }; TIMES];
    let mut at = offset;
    while at < end {
        let wanted = (end - at).min((NOWHERE * TIMES) as u64) as usize;
        let count = wanted.div_ceil(NOWHERE);
        parts[count - 1].iov_len = wanted - (count - 1) * NOWHERE;
        // SAFETY: each part is within `nowhere`, whose bytes may be anything.
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
            let cache = PageCache(AtomicU8::new(way));
            let holds = |offset, len| cache.holds(file.as_raw_fd(), offset, len);
            let told = way == reads || way == counts && HAS_CACHESTAT.load(Ordering::Relaxed);
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
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        let cache = PageCache::default();
        cache.learn(&io::Error::from_raw_os_error(libc::EBADF), -1);
        assert_eq!(cache.0.load(Ordering::Relaxed), BY_COUNT);
        cache.learn(&refused, std::fs::File::open("Cargo.toml").unwrap().as_raw_fd());
        assert_eq!(cache.clone().0.load(Ordering::Relaxed), BY_READING);
        cache.learn(&refused, std::fs::File::open("/dev/zero").unwrap().as_raw_fd());
        assert_eq!(cache.0.load(Ordering::Relaxed), NOT_AT_ALL);
    }
}
