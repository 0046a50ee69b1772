//! Whether this kernel tells of the end of a stream that comes right behind its last bytes.
//!
//! Owns the trial, made once per process where it is first asked for ([`tells_ends`]), and its answer. A
//! kernel that wakes a multishot receive for both at once and then looks only once gives the bytes and loses
//! the end, and the receive waits for ever (kernel-notes/multishot-end.md). What to do then is the receive
//! side's (`net::flow`).
//!
//! What could not be tried, for want of memory, of descriptors or of a loopback device, counts as lost: the
//! price is an op for each receive, and no stream hangs.

use super::probe::{Trials, provide_one, recv_multi};
use super::setup::Sizes;
use super::uring::Uring;
use crate::sys::sqe::Cqe;
use nix::poll::{PollFd, PollFlags, poll};
use socket2::SockRef;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

/// How long the loopback device is given, in milliseconds. It needs none of it.
const PATIENCE_MS: u16 = 50;

/// Whether a multishot receive tells of every end. Asked by a core; the first time takes a tenth of a
/// millisecond.
pub(crate) fn tells_ends() -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS.get_or_init(|| {
        let answers = [tcp_tells(), unix_tells()];
        answers.iter().any(Result::is_ok) && !answers.iter().any(|tells| matches!(tells, Ok(false)))
    })
}

/// Tries it with a reset, for which a TCP socket has no byte left to read. (For a close it has: the hint of
/// unread bytes counts the end.)
fn tcp_tells() -> io::Result<bool> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let patience = Duration::from_millis(PATIENCE_MS.into());
    let far = TcpStream::connect_timeout(&listener.local_addr()?, patience)?;
    let (near, who) = listener.accept()?;
    if who != far.local_addr()? {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    far.set_nodelay(true)?;
    SockRef::from(&far).set_linger(Some(Duration::ZERO))?;
    tells(&near, far)
}

/// Tries it with a close. Unix sockets count their unread bytes since Linux 6.17, and no end; without a count
/// the kernel looks again and again.
fn unix_tells() -> io::Result<bool> {
    let (near, far) = UnixStream::pair()?;
    tells(&near, far)
}

/// Arms a receive, lets a byte come and the end behind it, and only then has the ring look.
///
/// There is one buffer. A kernel that looks again for want of another one says so, which is as good as the
/// end.
fn tells<N: AsFd + AsRawFd, F: Write>(near: &N, mut far: F) -> io::Result<bool> {
    let mut ring = Uring::for_now(Sizes::MIN)?;
    let provided = provide_one(&mut ring)?;
    let mut trials = Trials::on(&mut ring);
    let tried = (|| {
        trials.begin(recv_multi(near))?;
        far.write_all(b"!")?;
        drop(far);
        let mut end = [PollFd::new(near.as_fd(), PollFlags::POLLHUP)];
        if poll(&mut end, PATIENCE_MS)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        trials.completed()
    })();
    if !trials.end() {
        // The kernel may still write into it: it is never unmapped.
        std::mem::forget(provided);
    }
    let tried: Vec<Cqe> = tried?;
    match tried.first() {
        Some(bytes) if bytes.res == 1 => Ok(tried.iter().any(|cqe| !cqe.more())),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_streams_can_be_tried() {
        // What they say is this kernel's. That they can be tried on any that gives us a ring is ours.
        tcp_tells().unwrap();
        unix_tells().unwrap();
    }
}
