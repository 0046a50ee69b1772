//! Descriptors that ops bring.
//!
//! Owns the one step from a completion's number to a descriptor that closes itself, so that the rooms above
//! need no unsafe code and an orphaned accept or open leaks nothing.

use crate::sys::io::adopt;
use crate::sys::sqe::Cqe;
use std::io;
use std::os::fd::OwnedFd;

/// The descriptor that the completion of an accept or open carries. Called once per completion.
///
/// # Errors
/// The op's.
pub(crate) fn descriptor(cqe: Cqe) -> io::Result<OwnedFd> {
    let fd = cqe.result()?;
    // SAFETY: the kernel made this descriptor for this completion, and each completion is handed out once.
    Ok(unsafe { adopt(fd as i32) })
}
