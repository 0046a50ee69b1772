//! Who is told by `cachestat` what the page cache holds, and what a read that does not wait says instead.
//! It promises to ask as root, as another user and as that user with a file of his own, of a file that is
//! cached and of one with a hole in what is cached.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use kernel_notes::{Outcome, Report, Scratch, errno_name};

const SYS_CACHESTAT: libc::c_long = 451;
const PAGE: usize = 4096;
const PAGES: usize = 4;
const NOBODY: libc::uid_t = 65534;

/// How many pages are cached, or the error number.
fn cachestat(file: &File) -> Result<u64, i32> {
    let range = [0_u64, (PAGES * PAGE) as u64];
    let mut stat = [0_u64; 5];
    // SAFETY: two numbers and five, as the call has them, which live over it.
    let answer =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), range.as_ptr(), stat.as_mut_ptr(), 0_u32) };
    if answer == 0 { Ok(stat[0]) } else { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
}

/// How many bytes of all pages a read with `flags` puts into one and the same page, or the error number.
fn read(file: &File, pages: std::ops::Range<usize>, flags: i32) -> Result<usize, i32> {
    let mut nowhere = [0_u8; PAGE];
    let part = libc::iovec { iov_base: nowhere.as_mut_ptr().cast(), iov_len: PAGE };
    let parts = vec![part; pages.len()];
    let (at, count) = ((pages.start * PAGE) as i64, pages.len() as i32);
    // SAFETY: each part is the page, which lives over the call.
    match unsafe { libc::preadv2(file.as_raw_fd(), parts.as_ptr(), count, at, flags) } {
        -1 => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        n => Ok(n as usize),
    }
}

fn shown<T: std::fmt::Display>(answer: Result<T, i32>) -> String {
    answer.map_or_else(errno_name, |n| n.to_string())
}

/// Becomes nobody, for what the calling thread does, or root again.
fn become_user(user: libc::uid_t) -> io::Result<()> {
    // SAFETY: no memory is involved. The bare call is for this thread alone.
    match unsafe { libc::syscall(libc::SYS_setresuid, -1, user, -1) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn main() -> Outcome {
    let mut report = Report::new();
    let scratch = Scratch::new("cachestat")?;
    scratch.file("file", PAGES * PAGE, 7, 0)?;
    let file = File::open(scratch.path("file"))?;
    let full = PAGES * PAGE;
    if cachestat(&file) == Err(libc::ENOSYS) {
        return Ok(report.skip("this kernel has no cachestat"));
    }
    // SAFETY: no memory is involved.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(report.skip("only root can become somebody else"));
    }
    report.holds("who owns the file is told", cachestat(&file) == Ok(PAGES as u64));
    let own = scratch.file("own", PAGES * PAGE, 7, 0)?;
    std::os::unix::fs::fchown(&own, Some(NOBODY), None)?;
    let own_to_read = File::open(scratch.path("own"))?;
    let to_write = scratch.file("to-write", PAGES * PAGE, 7, 0)?;

    become_user(NOBODY)?;
    let other = cachestat(&file);
    report.saw(format_args!("another user: {}", shown(other)));
    report.holds("another user: EPERM", other == Err(libc::EPERM));
    report.holds("the same for a file of his: told", cachestat(&own_to_read) == Ok(PAGES as u64));
    report.holds("for one that is open for writing: told", cachestat(&to_write) == Ok(PAGES as u64));
    let nowait = libc::RWF_NOWAIT;
    report.holds("RWF_NOWAIT into one page: all bytes", read(&file, 0..PAGES, nowait) == Ok(full));

    // From now on pages come one by one.
    // SAFETY: advice about a file, with no memory in it.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
    // SAFETY: as above.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    for page in [0, PAGES - 1] {
        read(&file, page..page + 1, 0).map_err(io::Error::from_raw_os_error)?;
    }
    become_user(0)?;
    report.holds("who owns the file is told how many", cachestat(&file) == Ok(2));
    become_user(NOBODY)?;
    let ends = [0, PAGES - 1].map(|page| read(&file, page..page + 1, nowait));
    let all = read(&file, 0..PAGES, nowait);
    report.saw(format_args!("first and last page cached, RWF_NOWAIT: {} bytes", shown(all)));
    report
        .holds("a byte at each end does not tell, all of it does", ends == [Ok(PAGE); 2] && all != Ok(full));
    become_user(0)?;
    report.saw(format_args!("then cached or on their way: {} of {PAGES} pages", shown(cachestat(&file))));
    Ok(report.finish())
}
