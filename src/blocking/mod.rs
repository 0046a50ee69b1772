//! L3, the blocking pool: threads for calls that block, and for work that would hold a core for long.
//!
//! Owns the threads, the queue in front of them and the two lanes: *short* jobs are calls that mostly wait,
//! *heavy* jobs use a CPU and run no wider than the CPUs we were given. Each lane has its own bound on how
//! many run at once, and no lane waits for the other, as long as the system gives threads. A job is a task
//! ([`crate::task`]) whose one poll is the call, so its output, panics and aborts reach the caller through an
//! ordinary `JoinHandle`, and the wake that follows goes home through the inbox like any other. The pool
//! never touches a core: it does not know what one is. It is no place for a job that runs for ever (use a
//! thread).
//!
//! What a thread has to be while it runs jobs (its CPU mask, the runtime it has entered) is the runtime's
//! business: it passes a function that is called on each new thread, with what that thread does.
#![forbid(unsafe_code)]

mod current;
mod line;
mod pool;
mod queue;
mod sleeper;
#[cfg(test)]
mod tests;
mod thread;
mod threads;

pub(crate) use current::{Entered, enter, run, spawn, why};
pub(crate) use pool::{Config, Pool};
pub(crate) use thread::works_for;
