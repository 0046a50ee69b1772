//! Whether the page cache holds a part of a file.
//!
//! Owns the two ways to ask. `cachestat(2)` counts pages. Newer kernels tell only who owns the file or may
//! write it, and answer EPERM to others (kernel-notes/cachestat.md): a server that runs as somebody else
//! than the owner of what it serves. Older ones (before 6.5) answer ENOSYS. From then on the handle asks by
//! a read that does not wait (`RWF_NOWAIT`), of all of the part, into a page that nobody looks at: that is
//! one system call, as exact, and needs no room for the bytes.
//!
//! Pages that are on their way from the disk are counted, and whoever uses them waits. So where a count
//! finds all there, the last byte of each [`STRIDE`] is read without waiting, from the end on: whatever is
//! missing and as long as that, or at the end, is found out. What is read ahead comes in such pieces, or
//! larger ones. Some file systems have no such reads. On tmpfs nothing is ever on its way, and the count is
//! enough; on others (FUSE, those of networks) the answer is no. So it is on overlayfs, whose own files
//! have no pages.
//!
//! A file is often asked about again at once, by another connection. What was just seen from its beginning
//! on counts for a tick of the kernel's coarse clock (1 to 10 ms): the system calls cost a twentieth of
//! sending 64 KiB.
//!
//! Rejected: to read a byte at each end without the count, which misses what is gone in between; to keep
//! what was read and send that, which is a buffer and a copy of its own for each connection; `mincore(2)`,
//! which tells the same users the truth and others that all is there; to trust what was seen until
//! something is found missing, which another handle finds and this one does not.
//!
//! It promises not to wait for the disk itself, to take nothing from a file that gives its bytes once, and
//! to say no of a file that is read past the page cache. What it says is about a moment that is gone:
//! memory may be taken away before it is used, as far as it can be within a tick, and pieces shorter than a
//! stride may be on their way.

use super::io::{gives_again, is_direct, is_on_tmpfs, read_now, read_now_into, stat_fd};
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
/// It is a file of tmpfs, which has no reads that do not wait, and none that do.
const BY_COUNT_ALONE: u8 = 3;

/// Bytes between two looks whether what was counted has arrived: what is usually read ahead at once
/// (`read_ahead_kb`), and what a read of a file on its way to a socket asks for (`net::file`).
const STRIDE: u64 = 128 * 1024;

/// How one handle of a file is asked about. Plain loads and stores: what a race loses is a call in vain.
#[derive(Debug, Default)]
pub struct PageCache {
    way: AtomicU8,
    seen: Seen,
    is_direct: bool,
}

impl Clone for PageCache {
    fn clone(&self) -> Self {
        Self { way: AtomicU8::new(self.way()), seen: Seen::default(), is_direct: self.is_direct }
    }
}

impl PageCache {
    /// Of a handle; `is_direct` says that it reads past the page cache.
    pub(crate) fn new(is_direct: bool) -> Self {
        let way = if is_direct { NOT_AT_ALL } else { BY_COUNT };
        Self { way: AtomicU8::new(way), seen: Seen::default(), is_direct }
    }

    /// Whether offsets, lengths and memory of its reads must be aligned. With `O_DIRECT` a pipe is one of
    /// packets (`pipe(2)`), and of those reads nothing is said.
    pub(crate) fn wants_whole_pages(&self, file: RawFd) -> bool {
        self.is_direct && gives_again(file)
    }

    /// Whether it holds all of `len` bytes from `offset` of `file`, which is the one of this handle. False
    /// where the kernel cannot tell, and behind the end of the file.
    pub(crate) fn holds(&self, file: RawFd, offset: u64, len: u64) -> bool {
        let Some(end) = offset.checked_add(len).filter(|_| len > 0) else { return false };
        if self.counts() {
            let now = tick();
            if self.seen.covers(now, end) {
                return true;
            }
            match self.count(file, offset, end) {
                Ok(holds) => {
                    if holds && offset == 0 {
                        self.seen.note(now, end);
                    }
                    return holds;
                }
                Err(error) => self.learn(&error, file),
            }
        }
        self.way() == BY_READING
            && can_be_read_now(file, offset, end).unwrap_or_else(|error| {
                self.learn(&error, file);
                false
            })
    }

    /// Whether a part that is larger costs little more to ask about: pages are counted and not read.
    #[inline]
    pub(crate) fn counts(&self) -> bool {
        matches!(self.way(), BY_COUNT | BY_COUNT_ALONE)
    }

    fn way(&self) -> u8 {
        self.way.load(Ordering::Relaxed)
    }

