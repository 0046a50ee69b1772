//! Whether this kernel tells a multishot receive of the end of a stream right behind its last bytes.
//!
//! Owns the trial, made once per process on the first ring of its first runtime, and its answer. A kernel
//! that wakes a receive for both at once and then looks only once gives the bytes and loses the end, and the
//! receive waits for ever (kernel-notes/multishot-end.md). What to do then is the receive's (`net::ops`).
//!
//! What could not be tried, for want of descriptors or because a filter forbids it, counts as lost: the price
//! is a system call for each message, and no stream hangs.

use super::probe::{Trials, recv_byte, recv_multi};
use super::uring::Uring;
use crate::sys::io::has_hung_up;
use crate::sys::sqe::Cqe;
use socket2::SockRef;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

/// How long the loopback device is given, in milliseconds. It needs none of it.
const PATIENCE: u8 = 50;

static TOLD: OnceLock<Option<bool>> = OnceLock::new();

/// Whether a multishot receive that waits tells of every end.
#[inline]
pub(crate) fn tells_ends() -> bool {
    known() == Some(true)
}

/// The same; `None` if that could not be tried.
pub(crate) fn known() -> Option<bool> {
    TOLD.get().copied().flatten()
}

/// Finds it out, unless that has been done, on a ring of the calling thread on which nothing is in flight.
///
/// # Errors
/// If something may still complete on the ring.
pub(super) fn find_out(ring: &mut Uring) -> io::Result<()> {
    let mut ended = Ok(());
    TOLD.get_or_init(|| {
        let mut trials = Trials::on(ring);
        let tells = trials.provide().and_then(|()| tells(&mut trials));
        ended = trials.end();
        tells.ok()
    });
    ended
}

/// Tries it on sockets that have no end among the bytes they say are unread, which is what makes the kernel
/// look again by itself: Unix sockets, and where these say nothing at all of what is unread (before 6.17), a
/// TCP socket with a reset.
fn tells(trials: &mut Trials<'_>) -> io::Result<bool> {
    Ok(unix_tells(trials)? && (unix_hints(trials)? || tcp_tells(trials)?))
}

fn unix_tells(trials: &mut Trials<'_>) -> io::Result<bool> {
    let (near, far) = UnixStream::pair()?;
    tells_on(trials, &near, far)
}

/// Whether a Unix socket says that it has more than was received.
fn unix_hints(trials: &mut Trials<'_>) -> io::Result<bool> {
    let (near, mut far) = UnixStream::pair()?;
    far.write_all(b"!!")?;
    trials.first_completion(recv_byte(&near)).map(Cqe::sock_nonempty)
}

fn tcp_tells(trials: &mut Trials<'_>) -> io::Result<bool> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let patience = Duration::from_millis(PATIENCE.into());
    let far = TcpStream::connect_timeout(&listener.local_addr()?, patience)?;
    let (near, who) = listener.accept()?;
    if who != far.local_addr()? {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    far.set_nodelay(true)?;
    SockRef::from(&far).set_linger(Some(Duration::ZERO))?;
    tells_on(trials, &near, far)
}

/// Arms a receive, lets a byte come and the end behind it, and only then has the ring look.
fn tells_on(trials: &mut Trials<'_>, near: &impl AsRawFd, mut far: impl Write) -> io::Result<bool> {
    let meanwhile = || {
        far.write_all(b"!")?;
        drop(far);
        let has_come = has_hung_up(near.as_raw_fd(), PATIENCE);
        has_come.then_some(()).ok_or(io::ErrorKind::TimedOut.into())
    };
    let completions = trials.completions_after(recv_multi(near), meanwhile)?;
    match completions.first() {
        Some(byte) if byte.res == 1 => Ok(completions.iter().any(|cqe| !cqe.more())),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::setup::Sizes;

    #[test]
    fn it_can_be_tried_on_sockets_of_each_kind_and_leaves_the_ring_as_it_was() {
        let mut ring = Uring::new(Sizes::MIN).unwrap();
        let mut trials = Trials::on(&mut ring);
        trials.provide().unwrap();
        // What they say is this kernel's. That they say something is ours.
        unix_tells(&mut trials).unwrap();
        unix_hints(&mut trials).unwrap();
        tcp_tells(&mut trials).unwrap();
        trials.end().unwrap();
        find_out(&mut ring).unwrap();
        assert!(known().is_some());
    }
}
