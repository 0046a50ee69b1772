//! What a child of fork may do with its parent's ring, and what it keeps alive by merely existing.
//! It promises to show the refusals, the unmapped queues, the word that tells a child it is one, and the
//! pinned request. What exec does is not shown.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use kernel_notes::{
    LONG, Lab, Outcome, Pages, QUIET, Report, build, enter, failed_with, fork_run, full_flags, register,
};

const GETEVENTS: u32 = 1;
const ENABLE_RINGS: u32 = 12;

/// Whether a page is mapped, asked without touching it.
fn is_mapped(address: usize) -> bool {
    // SAFETY: msync touches no memory of ours; it fails with ENOMEM where nothing is mapped.
    unsafe { libc::msync(address as *mut libc::c_void, 4096, libc::MS_ASYNC) == 0 }
}

/// The addresses of all mappings of rings in this process.
fn ring_mappings() -> io::Result<Vec<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let rings = maps.lines().filter(|line| line.contains("[io_uring]"));
    Ok(rings.filter_map(|line| usize::from_str_radix(line.split('-').next()?, 16).ok()).collect())
}

fn refusals(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    lab.nop(1)?;
    let fd = lab.as_raw_fd();
    let answers = fork_run(|| {
        let submit = enter(&fd, 1, 0, 0);
        let wait = enter(&fd, 0, 1, GETEVENTS);
        // SAFETY: the opcode takes no argument.
        let register = unsafe { register::<u8>(fd, ENABLE_RINGS, std::ptr::null_mut(), 0) };
        let refused = [&submit, &wait, &register].map(|answer| failed_with(answer, libc::EEXIST));
        refused.iter().filter(|refused| **refused).count() as i32
    })?;
    report.holds("the child's submit, wait and register: EEXIST", answers == 3);
    report.holds("the parent's entry was not taken by the child", lab.next(LONG)?.tag == 1);
    Ok(())
}

fn mappings(report: &mut Report) -> io::Result<()> {
    let plain = {
        let _ring = build(&IoUring::builder(), 8)?;
        let maps = ring_mappings()?;
        fork_run(|| maps.iter().filter(|map| is_mapped(**map)).count() as i32)? as usize == maps.len()
    };
    report.holds("a ring made without dontfork is mapped in the child", plain);
    let _ring = build(&full_flags(64), 8)?;
    let maps = ring_mappings()?;
    let mapped = fork_run(|| maps.iter().filter(|map| is_mapped(**map)).count() as i32)?;
    let text = format!("of {} mappings with MADV_DONTFORK the child has {mapped}", maps.len());
    report.holds(text, mapped == 0 && !maps.is_empty());
    let pages = Pages::new(4096)?;
    pages.advise(libc::MADV_DONTFORK)?;
    let address = pages.start() as usize;
    let mapped = fork_run(|| i32::from(is_mapped(address)))?;
    report.holds("memory of our own with MADV_DONTFORK: not in the child", mapped == 0);
    Ok(())
}

fn word(report: &mut Report) -> io::Result<()> {
    let word = Pages::new(4096)?;
    word.advise(libc::MADV_WIPEONFORK)?;
    word.poke(0, 7);
    let in_child = fork_run(|| i32::from(word.peek(0)))?;
    let in_grandchild = fork_run(|| {
        word.poke(0, 9);
        fork_run(|| i32::from(word.peek(0))).unwrap_or(-1)
    })?;
    report.holds("a MADV_WIPEONFORK word is 0 in the child", in_child == 0);
    report.holds("and 0 again in a grandchild, whatever the child wrote", in_grandchild == 0);
    report.holds("the parent's word is untouched", word.peek(0) == 7);
    Ok(())
}

/// A child that does nothing holds the ring open, and with it the request and the request's socket.
fn pinned(report: &mut Report) -> io::Result<()> {
    let (near, far) = UnixStream::pair()?;
    let (mut parent, mut child) = UnixStream::pair()?;
    let mut ring = build(&full_flags(64), 8)?;
    let pages = Pages::new(64)?;
    let target = Fd(near.as_raw_fd());
    let recv = opcode::Recv::new(target, pages.start(), 64).build();
    // SAFETY: the pages live until the end of this function, after the child and with it the ring is gone.
    unsafe { ring.submission().push(&recv).map_err(io::Error::other)? };
    ring.submit()?;
    // SAFETY: there is one thread only; the child makes system calls and exits without running handlers.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: closes the child's copy of one descriptor, sets an alarm: no memory involved.
        unsafe { [libc::close(near.as_raw_fd()), libc::alarm(20) as i32] };
        let _ = child.read(&mut [0]);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    drop((ring, near));
    let early = end_of_file(&far, QUIET)?;
    report.holds("parent closed ring and socket, the child has the ring's fd: no end of file", !early);
    parent.write_all(b"x")?;
    // SAFETY: waits for our own child; no status is asked for.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    report.holds("the child is gone: end of file", end_of_file(&far, LONG)?);
    Ok(())
}

/// Whether the other end is gone, or goes within `limit`.
fn end_of_file(mut far: &UnixStream, limit: Duration) -> io::Result<bool> {
    let until = Instant::now() + limit;
    far.set_nonblocking(true)?;
    loop {
        match far.read(&mut [0]) {
            Ok(count) => return Ok(count == 0),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if Instant::now() > until => return Ok(false),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn main() -> Outcome {
    let mut report = Report::new();
    refusals(&mut report)?;
    mappings(&mut report)?;
    word(&mut report)?;
    pinned(&mut report)?;
    Ok(report.finish())
}
