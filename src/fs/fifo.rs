//! The other end of a FIFO.
//!
//! Owns the open that waits for it, as `open(2)` does. What a name leads to is not known before it is opened,
//! and only an open on the core is one that cannot wait: the kernel gives those that create or empty a file,
//! and those whose path it has not in its cache, to a helper thread, which waits
//! (kernel-notes/io-wq-punts.md). So the first open of a name always says `O_NONBLOCK`. That opens a FIFO for
//! reading although nobody writes, and fails for writing where nobody reads (`fifo(7)`), wherever it runs.
//! What is opened then loses the flag again: reads and writes of it are to wait.
//!
//! Devices are opened with that flag as well, as the kernel does on its own with each open on the core: a
//! serial line does not wait for its carrier. A file that another process has a lease on is not opened so
//! (EAGAIN, `F_SETLEASE` in `fcntl(2)`), and an open that waits for the lease follows.
//!
//! Rejected: to ask what the name leads to first, which costs one more walk, for a new file by a helper
//! thread, and where the path is not cached, before each open.
//!
//! # Who waits
//! An open that waits keeps one of the four helper threads that a ring has for files
//! (kernel-notes/io-wq-punts.md), and perhaps the one on which its other end is to be opened. So
//! [`ON_HELPERS`] of the process wait there. Others keep no thread: one for reading waits for the first byte
//! or the end, which is later than the writer's open, and one for writing looks for a reader from time to
//! time. Rejected for those: the blocking pool, whose threads nothing ends while they wait.
#![forbid(unsafe_code)]

use super::metadata;
use super::open::c_path;
use super::open_cached::open_cached;
use super::ops::Open;
use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::sys::io::{clear_nonblock, is_pipe, open_how};
use crate::sys::sqe::{Cqe, Sqe, opcode};
use crate::time::nap;
use std::ffi::CString;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

/// Opens what `path` names; a FIFO once it has another end, unless `how` says not to wait.
pub(super) async fn open_by_name(path: &Path, how: libc::open_how) -> io::Result<OwnedFd> {
    let flags = how.flags as libc::c_int;
    // `O_PATH` opens nothing, and takes no such flag.
    if flags & (libc::O_NONBLOCK | libc::O_PATH) != 0 {
        return by_ring(path, how, false)?.await;
    }
    match at_once(path, how).await {
        // A socket and a device without a driver answer so, too, and always will.
        Err(error) if is_nobody_there(&error) && is_fifo(path).await => opened_for_writing(path, how).await,
        Ok(fd) if flags & libc::O_ACCMODE == libc::O_RDONLY && is_pipe(fd.as_raw_fd()) => {
            opened_for_reading(fd, how).await
        }
        opened => opened,
    }
}

/// Opens without waiting for another end. What is opened waits like any other.
async fn at_once(path: &Path, how: libc::open_how) -> io::Result<OwnedFd> {
    let mut without_waiting = how;
    without_waiting.flags |= libc::O_NONBLOCK as u64;
    loop {
        let opened = match open_cached(libc::AT_FDCWD, &c_path(path)?, without_waiting).await {
            Some(opened) => opened,
            None => by_ring(path, without_waiting, false)?.await,
        };
        match opened {
            // Not of a FIFO: a lease, which has been asked back by that, or a device that is taken.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                if let Some(_place) = Place::take() {
                    return by_ring(path, how, false)?.await;
                }
                nap(BETWEEN_LOOKS).await?;
            }
            opened => {
                let fd = opened?;
                clear_nonblock(fd.as_raw_fd())?;
                return Ok(fd);
            }
        }
    }
}

/// Whether an open for writing has found no reader (`fifo(7)`), if it was of a FIFO.
fn is_nobody_there(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

async fn is_fifo(path: &Path) -> bool {
    metadata(path).await.is_ok_and(|metadata| metadata.file_type().is_fifo())
}

fn by_ring(path: &Path, how: libc::open_how, on_helper: bool) -> io::Result<Op<Open>> {
    Ok(Op::new(Open { dir: None, path: c_path(path)?, how: Box::new(how), on_helper }))
}

/// Opens of the process that may wait on helper threads at a time: half of what one ring has.
const ON_HELPERS: usize = 2;
/// Between two looks for a reader.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

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

/// The writing end, once there is a reader.
async fn opened_for_writing(path: &Path, how: libc::open_how) -> io::Result<OwnedFd> {
    if let Some(_place) = Place::take() {
        return by_ring(path, how, true)?.await;
    }
    loop {
        nap(BETWEEN_LOOKS).await?;
        match at_once(path, how).await {
            Err(error) if is_nobody_there(&error) => {}
            opened => return opened,
        }
    }
}

/// One of two reading ends of a FIFO, once there is or was a writer. An open that waits tells of one that has
/// come. It misses one that comes and goes before the kernel has begun with it; that one finds a reader in
/// `early`, and leaves bytes there or the end. The other of the two is closed by then: as long as it is open
/// it is a reader, to whom somebody may write.
///
/// Nor does the second one look at the name: to a writer that has found `early` the FIFO is open, and the
/// name may be gone, or another file's. Where it cannot be opened (no descriptor is left, there is no
/// `/proc`) `early` is good, which tells with the first byte.
async fn opened_for_reading(early: OwnedFd, how: libc::open_how) -> io::Result<OwnedFd> {
    let early = Arc::new(early);
    let mut readable = Op::new(Readable(Arc::clone(&early)));
    if let Some(_place) = Place::take() {
        let mut opening = opened_again(&early, how)?;
        let first = poll_fn(|cx| match Pin::new(&mut readable).poll(cx) {
            Poll::Pending => Pin::new(&mut opening).poll(cx).map(Ok),
            Poll::Ready(answer) => Poll::Ready(Err(answer)),
        })
        .await;
        match first {
            Err(answer) => {
                stop(opening).await;
                answer?;
                return sole(early);
            }
            Ok(Ok(end)) => {
                stop(readable).await;
                return Ok(end);
            }
            Ok(Err(_)) => {}
        }
    }
    readable.await?;
    sole(early)
}

/// An open of what is open already, which waits for its other end.
fn opened_again(early: &Arc<OwnedFd>, how: libc::open_how) -> io::Result<Op<Open>> {
    const OF_A_NAME: libc::c_int = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_TRUNC;
    let path = CString::new(format!("/proc/thread-self/fd/{}", early.as_raw_fd()))?;
    let how = Box::new(open_how(how.flags as libc::c_int & !OF_A_NAME, 0, 0));
    // The op keeps `early` open.
    Ok(Op::new(Open { dir: Some(Arc::clone(early)), path, how, on_helper: true }))
}

/// The end itself, which no op has any more.
fn sole(early: Arc<OwnedFd>) -> io::Result<OwnedFd> {
    Arc::try_unwrap(early).or_else(|early| early.try_clone())
}

/// Stops an op; no descriptor of its own is open any more by then.
async fn stop<P: Operation>(op: Op<P>) {
    // One that has not begun would begin now.
    if op.cell().is_some() {
        op.cancel();
        drop(op.await);
    }
}

/// A poll until there is something to read, the end included.
struct Readable(Arc<OwnedFd>);

impl Operation for Readable {
    const OPCODE: u8 = opcode::POLL_ADD;
    type Output = io::Result<()>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        Sqe::poll(self.0.as_raw_fd(), libc::POLLIN)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}
