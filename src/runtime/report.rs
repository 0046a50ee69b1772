//! What a shutdown found.
#![forbid(unsafe_code)]

use std::fmt;

/// How a runtime ended; from [`Runtime::shutdown_timeout`](super::Runtime::shutdown_timeout).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Cores that did not come to the end in time (stuck in a poll): left behind with all they own.
    pub stuck_cores: Vec<usize>,
    /// Ops that had no final completion in time, leaked with their ring.
    pub leaked_ops: usize,
    /// Threads of the blocking pool still at work: they end with their job.
    pub busy_blocking_threads: usize,
}

impl ShutdownReport {
    /// Whether everything ended.
    pub fn is_clean(&self) -> bool {
        self.stuck_cores.is_empty() && self.leaked_ops == 0 && self.busy_blocking_threads == 0
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("all ended");
        }
        write!(
            f,
            "stuck cores: {:?}, leaked ops: {}, busy blocking threads: {}",
            self.stuck_cores, self.leaked_ops, self.busy_blocking_threads
        )
    }
}
