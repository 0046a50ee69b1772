//! The close of a socket with a linger time: who waits, and what becomes of the bytes. It promises that order
//! and those bytes, and takes times only to see who waits at all.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use kernel_notes::{Outcome, Report, tcp_pair};

const SECONDS: i32 = 1;

/// `SO_LINGER`; none for off.
fn linger(socket: &TcpStream, seconds: Option<i32>) -> io::Result<()> {
    let value = libc::linger { l_onoff: seconds.is_some().into(), l_linger: seconds.unwrap_or(0) };
    let len = size_of_val(&value) as libc::socklen_t;
    let (fd, at) = (socket.as_raw_fd(), (&raw const value).cast());
    // SAFETY: the value lives for the call, and is as long as that says.
    match unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, at, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Fills the near end, closes it, and only then reads at the far end: how long the close took, and whether
/// all came.
fn run(take_back: bool) -> io::Result<(Duration, bool)> {
    let (mut near, mut far) = tcp_pair()?;
    linger(&near, Some(SECONDS))?;
    near.set_nonblocking(true)?;
    let mut sent = 0;
    while let Ok(count) = near.write(&[7; 64 << 10]) {
        sent += count;
    }
    if take_back {
        linger(&near, None)?;
    }
    let start = Instant::now();
    thread::spawn(move || drop(near)).join().expect("a close does not panic");
    let took = start.elapsed();
    let mut got = Vec::new();
    let ended = far.read_to_end(&mut got);
    Ok((took, ended.is_ok() && got.len() == sent))
}

fn main() -> Outcome {
    let mut report = Report::new();
    let time = Duration::from_secs(SECONDS as u64);
    let (took, all) = run(false)?;
    report.holds("a close waits while the peer does not read", took >= time);
    report.holds("and the peer that reads after its time gets all, and the end", all);
    let (took, all) = run(true)?;
    report.holds("with the time taken back it does not wait", took < time);
    report.holds("and the peer that reads afterwards gets all, and the end", all);
    Ok(report.finish())
}
