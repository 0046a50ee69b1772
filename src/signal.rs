//! Signals as futures: [`shutdown`] and [`ctrl_c`], which everybody wants, and [`Signal`] for the others.
//!
//! The first listener for a signal replaces its default action for the rest of the process's life, as with
//! every signal library; handlers that others installed are still called. A forked child that does not exec
//! keeps this: a signal sent to it does nothing there, and is not taken for its parent's. If it may have a
//! runtime of its own (it was forked before there was one), it listens from its first `recv` on.
//!
//! # For the house
//! L5.
#![forbid(unsafe_code)]

pub mod unix;

use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::ring::transfer::Inward;
use crate::sys::signal::{Count, SignalFd};
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Reads the count of a signal's deliveries.
struct ReadCount {
    count: Arc<Count>,
    into: Inward<[u8; 8]>,
}

impl Operation for ReadCount {
    const OPCODE: u8 = opcode::READ;
    type Output = io::Result<()>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        self.into.describe(Sqe::new(Self::OPCODE, self.count.as_raw_fd()))
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }

    fn orphaned(self, cqe: Cqe) {
        // The count was taken for a future that is gone: the next one finds it.
        if cqe.result().is_ok() {
            self.count.add();
        }
    }
}

/// Listens for one or more signals from the moment it is made.
///
/// ```no_run
/// use ringwork::signal::Signal;
/// # async fn example() -> std::io::Result<()> {
/// let hangup = Signal::new(&[libc::SIGHUP])?;
/// loop {
///     hangup.recv().await?;
///     println!("reloading");
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Signal {
    source: SignalFd,
}

impl Signal {
    /// Starts listening.
    ///
    /// # Errors
    /// EINVAL for a signal that cannot be caught (SIGKILL, SIGSTOP); EMFILE.
    ///
    /// # Panics
    /// For a signal that may not be handled (SIGSEGV, SIGILL, SIGFPE), as `signal-hook-registry` does.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        SignalFd::new(signals).map(|source| Self { source })
    }

    /// Waits until one of the signals has come since the last call. Several deliveries may be seen as one.
    ///
    /// # Errors
    /// If the runtime is going down; EMFILE at the first call in a forked child.
    pub async fn recv(&self) -> io::Result<()> {
        self.source.count().claim()?;
        Op::new(ReadCount { count: Arc::clone(self.source.count()), into: Inward::new([0; 8]) }).await
    }
}

/// Waits for SIGINT (ctrl-c). Listens from the moment of the call.
///
/// # Errors
/// If the signal cannot be listened for.
pub fn ctrl_c() -> impl Future<Output = io::Result<()>> + Send {
    once(&[libc::SIGINT])
}

/// Waits for SIGINT or SIGTERM: somebody wants this process to end. Listens from the moment of the call, so
/// call it before saying that the service is ready.
///
/// # Errors
/// If the signals cannot be listened for.
pub fn shutdown() -> impl Future<Output = io::Result<()>> + Send {
    once(&[libc::SIGINT, libc::SIGTERM])
}

fn once(signals: &[i32]) -> impl Future<Output = io::Result<()>> + Send + use<> {
    let signal = Signal::new(signals);
    async move { signal?.recv().await }
}
