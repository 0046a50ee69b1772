//! Reading what the page cache holds and nothing else: `preadv2` with RWF_NOWAIT.
//! It promises to try a file in the cache, one that was evicted, one that is cached in part, its end, direct
//! I/O and a pipe. What a read costs is not its subject (`ringwork-bench compare --only read-4096x32`).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use kernel_notes::{Pages, Report, Scratch, errno_name};

const PAGE: usize = 4096;
const LEN: usize = 64 * PAGE;

/// The number of bytes, or the error number.
fn read_now(file: &File, into: &Pages, offset: usize, flags: i32) -> Result<usize, i32> {
    let part = libc::iovec { iov_base: into.start().cast(), iov_len: into.len() };
    // SAFETY: the pages live over the call and are as long as the vector says.
    match unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, offset as i64, flags) } {
        -1 => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        n => Ok(n as usize),
    }
}

fn shown(answer: Result<usize, i32>) -> String {
    answer.map_or_else(errno_name, |n| format!("{n} bytes"))
}

/// Writes the file back and throws its pages out of the cache, from `offset` to its end.
fn evict(file: &File, offset: usize) -> io::Result<()> {
    file.sync_all()?;
    // SAFETY: advice about a file, with no memory in it.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), offset as i64, 0, libc::POSIX_FADV_DONTNEED) };
    Ok(())
}

fn main() -> io::Result<std::process::ExitCode> {
    let mut report = Report::new();
    let scratch = Scratch::new("read-nowait")?;
    let path = scratch.path("file");
    fs::write(&path, vec![7; LEN])?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let nowait = libc::RWF_NOWAIT;
    let (page, two) = (Pages::new(PAGE)?, Pages::new(2 * PAGE)?);

    let cached = read_now(&file, &page, 0, nowait);
    if cached == Err(libc::EOPNOTSUPP) {
        return Ok(report.skip("this file system does not know RWF_NOWAIT"));
    }
    report.holds("in the cache: read at once, all of it", cached == Ok(PAGE));
    report.holds("at the end of the file: 0 bytes", read_now(&file, &page, LEN, nowait) == Ok(0));
    report.holds("across the end: what is there", read_now(&file, &two, LEN - PAGE, nowait) == Ok(PAGE));

    evict(&file, 0)?;
    report.holds("not in the cache: EAGAIN", read_now(&file, &page, 0, nowait) == Err(libc::EAGAIN));
    // A plain read brings the first pages in, and by reading ahead some more.
    read_now(&file, &page, 0, 0).map_err(io::Error::from_raw_os_error)?;
    report.holds("after a plain read: in the cache", read_now(&file, &page, 0, nowait) == Ok(PAGE));
    evict(&file, PAGE)?;
    let half = read_now(&file, &two, 0, nowait);
    report.saw(format!("two pages of which the first is cached: {}", shown(half)));
    report.holds("a part is a short read, not an error", half == Ok(PAGE));

    match OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path) {
        Ok(direct) => report.saw(format!("O_DIRECT: {}", shown(read_now(&direct, &page, 0, nowait)))),
        Err(error) => report.saw(format!("O_DIRECT: {error}")),
    }
    let (reader, _writer) = io::pipe()?;
    let pipe = File::from(std::os::fd::OwnedFd::from(reader));
    report.holds("a pipe: ESPIPE", read_now(&pipe, &page, 0, nowait) == Err(libc::ESPIPE));
    Ok(report.finish())
}
