//! L1: the wall to the kernel outside the ring.
//!
//! Owns raw system calls, the shape of an SQE and a CQE, descriptors, memory maps and what the machine looks
//! like. Promises that errno becomes an `io::Error` here and nowhere above. It is not the ring: nothing here
//! submits an op.

pub(crate) mod child;
pub(crate) mod cpu;
pub(crate) mod eventfd;
pub(crate) mod fork;
pub(crate) mod io;
pub(crate) mod join;
pub(crate) mod limits;
pub(crate) mod map;
pub(crate) mod page_cache;
pub(crate) mod signal;
pub(crate) mod splice;
pub(crate) mod sqe;
pub(crate) mod topology;

/// Calls a libc function that answers -1 on failure and turns that into the `io::Error` of errno.
macro_rules! syscall {
    ($name:ident($($arg:expr),* $(,)?)) => {{
        // SAFETY: the arguments are checked by the caller's own SAFETY comment or are plain numbers.
        let answer = unsafe { libc::$name($($arg),*) };
        if answer == -1 { Err(std::io::Error::last_os_error()) } else { Ok(answer) }
    }};
}
pub(crate) use syscall;

/// The same by the number of the system call, without libc's own function for it.
///
/// For calls that are made all the time and that libc may take for cancellation points (`pthreads(7)`): in a
/// process with several threads glibc 2.36 makes an atomic read-modify-write before and one after, to note
/// that the thread may be cancelled (kernel-notes/read-nowait.md). Nobody is to be cancelled inside of us.
/// Arguments are passed as they are: an `int` only where the kernel looks at no more of it.
macro_rules! bare_syscall {
    ($number:ident($($arg:expr),* $(,)?)) => {
        $crate::sys::syscall!(syscall(libc::$number, $($arg),*))
    };
}
pub(crate) use bare_syscall;
