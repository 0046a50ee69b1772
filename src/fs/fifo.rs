//! The other end of a FIFO.
//!
//! Owns the open that waits for it, as `open(2)` does. The ring tries an open on the core first, with
//! `O_NONBLOCK`, and takes any answer but EAGAIN for the open's where all names of the path are in the
//! kernel's cache (`io_openat2` in `io_uring/openclose.c`). That opens a FIFO for reading although nobody
//! writes, and fails for writing where nobody reads (`fifo(7)`).
//!
//! # Who waits
//! An open that waits keeps one of the four helper threads that a ring has for files
//! (kernel-notes/io-wq-punts.md), and perhaps the one on which its other end is to be opened. So
//! [`ON_HELPERS`] of the process wait there, where dropping the future ends them, and others on the blocking
//! pool, where such an open goes on, and keeps its thread, until somebody opens the other end.
#![forbid(unsafe_code)]

use super::open::c_path;
use super::ops::Open;
use crate::blocking;
use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::sys::io::{is_pipe, open_at};
use crate::sys::sqe::{Cqe, Sqe, opcode};
use crate::task::JoinHandle;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// Opens what `path` names; a FIFO once it has another end, unless `how` says not to wait.
pub(super) async fn open_by_name(path: &Path, how: libc::open_how) -> io::Result<OwnedFd> {
    let opened = by_ring(path, how, false)?.await;
    let flags = how.flags as libc::c_int;
    if flags & libc::O_NONBLOCK != 0 {
        return opened;
    }
    match opened {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Opening::begin(path, how)?.await,
        Ok(fd) if flags & libc::O_ACCMODE == libc::O_RDONLY && is_pipe(fd.as_raw_fd()) => {
            once_written_to(fd, Opening::begin(path, how)?).await
        }
        opened => opened,
    }
}

fn by_ring(path: &Path, how: libc::open_how, on_helper: bool) -> io::Result<Op<Open>> {
    Ok(Op::new(Open { dir: None, path: c_path(path)?, how: Box::new(how), on_helper }))
}

/// Opens of the process that may wait on helper threads at a time: half of what one ring has.
const ON_HELPERS: usize = 2;

/// A place among them.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        // A count and nothing else: it orders nothing.
        let one_more = |taken| (taken < ON_HELPERS).then_some(taken + 1);
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self)
    }
}

static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open that waits.
enum Opening {
    OnHelper(Op<Open>, Place),
    OnPool(JoinHandle<io::Result<OwnedFd>>),
}

impl Opening {
    fn begin(path: &Path, how: libc::open_how) -> io::Result<Self> {
        if let Some(place) = Place::take() {
            return Ok(Self::OnHelper(by_ring(path, how, true)?, place));
        }
        let path = c_path(path)?;
        Ok(Self::OnPool(blocking::spawn(move || open_at(libc::AT_FDCWD, &path, &how))))
    }
}

impl Future for Opening {
    type Output = io::Result<OwnedFd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::OnHelper(op, _) => Pin::new(op).poll(cx),
            Self::OnPool(job) => Pin::new(job).poll(cx).map(|opened| opened.map_err(io::Error::from)?),
        }
    }
}

/// One of two reading ends of a FIFO, once there is or was a writer. `opening`, which waits, tells of one
/// that has come. It misses one that comes and goes before the kernel has begun with it; that one finds a
/// reader in `early`, and leaves bytes there or the end. The other of the two is closed by then, as far as it
/// can be stopped: as long as it is open it is a reader, to whom somebody may write.
async fn once_written_to(early: OwnedFd, mut opening: Opening) -> io::Result<OwnedFd> {
    let mut readable = Op::new(Readable(early));
    let (is_early, end) = poll_fn(|cx| match Pin::new(&mut readable).poll(cx) {
        Poll::Pending => Pin::new(&mut opening).poll(cx).map(|end| (false, end)),
        Poll::Ready(end) => Poll::Ready((true, end)),
    })
    .await;
    match opening {
        Opening::OnHelper(op, _place) if is_early => stop(op).await,
        _ if is_early => {}
        _ => stop(readable).await,
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
