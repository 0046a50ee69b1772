//! The other floor of a proxy that carries bytes in bulk: an edge-triggered epoll loop that moves them from
//! socket to socket through a pipe with `splice(2)` and copies nothing. A pipe takes more only when it is
//! empty, because a full one answers like an empty socket. All else is in `pair.rs`.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;

use nix::errno::Errno;

use super::pair::{End, Proxy, Way, unless_blocked};
use super::{Job, PerCore, Seat, ready};

/// Asked of a socket at once: more than a pipe holds.
const PIECE: usize = 1 << 20;

/// An epoll loop per core.
pub(crate) struct Splicing;

impl PerCore for Splicing {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        let Job::Proxy { upstream, .. } = job else {
            return Err(io::Error::other("the floor that splices is a proxy and nothing else"));
        };
        ready::run(&seat.listen_near()?, &mut Proxy::<Pipe>::new(upstream, ()))
    }
}

/// A pipe from one socket to the other.
struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
    /// Bytes in it.
    held: usize,
}

impl Way for Pipe {
    type Shared = ();

    fn new() -> io::Result<Pipe> {
        let (reader, writer) = io::pipe()?;
        Ok(Pipe { reader, writer, held: 0 })
    }

    fn is_empty(&self) -> bool {
        self.held == 0
    }

    fn carry(&mut self, from: &mut End, to: &mut End, (): &mut ()) -> io::Result<bool> {
        match unless_blocked(splice(&from.socket, &self.writer, PIECE), &mut from.readable)? {
            Some(0) => Ok(true),
            filled => {
                self.held = filled.unwrap_or(0);
                if self.held > 0 { self.flush(to).map(|()| false) } else { Ok(false) }
            }
        }
    }

    fn flush(&mut self, to: &mut End) -> io::Result<()> {
        let drained = unless_blocked(splice(&self.reader, &to.socket, self.held), &mut to.writable)?;
        self.held -= drained.unwrap_or(0);
        Ok(())
    }
}

fn splice(from: &impl AsFd, to: &impl AsFd, len: usize) -> io::Result<usize> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: both descriptors are open for as long as they are borrowed, and the call takes no memory of
    // ours.
    let moved = unsafe { libc::splice(from, null_mut(), to, null_mut(), len, flags) };
    Ok(Errno::result(moved)? as usize)
}
