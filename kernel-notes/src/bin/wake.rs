//! Waking a thread that sleeps in `io_uring_enter`: an eventfd that nobody reads, under a multishot poll.
//! It promises to show each write, the wait that swallows wakes, and the re-arm. It compares no speeds.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::FromRawFd;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::types::{SubmitArgs, Timespec};
use kernel_notes::{LONG, Lab, Outcome, QUIET, Report, code};

const BELL: u64 = 1;

fn eventfd() -> io::Result<File> {
    // SAFETY: makes a descriptor, no pointers.
    match unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor was made above and nobody else owns it.
        fd => Ok(unsafe { File::from_raw_fd(fd) }),
    }
}

fn ring_the(mut bell: &File) -> io::Result<()> {
    bell.write_all(&1u64.to_ne_bytes())
}

/// Each write wakes, although the counter never returns to zero.
fn each_write(report: &mut Report) -> io::Result<()> {
    let (mut lab, bell) = (Lab::new(8, 64)?, eventfd()?);
    lab.poll_multi(&bell, BELL)?;
    lab.submit()?;
    let mut delivered = 0;
    for _ in 0..100 {
        ring_the(&bell)?;
        let cqe = lab.next(LONG)?;
        delivered += u32::from(cqe.tag == BELL && cqe.res == libc::POLLIN.into() && cqe.more());
    }
    report.holds("100 writes, never read: 100 completions, all with F_MORE", delivered == 100);
    for _ in 0..10 {
        ring_the(&bell)?;
    }
    let merged = lab.wait(10, QUIET)?.len();
    report.saw(format_args!("10 writes before one enter: {merged} completion(s)"));
    report.holds("writes before an enter merge, at least one completion remains", merged >= 1);
    report.holds("and nothing comes without a further write", lab.wait(1, QUIET)?.is_empty());
    Ok(())
}

/// Parks with `want`, is rung at 20 ms, returns how long the park took.
fn parked(want: usize, limit: Duration, min_wait_us: u32) -> io::Result<Duration> {
    let (mut lab, bell) = (Lab::new(8, 64)?, eventfd()?);
    lab.poll_multi(&bell, BELL)?;
    lab.submit()?;
    let waker = bell.try_clone()?;
    let start = Instant::now();
    let waker = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        ring_the(&waker)
    });
    let limit = Timespec::new().sec(limit.as_secs()).nsec(limit.subsec_nanos());
    let args = SubmitArgs::new().timespec(&limit).min_wait_usec(min_wait_us);
    match lab.submitter().submit_with_args(want, &args) {
        Err(error) if code(&error) != libc::ETIME => return Err(error),
        _ => {}
    }
    let took = start.elapsed();
    waker.join().expect("the waker returns errors")?;
    lab.wait(1, LONG)?;
    Ok(took)
}

fn want_more_than_one(report: &mut Report) -> io::Result<()> {
    let limit = Duration::from_millis(400);
    let one = parked(1, Duration::from_secs(20), 0)?;
    report.saw(format_args!("want 1, limit 20 s, rung at 20 ms: back after {} ms", one.as_millis()));
    report.holds("want 1: the ring wakes", one < Duration::from_secs(20));
    let four = parked(4, limit, 0)?;
    report.saw(format_args!("want 4, limit 400 ms, rung at 20 ms: back after {} ms", four.as_millis()));
    report.holds("want 4: the ring is swallowed until the limit", four >= limit);
    if report.kernel_is_at_least(6, 12) {
        let batch = parked(4, Duration::from_secs(20), 1_000)?;
        report.saw(format_args!("want 4, min-wait 1 ms, limit 20 s: back after {} ms", batch.as_millis()));
        report.holds("want 4 with a min-wait: the ring wakes", batch < Duration::from_secs(20));
    }
    Ok(())
}

/// A full CQ ends the poll. Armed again on the undrained eventfd, it completes at once.
fn re_arm(report: &mut Report) -> io::Result<()> {
    let (mut lab, bell) = (Lab::new(4, 4)?, eventfd()?);
    lab.poll_multi(&bell, BELL)?;
    lab.submit()?;
    for tag in 10..14 {
        lab.nop(tag)?;
    }
    lab.submit()?;
    ring_the(&bell)?;
    let cqes = lab.wait(5, LONG)?;
    let last = cqes.iter().find(|cqe| cqe.tag == BELL);
    let ended = last.is_some_and(|cqe| !cqe.more());
    if let Some(cqe) = last {
        report.saw(format_args!("the ring that met a full CQ: {cqe}"));
    }
    report.holds("a completion that found the CQ full has no F_MORE", ended);
    ring_the(&bell)?;
    report.holds("further writes wake nobody now", lab.wait(1, QUIET)?.is_empty());
    lab.poll_multi(&bell, BELL)?;
    let again = lab.next(LONG)?;
    report.holds("armed again, it fires at once: the counter is not zero", again.more());
    ring_the(&bell)?;
    report.holds("and each write wakes again", lab.next(LONG)?.more());
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    each_write(&mut report)?;
    want_more_than_one(&mut report)?;
    re_arm(&mut report)?;
    Ok(report.finish())
}
