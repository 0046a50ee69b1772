//! The other end of a FIFO.
//!
//! Owns the open that waits for it, as `open(2)` does. The ring tries an open on the core first, with
//! `O_NONBLOCK`, and takes any answer but EAGAIN for the open's where all names of the path are in the
//! kernel's cache (`io_openat2` in `io_uring/openclose.c`). That opens a FIFO for reading although nobody
//! writes, and fails for writing where nobody reads (`fifo(7)`).
#![forbid(unsafe_code)]

use super::open::c_path;
use super::ops::Open;
use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::sys::io::is_pipe;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

/// Opens what `path` names; a FIFO once it has another end, unless `how` says not to wait.
pub(super) async fn open_by_name(path: &Path, how: libc::open_how) -> io::Result<OwnedFd> {
    let open = |on_helper| -> io::Result<_> {
        Ok(Op::new(Open { dir: None, path: c_path(path)?, how: Box::new(how), on_helper }))
    };
    let opened = open(false)?.await;
    let flags = how.flags as libc::c_int;
    if flags & libc::O_NONBLOCK != 0 {
        return opened;
    }
    match opened {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => open(true)?.await,
        Ok(fd) if flags & libc::O_ACCMODE == libc::O_RDONLY && is_pipe(fd.as_raw_fd()) => {
            once_written_to(fd, open(true)?).await
        }
        opened => opened,
    }
}

/// One of two reading ends of a FIFO, once there is or was a writer. `opening`, which waits, tells of one
/// that has come. It misses one that comes and goes before the kernel has begun with it; that one finds a
/// reader in `early`, and leaves bytes there or the end. The other of the two is closed by then: as long as
/// it is open it is a reader, to whom somebody may write.
async fn once_written_to(early: OwnedFd, mut opening: Op<Open>) -> io::Result<OwnedFd> {
    let mut readable = Op::new(Readable(early));
    let (is_early, end) = poll_fn(|cx| match Pin::new(&mut readable).poll(cx) {
        Poll::Pending => Pin::new(&mut opening).poll(cx).map(|end| (false, end)),
        Poll::Ready(end) => Poll::Ready((true, end)),
    })
    .await;
    if is_early {
        stop(opening).await
    } else {
        stop(readable).await
    }
    end
}

/// Stops an op; no descriptor of its own is open any more by then.
async fn stop<P: Operation>(op: Op<P>) {
    // One that has not begun would begin now.
    if op.cell().is_some() {
        op.cancel();
        drop(op.await);
    }
}

/// A poll until there is something to read, the end included; gives back what it has looked at.
struct Readable(OwnedFd);

impl Operation for Readable {
    const OPCODE: u8 = opcode::POLL_ADD;
    type Output = io::Result<OwnedFd>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        // POLLIN fits either way on big-endian.
        Sqe::new(Self::OPCODE, self.0.as_raw_fd()).op_flags(libc::POLLIN as u32)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(|_| self.0)
    }
}
