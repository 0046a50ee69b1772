//! The doorbell's eventfd.
//!
//! Owns one counter descriptor that is written and never read: the core's ring watches it with a multishot
//! poll, and every write posts a completion (kernel-notes/wake.md).

use super::{bare_syscall, syscall};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// An eventfd that is only ever written.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// A fresh one, close-on-exec and non-blocking.
    pub(crate) fn new() -> io::Result<Self> {
        let fd = syscall!(eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
        // SAFETY: the kernel has just made this descriptor and nobody else knows its number.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds one. If the counter is full (2^64 - 2 rings undrained) it is read once to make room.
    pub(crate) fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        while let Err(error) = bare_syscall!(SYS_write(self.0.as_raw_fd(), one.as_ptr(), one.len())) {
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => {
                    let mut full = [0u8; 8];
                    let _ = syscall!(read(self.0.as_raw_fd(), full.as_mut_ptr().cast(), full.len()));
                }
                _ => return,
            }
        }
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
