//! Signals as writes to an eventfd.
//!
//! Owns one registration with the process-wide, chained handler of `signal-hook-registry`. The handler does
//! one `write(2)`, which is async-signal-safe. No thread's mask changes.
//!
//! A forked child inherits the handler and shares the eventfd, so without more its signals would be counted
//! as its parent's: those of every child between fork and exec, too. So who made the eventfd is kept beside
//! it, and who is not that process counts nothing.

use signal_hook_registry::{SigId, register, unregister};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// Counts deliveries.
#[derive(Debug)]
pub(crate) struct Count {
    fd: OwnedFd,
    /// The process whose deliveries these are.
    owner: libc::pid_t,
}

impl Count {
    fn new() -> io::Result<Self> {
        let fd = super::syscall!(eventfd(0, libc::EFD_CLOEXEC))?;
        // SAFETY: the kernel has just made this descriptor and nobody else knows its number.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, owner: this_process() })
    }

    /// Adds one delivery, in the process that counts them. Async-signal-safe: a `getpid(2)` and a `write(2)`
    /// on a descriptor that its owner keeps open.
    pub(crate) fn add(&self) {
        if this_process() != self.owner {
            return;
        }
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer lives for the call.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl AsRawFd for Count {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn this_process() -> libc::pid_t {
    // SAFETY: a system call without memory.
    unsafe { libc::getpid() }
}

/// An eventfd that counts deliveries of some signals while it lives.
#[derive(Debug)]
pub(crate) struct SignalFd {
    count: Arc<Count>,
    registrations: Vec<SigId>,
}

impl SignalFd {
    /// Starts counting.
    ///
    /// # Errors
    /// EINVAL for a signal that cannot be caught; EMFILE.
    pub(crate) fn new(signals: &[i32]) -> io::Result<Self> {
        let mut all = Self { count: Arc::new(Count::new()?), registrations: Vec::new() };
        for &signal in signals {
            if matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
                // The registry would panic.
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            let count = Arc::clone(&all.count);
            // SAFETY: the action is async-signal-safe. errno of the interrupted code is restored by the
            // registry.
            let registered = unsafe { register(signal, move || count.add()) }?;
            all.registrations.push(registered);
        }
        Ok(all)
    }

    /// What to read deliveries from.
    pub(crate) fn count(&self) -> &Arc<Count> {
        &self.count
    }
}

impl Drop for SignalFd {
    fn drop(&mut self) {
        for registration in self.registrations.drain(..) {
            unregister(registration);
        }
    }
}
