//! Opens on the spot of what the kernel has in its cache.
//!
//! A ring opens a path of which every name is cached within the enter that submits it, on the core, and gives
//! any other to a helper thread (kernel-notes/openat2-beneath.md). A system call of its own does the same and
//! spares the op: a cell, a completion, a wake and a poll. So it is tried first, and what the cache does not
//! know goes through the ring.
//!
//! That the path is cached says nothing of the open itself: a file system of a network or of FUSE may have to
//! ask somebody, and the core waits, by either way.
#![forbid(unsafe_code)]

use crate::base::coop;
use crate::ring::with_current;
use crate::sys::io::open_at;
use std::ffi::CStr;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

/// Whether this thread is a core whose ring takes ops. Elsewhere it is as with every other op.
pub(super) fn is_on_core() -> bool {
    with_current(|ring| ring.is_some_and(|ring| ring.refusal().is_none()))
}

/// Opens `path`, from `dir` if it is relative, and without waiting for what it leads to: `how` says
/// `O_NONBLOCK`. `None` if that is for the ring.
pub(super) async fn open_cached(
    dir: RawFd,
    path: &CStr,
    mut how: libc::open_how,
) -> Option<io::Result<OwnedFd>> {
    // What creates or empties a file is never done so (`openat2(2)`).
    let changes = how.flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0;
    if changes || !is_on_core() {
        return None;
    }
    how.resolve |= libc::RESOLVE_CACHED;
    let opened = open_at(dir, path, &how);
    if opened.as_ref().is_err_and(is_for_the_ring) {
        return None;
    }
    coop::consume_budget().await;
    Some(opened)
}

/// Whether an answer on the spot says nothing of the file: the path is not cached, or the file has a lease on
/// it; a signal came while somebody was asked; a kernel before 5.12 does not know the flag; or a filter
/// forbids the call, as those do that are older than it, and lets rings be used.
fn is_for_the_ring(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(errno, Some(libc::EAGAIN | libc::EINTR | libc::EINVAL | libc::EPERM | libc::ENOSYS))
}
