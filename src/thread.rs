//! Threads beside the cores.
//!
//! # For the house
//! L5.
#![forbid(unsafe_code)]

use crate::sys::cpu;
use std::thread::JoinHandle;

/// As [`std::thread::spawn`], but the thread may use all CPUs the process started with
/// ([`Pin::Off`](crate::runtime::Pin::Off) says which these are). A thread that a pinned core starts with std
/// inherits the core's one CPU.
///
/// # Panics
/// If the system cannot start a thread.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let cpus = ringwork::thread::spawn(|| std::thread::available_parallelism().unwrap());
/// assert!(cpus.join().unwrap().get() >= 1);
/// # }
/// ```
pub fn spawn<F, T>(run: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    std::thread::spawn(move || {
        unpin();
        run()
    })
}

/// Lets the calling thread use all CPUs the process started with: for threads that others start on a pinned
/// core, first of all. Where the system refuses that, the thread stays where it is.
///
/// On a core it would undo the core's pinning.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let builder = std::thread::Builder::new().name("indexer".to_owned());
/// let thread = builder.spawn(|| {
///     ringwork::thread::unpin();
///     std::thread::available_parallelism().unwrap()
/// });
/// assert!(thread.unwrap().join().unwrap().get() >= 1);
/// # }
/// ```
pub fn unpin() {
    cpu::unpin();
}
