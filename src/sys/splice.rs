//! A pipe between two sockets: `splice(2)` moves what one has received to the other without copying it.
//!
//! Owns the pipe, and how much of it is filled. Promises that no call waits, if the sockets are in
//! non-blocking mode: `splice` has a flag for the pipe's side only (kernel-notes/splice-sockets.md). It is
//! not for pipes of users.

use super::{bare_syscall, syscall};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// What a pipe is made to hold: more is more than one look at a core should take. The kernel counts pages
/// and not bytes, and of what comes over a network a page is rarely full.
pub(crate) const CAPACITY: usize = 256 * 1024;
/// What it holds at least (`pipe(7)`), unless its user has so many that the kernel makes small ones.
const USUAL: usize = 64 * 1024;

/// A pipe, empty or with bytes on their way.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty one, close-on-exec and non-blocking.
    ///
    /// # Errors
    /// The kernel's: EMFILE, ENFILE. ENOMEM if the user has so many pipes that this one is too small to be
    /// of use.
    pub(crate) fn new() -> io::Result<Self> {
        let mut ends = [-1; 2];
        syscall!(pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK))?;
        // SAFETY: the kernel has just made these descriptors and nobody else knows their numbers.
        let [read, write] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let fd = write.as_raw_fd();
        // EPERM: the user's pipes hold as many pages as they may. What this one has will do.
        if syscall!(fcntl(fd, libc::F_SETPIPE_SZ, CAPACITY as libc::c_int)).is_err()
            && (syscall!(fcntl(fd, libc::F_GETPIPE_SZ))? as usize) < USUAL
        {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        Ok(Self { read, write, held: 0 })
    }

    /// Bytes in it.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Takes what a socket in non-blocking mode has received, up to [`CAPACITY`]. The pipe is empty. Zero is
    /// the end, or an urgent byte in front of it: `splice` does not pass that, and a receive does.
    ///
    /// # Errors
    /// EAGAIN if there is nothing, or an urgent byte first; EINVAL if this socket cannot do it; the socket's.
    pub(crate) fn fill(&mut self, from: RawFd) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "a full pipe and an empty socket both answer EAGAIN");
        self.held = splice(from, self.write.as_raw_fd(), CAPACITY)?;
        Ok(self.held)
    }

    /// Gives what it holds to a socket in non-blocking mode, or as much as that takes.
    ///
    /// # Errors
    /// EAGAIN if the socket is full; the socket's.
    pub(crate) fn drain(&mut self, to: RawFd) -> io::Result<()> {
        match splice(self.read.as_raw_fd(), to, self.held)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            n => {
                self.held -= n;
                Ok(())
            }
        }
    }

    /// Takes back what it holds.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; self.held];
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            match syscall!(read(self.read.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len())) {
                Ok(n @ 1..) => at += n as usize,
                // The kernel has lost what it was given: there is no more to take.
                _ => break,
            }
        }
        bytes.truncate(at);
        self.held = 0;
        bytes
    }
}

fn splice(from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
    let none = ptr::null_mut::<libc::loff_t>();
    loop {
        match bare_syscall!(SYS_splice(from, none, to, none, len, libc::SPLICE_F_NONBLOCK)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map(|n| n as usize),
        }
    }
}
