//! What the experiments share: a report that states what held, a small ring to try things on, raw ring
//! calls, scratch files. It promises that an experiment ends (an alarm stands behind every wait) and that no
//! memory lent to the kernel is freed before its last completion. It is not part of ringwork and must not be
//! used by it: it shows the kernel with nothing of ours in between.

mod cpu;
mod errno;
mod lab;
mod pages;
mod raw;
mod report;
mod scratch;

pub use cpu::{cpu_set, cpus_allowed, mask_of, pin};
pub use errno::name as errno_name;
pub use lab::{Cqe, Lab, build, full_flags};
pub use pages::Pages;
pub use raw::{Params, enter, fork_run, register, setup, threads_of_io_wq};
pub use report::Report;
pub use scratch::Scratch;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

/// What every experiment's `main` returns.
pub type Outcome = io::Result<ExitCode>;

/// Long enough for a loaded machine to do what it was asked to do.
pub const LONG: Duration = Duration::from_secs(5);

/// How long we look before we say that nothing came.
pub const QUIET: Duration = Duration::from_millis(100);

/// Two ends of one TCP connection over the loopback device.
pub fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// Sets an option of a socket.
pub fn set_option<T>(socket: &impl AsRawFd, level: i32, name: i32, value: T) -> io::Result<()> {
    let (fd, from) = (socket.as_raw_fd(), std::ptr::from_ref(&value).cast());
    // SAFETY: `from` points at a live value of the length given; the call copies it.
    match unsafe { libc::setsockopt(fd, level, name, from, size_of::<T>() as u32) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The error number inside an error, 0 where there is none.
pub fn code(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Whether a call failed with exactly this error number.
pub fn failed_with<T>(result: &io::Result<T>, errno: i32) -> bool {
    matches!(result, Err(error) if code(error) == errno)
}

/// A result in a form to print: the value or the name of the error.
pub fn shown<T: std::fmt::Display>(result: &io::Result<T>) -> String {
    match result {
        Ok(value) => format!("ok {value}"),
        Err(error) => errno_name(code(error)),
    }
}
