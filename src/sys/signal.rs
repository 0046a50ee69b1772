//! Signals as writes to an eventfd.
//!
//! Owns one registration with the process-wide, chained handler of `signal-hook-registry`. The handler does
//! one `write(2)`, which is async-signal-safe. No thread's mask changes.

use signal_hook_registry::{SigId, register, unregister};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// An eventfd that counts deliveries of some signals while it lives.
#[derive(Debug)]
pub(crate) struct SignalFd {
    fd: Arc<OwnedFd>,
    registrations: Vec<SigId>,
}

impl SignalFd {
    /// Starts counting.
    ///
    /// # Errors
    /// EINVAL for a signal that cannot be caught; EMFILE.
    pub(crate) fn new(signals: &[i32]) -> io::Result<Self> {
        let fd = super::syscall!(eventfd(0, libc::EFD_CLOEXEC))?;
        // SAFETY: the kernel has just made this descriptor and nobody else knows its number.
        let fd = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
        let mut all = Self { fd, registrations: Vec::new() };
        for &signal in signals {
            if matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
                // The registry would panic.
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            let fd = Arc::clone(&all.fd);
            let count = move || put_back(&fd);
            // SAFETY: the action only calls `write(2)`. errno of the interrupted code is restored by the
            // registry.
            let registered = unsafe { register(signal, count) }?;
            all.registrations.push(registered);
        }
        Ok(all)
    }

    /// The descriptor to read counts from.
    pub(crate) fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }
}

/// Adds one delivery. Async-signal-safe: one `write(2)` on a descriptor that its owner keeps open.
pub(crate) fn put_back(fd: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: the buffer lives for the call.
    unsafe { libc::write(fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

impl Drop for SignalFd {
    fn drop(&mut self) {
        for registration in self.registrations.drain(..) {
            unregister(registration);
        }
    }
}
