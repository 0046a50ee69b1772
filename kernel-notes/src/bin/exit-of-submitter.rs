//! A thread ends with a receive armed on its ring. What the ring, the socket and other threads see.
//! It promises to show the deferred ring, which is ours, and the plain one. A panic that ends a thread is the
//! same; panics are not shown.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use kernel_notes::{
    LONG, Outcome, Pages, QUIET, Report, build, enter, errno_name, failed_with, full_flags, shown,
};

const GETEVENTS: u32 = 1;

/// A thread arms a receive on a new ring and ends. The ring and the receive's memory stay.
fn abandoned(deferred: bool, near: &UnixStream) -> io::Result<(IoUring, Pages)> {
    let fd = near.as_raw_fd();
    let work = move || {
        let mut ring = if deferred { build(&full_flags(64), 8)? } else { build(&IoUring::builder(), 8)? };
        let pages = Pages::new(64)?;
        let recv = opcode::Recv::new(Fd(fd), pages.start(), 64).build();
        // SAFETY: the pages go with the ring; the caller unmaps them after the op has ended or leaks them.
        unsafe { ring.submission().push(&recv).map_err(io::Error::other)? };
        ring.submit()?;
        Ok((ring, pages))
    };
    thread::spawn(work).join().expect("the thread returns errors")
}

/// The result of the op if it is in the queue, without a call into the kernel.
fn in_queue(ring: &mut IoUring) -> Option<i32> {
    ring.completion().next().map(|cqe| cqe.result())
}

/// Waits up to `QUIET` for the op to appear in the queue by itself.
fn appears(ring: &mut IoUring) -> Option<i32> {
    let start = Instant::now();
    loop {
        let seen = in_queue(ring);
        if seen.is_some() || start.elapsed() > QUIET {
            return seen;
        }
        thread::yield_now();
    }
}

fn name(seen: Option<i32>) -> String {
    match seen {
        Some(res) if res < 0 => errno_name(-res),
        Some(res) => res.to_string(),
        None => "no completion".to_owned(),
    }
}

fn deferred_ring(report: &mut Report) -> io::Result<()> {
    let (near, mut far) = UnixStream::pair()?;
    let (mut ring, pages) = abandoned(true, &near)?;
    let before = appears(&mut ring);
    far.write_all(b"bytes")?;
    let after = appears(&mut ring);
    report.saw(format_args!("deferred ring: {}; bytes came: {}", name(before), name(after)));
    let wait = enter(&ring, 0, 1, GETEVENTS);
    report.saw(format_args!("wait by another thread: {}", shown(&wait)));
    report.holds("nobody can wait on it any more: EEXIST", failed_with(&wait, libc::EEXIST));
    near.set_nonblocking(true)?;
    let mut buffer = [0; 64];
    let kept = (&near).read(&mut buffer).unwrap_or(0);
    report.holds("the bytes are still in the socket", kept == 5);
    report.saw(format_args!("at last: {}", name(appears(&mut ring))));
    drop(ring);
    drop(near);
    far.set_read_timeout(Some(LONG))?;
    let end = matches!(far.read(&mut buffer), Ok(0));
    report.holds("closing the ring lets go of the socket", end);
    let untouched = pages.copy_out(0, 5) == [0; 5];
    report.holds("the memory was not written", untouched);
    Ok(())
}

fn plain_ring(report: &mut Report) -> io::Result<()> {
    let (near, mut far) = UnixStream::pair()?;
    let (mut ring, pages) = abandoned(false, &near)?;
    let before = appears(&mut ring);
    far.write_all(b"bytes")?;
    let after = if before.is_none() { appears(&mut ring) } else { None };
    report.saw(format_args!("plain ring: {}; bytes came: {}", name(before), name(after)));
    let ended = before.or(after);
    report.holds("it is cancelled: ECANCELED", ended == Some(-libc::ECANCELED));
    near.set_nonblocking(true)?;
    let kept = (&near).read(&mut [0; 64]).unwrap_or(0);
    report.holds("the bytes are still in the socket", kept == 5);
    if ended.is_none() {
        std::mem::forget(pages);
    }
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    deferred_ring(&mut report)?;
    plain_ring(&mut report)?;
    Ok(report.finish())
}
