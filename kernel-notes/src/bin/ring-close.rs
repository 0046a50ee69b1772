//! Closing a ring does not wait for the kernel: a disk read lands in memory afterwards.
//! It promises to show it where the device is slow enough to be seen, and that a drain makes it safe.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use kernel_notes::{LONG, Lab, Outcome, Pages, Report, Scratch, build, full_flags, shown};

const LEN: usize = 8 << 20;
const BEFORE: u8 = 0xaa;
const ON_DISK: u8 = 0x5a;
const TRIES: usize = 20;

/// How many pages hold bytes of the file.
fn landed(pages: &Pages) -> usize {
    (0..LEN / 4096).filter(|page| pages.peek(page * 4096 + 4095) == ON_DISK).count()
}

/// Closes a ring with a read in flight: pages written right after the close, and in the end.
fn close_at_once(file: &File) -> io::Result<(Duration, usize, usize)> {
    let pages = Pages::new(LEN)?;
    pages.fill(BEFORE);
    let mut ring = build(&IoUring::builder(), 8)?;
    let read = opcode::Read::new(Fd(file.as_raw_fd()), pages.start(), LEN as u32).build();
    // SAFETY: the pages outlive the read: unmapped only after all of it was seen, else leaked.
    unsafe { ring.submission().push(&read).map_err(io::Error::other)? };
    ring.submit()?;
    let start = Instant::now();
    drop(ring);
    let took = start.elapsed();
    let early = landed(&pages);
    while landed(&pages) < LEN / 4096 && start.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(1));
    }
    let late = landed(&pages);
    if late < LEN / 4096 {
        std::mem::forget(pages);
    }
    Ok((took, early, late))
}

/// The same with `Lab`, which cancels and waits for the last completion before it closes.
fn drained(file: &File) -> io::Result<bool> {
    let mut lab = Lab::new(8, 64)?;
    lab.read(file, LEN, 0, 1)?;
    lab.submit()?;
    lab.cancel(io_uring::types::CancelBuilder::any().all(), 2)?;
    let cqes = lab.wait(2, LONG)?;
    let read = cqes.iter().find(|cqe| cqe.tag == 1);
    let at_once = lab.bytes(1, LEN);
    lab.wait(1, Duration::from_millis(300))?;
    let later = lab.bytes(1, LEN);
    Ok(read.is_some() && at_once == later)
}

/// Closing a ring, even an empty one, interrupts the thread that made it a moment later.
fn interrupts(report: &Report) -> io::Result<()> {
    let (_near, far) = UnixStream::pair()?;
    drop(build(&full_flags(64), 8)?);
    far.set_read_timeout(Some(Duration::from_millis(500)))?;
    let start = Instant::now();
    let read = (&far).read(&mut [0]).map(|count| count as u32);
    let ms = start.elapsed().as_millis();
    report.saw(format_args!(
        "a blocking read with a time limit on the same thread: {} after {ms} ms",
        shown(&read)
    ));
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    let scratch = Scratch::new("ring-close")?;
    if scratch.file_system() == "tmpfs" {
        return Ok(report.skip("needs a file system with O_DIRECT; the build directory is on tmpfs"));
    }
    let Ok(file) = scratch.file("data", LEN, ON_DISK, libc::O_DIRECT) else {
        return Ok(report.skip("this file system has no O_DIRECT"));
    };
    let mut seen = 0;
    for _ in 0..TRIES {
        let (took, early, late) = close_at_once(&file)?;
        if late > early {
            seen += 1;
        }
        if seen == 1 && late > early {
            let us = took.as_micros();
            report.saw(format_args!("close took {us} us, then {early} of 2048 pages held the file"));
            report.saw(format_args!("a moment later {late} of 2048"));
        }
    }
    report.saw(format_args!("{seen} of {TRIES} closes were followed by writes to our memory"));
    report.holds("the kernel writes to memory of a ring that is closed", seen > 0);
    report.holds("after cancel and last completion nothing changes any more", drained(&file)?);
    interrupts(&report)?;
    Ok(report.finish())
}
