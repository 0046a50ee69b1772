//! Signals as writes to an eventfd.
//!
//! Owns one registration with the process-wide, chained handler of `signal-hook-registry`. The handler does
//! one `write(2)`, which is async-signal-safe. No thread's mask changes.
//!
//! A forked child inherits the handler and shares the eventfd, so without more its signals would be counted
//! as its parent's: those of every child between fork and exec, too. So whose the eventfd is is kept beside
//! it, and a process that it does not belong to counts nothing. A child that listens itself (it was forked
//! before there was a runtime, and has one of its own) gets an eventfd of its own under the same number.

use super::fork;
use signal_hook_registry::{SigId, register, unregister};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts deliveries.
#[derive(Debug)]
pub(crate) struct Count {
    fd: OwnedFd,
    /// The process whose deliveries these are ([`Self::this_process`]).
    owner: AtomicU64,
}

impl Count {
    fn new() -> io::Result<Self> {
        Ok(Self { fd: eventfd()?, owner: AtomicU64::new(Self::this_process(fork::give_name()?)) })
    }

    /// Somebody listens in this process: what it is sent is counted from here on, if it was not before.
    ///
    /// # Errors
    /// EMFILE.
    pub(crate) fn claim(&self) -> io::Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        // Two that begin to listen at once must have the same eventfd. Only a child's first ones come here.
        static CLAIMING: Mutex<()> = Mutex::new(());
        let _claiming = CLAIMING.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_ours() {
            let (own, name) = (eventfd()?, fork::give_name()?);
            // The number stays that of the parent's descriptor, which is another one in the parent.
            super::syscall!(dup3(own.as_raw_fd(), self.fd.as_raw_fd(), libc::O_CLOEXEC))?;
            // Release: who sees it counts in the new one.
            self.owner.store(Self::this_process(name), Ordering::Release);
        }
        Ok(())
    }

    fn is_ours(&self) -> bool {
        self.owner.load(Ordering::Acquire) == Self::this_process(fork::name())
    }

    /// By the name, which a child that has memory of its own does not have, and by the number, which one that
    /// still shares its parent's (`vfork(2)`) does not have. One alone is not enough: in a PID namespace of
    /// its own a child may have its parent's number.
    fn this_process(name: u32) -> u64 {
        // SAFETY: a system call without memory.
        let number = unsafe { libc::getpid() };
        u64::from(name) << 32 | u64::from(number.cast_unsigned())
    }

    /// Adds one delivery, in the process that counts them. Async-signal-safe: a `getpid(2)` and a `write(2)`
    /// on a descriptor that its owner keeps open.
    pub(crate) fn add(&self) {
        if !self.is_ours() {
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

fn eventfd() -> io::Result<OwnedFd> {
    let fd = super::syscall!(eventfd(0, libc::EFD_CLOEXEC))?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn number() -> libc::pid_t {
        // SAFETY: a system call without memory.
        unsafe { libc::getpid() }
    }

    /// Has the children of this thread in a PID namespace of their own, of which the next one is number 1;
    /// false if that is not allowed here.
    fn unshare() -> bool {
        // SAFETY: a call without memory.
        unsafe { libc::unshare(libc::CLONE_NEWPID) == 0 }
    }

    /// As in a container, where the program is number 1, and so is one that it locks up further.
    fn counts_its_own_only() -> bool {
        let Ok(signals) = SignalFd::new(&[libc::SIGHUP]) else { return false };
        let is_sent_to_another = unshare() && fork::in_a_child(|| number() == 1 && hang_up());
        let is_untold = !is_told(&signals);
        number() == 1 && is_sent_to_another && is_untold && hang_up() && is_told(&signals)
    }

    fn is_told(signals: &SignalFd) -> bool {
        let mut asked = libc::pollfd { fd: signals.count().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives for the call.
        unsafe { libc::poll(&raw mut asked, 1, 0) == 1 }
    }

    fn hang_up() -> bool {
        // SAFETY: the handler does nothing but count.
        unsafe { libc::raise(libc::SIGHUP) == 0 }
    }

    #[test]
    fn a_signal_to_a_child_that_has_its_parents_number_is_not_its_parents() {
        // On a thread of its own: this one could start no others behind that.
        let tested = std::thread::spawn(|| unshare().then(|| fork::in_a_child(counts_its_own_only)));
        match tested.join().unwrap() {
            Some(holds) => assert!(holds),
            None => eprintln!("not tested: no namespaces may be made here"),
        }
    }
}
