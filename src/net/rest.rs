//! What waits in the kernel at a listener that is about to close.
//!
//! Owns [`Rest`], by which it is taken without waiting and never without end: by the listener's own core
//! (`TcpListener::drain`), and by another one while that is stuck (beside.rs). Both may be at it at once, if
//! a core comes back in the middle: each connection goes to one of them. So the socket stays in non-blocking
//! mode from then on, or one of the two could wait for what the other has taken. It neither ends the accepts
//! in flight nor closes the listener.
#![forbid(unsafe_code)]

use super::bind::BACKLOG;
use super::connected::Connected;
use super::gate::Gate;
use super::listener::{Shared, has_no_room, is_of_the_listener};
use super::single::Accepted;
use crate::sys::{self, fork};
use socket2::SockRef;
use std::io;
use std::os::fd::AsRawFd;

/// How many of those who wait may still be taken.
#[derive(Debug, Default)]
pub(super) struct Rest {
    left: usize,
}

impl Rest {
    /// Those who wait at `shared` now, if it is ours.
    ///
    /// # Errors
    /// If the mode of the socket cannot be changed.
    pub(super) fn of(shared: &Shared) -> io::Result<Self> {
        if !shared.is_ours() {
            // Whether it waits is said by the open socket, which others may hold, too: they could set it back
            // between our look and our accept, and this core would wait there. What is left is theirs.
            return Ok(Self::default());
        }
        SockRef::from(&shared.fd).set_nonblocking(true)?;
        // No more than were waiting when this began: a flood must not keep a server from ending.
        let waiting = sys::io::accept_queue(shared.fd.as_raw_fd()).unwrap_or(0);
        Ok(Self { left: waiting.max(BACKLOG as usize) })
    }

    /// The next of them, as far as the limit of connections and the descriptors have room.
    pub(super) fn next<S: Connected>(&mut self, shared: &Shared, gate: &mut Gate) -> Option<S> {
        while self.left > 0 {
            self.left -= 1;
            if !gate.try_open(shared) {
                break;
            }
            let forks = fork::count();
            match sys::io::accept_now(shared.fd.as_raw_fd()) {
                Ok(fd) => {
                    if shared.is_near_limit(&fd) {
                        self.left = 0;
                    }
                    return Some(gate.admit(Accepted { fd, permit: None, forks }));
                }
                Err(refused) if ends_it(&refused) => break,
                // That was one connection's.
                Err(_) => {}
            }
        }
        self.left = 0;
        None
    }
}

/// Whether an accept that did not wait was refused for a reason that the next one meets as well.
fn ends_it(refused: &io::Error) -> bool {
    let errno = refused.raw_os_error().unwrap_or(libc::EIO);
    refused.kind() == io::ErrorKind::WouldBlock || has_no_room(errno) || is_of_the_listener(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_the_rest_goes_on_behind_what_concerns_one_connection() {
        let ends = |errno| ends_it(&io::Error::from_raw_os_error(errno));
        for errno in [libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::EPERM, libc::EHOSTUNREACH] {
            assert!(!ends(errno), "{errno}");
        }
        for errno in [libc::EAGAIN, libc::EINVAL, libc::EBADF, libc::EMFILE, libc::ENOMEM] {
            assert!(ends(errno), "{errno}");
        }
    }
}