    /// Whether all pages are counted, and have arrived.
    fn count(&self, file: RawFd, offset: u64, end: u64) -> io::Result<bool> {
        let size = page_size();
        if cached_pages(file, offset, end - offset)? < end.div_ceil(size) - offset / size {
            return Ok(false);
        }
        if self.way() == BY_COUNT_ALONE {
            return Ok(stat_fd(file)?.stx_size >= end);
        }
        let mut left = end - offset;
        while left > 0 {
            let mut byte = MaybeUninit::<u8>::uninit();
            // SAFETY: it is one byte.
            match unsafe { read_now(file, byte.as_mut_ptr(), 1, offset + left - 1) } {
                Ok(1..) => left = left.saturating_sub(STRIDE),
                Err(error) if cannot_tell(&error) && is_on_tmpfs(file) => {
                    self.way.store(BY_COUNT_ALONE, Ordering::Relaxed);
                    return self.count(file, offset, end);
                }
                Err(error) if cannot_tell(&error) => return Err(error),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    #[cold]
    fn learn(&self, error: &io::Error, file: RawFd) {
        let way = match error.raw_os_error() {
            // Past the page cache, a read waits for the disk (kernel-notes/read-nowait.md).
            Some(libc::EPERM | libc::ENOSYS) if gives_again(file) && !is_direct(file) => BY_READING,
            Some(libc::EPERM | libc::ENOSYS | libc::EOPNOTSUPP) => NOT_AT_ALL,
            _ => return,
        };
        self.way.store(way, Ordering::Relaxed);
    }
}

/// Whether this is a file that cannot be read without waiting (`RWF_NOWAIT`, preadv2(2)).
fn cannot_tell(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

/// How many bytes from the beginning of a file were seen to be there, and in which tick: in one word, so that
/// the two belong together whoever else writes them.
#[derive(Debug, Default)]
struct Seen(AtomicU64);

impl Seen {
    /// Of the bytes; longer files are not noted. The tick has the others and comes round again after 17
    /// minutes: who asks in the same one then is told what was true before.
    const BITS: u32 = 44;

    fn note(&self, tick: u32, end: u64) {
        if end >> Self::BITS == 0 {
            self.0.store(u64::from(tick) << Self::BITS | end, Ordering::Relaxed);
        }
    }

    fn covers(&self, tick: u32, end: u64) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        let tick = u64::from(tick) << Self::BITS;
        seen >> Self::BITS == tick >> Self::BITS && end <= seen & ((1 << Self::BITS) - 1)
    }
}

/// The kernel's coarse clock in milliseconds, without a system call; it moves by ticks.
fn tick() -> u32 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives over the call. This clock is always there, so that it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    (now.tv_sec as u32).wrapping_mul(1_000).wrapping_add(now.tv_nsec as u32 / 1_000_000)
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

/// # Errors
/// The kernel cannot tell.
fn can_be_read_now(file: RawFd, offset: u64, end: u64) -> io::Result<bool> {
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
            Err(error) if cannot_tell(&error) => return Err(error),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    /// A file of that length that was just written, on the disk that programs are built on. `None` where its
    /// file system has no reads that do not wait.
    fn written(len: usize) -> Option<std::fs::File> {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let name = format!("page-cache-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::current_exe().unwrap().with_file_name(name);
        std::fs::write(&path, vec![7; len]).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        match can_be_read_now(file.as_raw_fd(), 0, len as u64) {
            Ok(_) => Some(file),
            Err(error) => {
                println!("skipped: {error}");
                None
            }
        }
    }

    #[test]
    fn all_ways_say_the_same_of_a_file_that_was_just_written() {
        let len = 1_000_001;
        let Some(file) = written(len as usize) else { return };
        let page = page_size();
        for way in [BY_COUNT, BY_COUNT_ALONE, BY_READING, NOT_AT_ALL] {
            let asked = || PageCache { way: AtomicU8::new(way), ..PageCache::default() };
            // A new one each time, which has seen nothing yet.
            let holds = |offset, len| asked().holds(file.as_raw_fd(), offset, len);
            for (offset, len) in [(0, len), (0, 1), (5, 10_000), (len - 1, 1), (4095, 2), (262_143, 262_146)]
            {
                assert_eq!(holds(offset, len), way != NOT_AT_ALL, "{way}: {len} from {offset}");
            }
            for (offset, len) in
                [(0, 0), (len + page, 1), (0, len + 1), (len, 1), (u64::MAX, 1), (u64::MAX, 2), (1, u64::MAX)]
            {
                assert!(!holds(offset, len), "{way}: {len} from {offset}");
            }
            let again = asked();
            for (offset, len, held) in
                [(0, len, true), (0, len, true), (5, len - 5, true), (0, len + 1, false)]
            {
                assert_eq!(again.holds(file.as_raw_fd(), offset, len), held && way != NOT_AT_ALL);
            }
        }
        assert!(!PageCache::new(true).holds(file.as_raw_fd(), 0, 10), "it is read past the page cache");
    }

    #[test]
    fn a_file_in_memory_is_held_although_its_reads_cannot_say_so() {
        let path = format!("/dev/shm/ringwork-page-cache-{}", std::process::id());
        if std::fs::write(&path, [7; 10_000]).is_err() {
            return println!("skipped: no /dev/shm");
        }
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let cache = PageCache::default();
        let holds = cache.holds(file.as_raw_fd(), 0, 10_000);
        assert_eq!(holds, cache.counts(), "asked by {}", cache.way());
        for (offset, len) in [(0, 10_001), (10_000, 1), (0, 1 << 20)] {
            assert!(!cache.holds(file.as_raw_fd(), offset, len), "{len} from {offset}");
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
            cache.learn(&io::Error::from_raw_os_error(libc::EOPNOTSUPP), -1);
            assert_eq!(cache.way(), NOT_AT_ALL);
            let cache = PageCache::default();
            cache.learn(&refused, std::fs::File::open("/dev/zero").unwrap().as_raw_fd());
            assert_eq!(cache.way(), NOT_AT_ALL);
        }
    }

    #[test]
    fn what_was_seen_counts_for_a_tick() {
        let seen = Seen::default();
        assert!(!seen.covers(0, 1));
        seen.note(5, 10_000);
        assert!(seen.covers(5, 1) && seen.covers(5, 10_000));
        assert!(!seen.covers(5, 10_001) && !seen.covers(6, 1) && !seen.covers(4, 1));
        seen.note(u32::MAX, (1 << 44) - 1);
        assert!(seen.covers(u32::MAX, (1 << 44) - 1) && !seen.covers(u32::MAX, 1 << 44));
        seen.note(7, 1 << 44);
        assert!(!seen.covers(7, 1), "too long to be noted");
    }
}
