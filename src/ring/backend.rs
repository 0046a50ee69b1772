//! The one seam to the kernel: what a ring needs from whoever executes its ops.
//!
//! Owns the trait and nothing else. [`super::uring::Uring`] is io_uring; a backend that injects faults,
//! simulates or uses epoll fits here without a change above.

use crate::sys::sqe::{Cqe, Sqe};
use std::io;
use std::ptr::NonNull;
use std::time::Duration;

/// How long one `enter` may wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Submit only; do not even run deferred completions.
    SubmitOnly,
    /// Submit and collect what is there.
    No,
    /// Until one completion is there or the time is up; `None` is without limit.
    Until(Option<Duration>),
}

/// Executes submissions. Owned and used by one core's thread.
pub(crate) trait Backend {
    /// Whether the submission queue takes one more entry.
    fn has_room(&self) -> bool;

    /// Queues an entry; false if the submission queue is full.
    fn push(&mut self, sqe: &Sqe) -> bool;

    /// Entries queued and not yet handed to the kernel.
    fn queued(&self) -> usize;

    /// Whether an `enter` would bring completions although none is visible yet (deferred work, overflow).
    fn has_deferred(&self) -> bool;

    /// Whether there are completions that the kernel keeps until there is room. No system call.
    fn has_overflowed(&self) -> bool;

    /// Whether completions are visible that have not been reaped. No system call.
    fn has_visible(&mut self) -> bool;

    /// Hands over what is queued and waits as told. Returns the entries taken. An elapsed time is not an
    /// error.
    fn enter(&mut self, wait: Wait) -> io::Result<usize>;

    /// Copies the visible completions aside and makes room for more. Returns how many have been lost since
    /// the start: those that are kept until there is room do not count.
    fn reap(&mut self, into: &mut Vec<Cqe>) -> u32;

    /// Registers a ring of provided buffers under `group`.
    fn register_buffers(&mut self, memory: NonNull<u8>, entries: u16, group: u16) -> io::Result<()>;

    /// Asks the kernel to cancel everything in flight; the completions still come.
    fn cancel_all(&mut self) -> io::Result<()>;

    /// Limits the kernel's helper threads of this ring and lets them run on `cpus`.
    fn limit_workers(&mut self, bounded: u32, unbounded: u32, cpus: &[usize]) -> io::Result<()>;

    /// Submission and completion entries.
    fn sizes(&self) -> (u32, u32);
}
