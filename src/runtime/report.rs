//! What a shutdown found.
#![forbid(unsafe_code)]

use crate::task::Id;
use std::fmt;
use std::panic::Location;

/// How a runtime ended; from [`Runtime::shutdown_timeout`](super::Runtime::shutdown_timeout) and
/// [`Runtime::drain`](super::Runtime::drain). Prints as lines for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Cores that did not come to the end in time: left behind with all they own. They are stuck in a poll,
    /// or their threads are, after all else, in the destructor of a core-local or thread-local value.
    pub stuck_cores: Vec<usize>,
    /// Ops that had no final completion in time, leaked with their ring.
    pub leaked_ops: usize,
    /// Threads of the blocking pool that did not come to the end in time: they are in a job, with which they
    /// end, or in the destructor of a thread-local value.
    pub busy_blocking_threads: usize,
    /// Tasks that were alive when the end began; all but those of a stuck core have been dropped since.
    pub tasks_alive: usize,
    /// Those tasks, at most 1,000 of them: first what cores are stuck in, then by core, oldest first. Tasks
    /// of a stuck core that are not `Send` cannot be looked at and are only counted.
    pub alive: Vec<AliveTask>,
}

/// A task that had not ended when its runtime did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AliveTask {
    /// Its id.
    pub id: Id,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// The core where it was at home: the one that ran it last, or was to.
    pub core: usize,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// The core is stuck in a poll of this task.
    pub stuck: bool,
}

impl ShutdownReport {
    /// Whether nothing was left behind: every core and every thread of the blocking pool ended, and every op.
    /// Tasks may have been dropped for that.
    pub fn is_clean(&self) -> bool {
        self.stuck_cores.is_empty() && self.leaked_ops == 0 && self.busy_blocking_threads == 0
    }

    /// Whether, besides, every task had come to its own end before.
    pub fn is_drained(&self) -> bool {
        self.is_clean() && self.tasks_alive == 0
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            f.write_str("all ended")?;
        } else {
            write!(
                f,
                "stuck cores: {:?}, leaked ops: {}, busy blocking threads: {}",
                self.stuck_cores, self.leaked_ops, self.busy_blocking_threads
            )?;
        }
        if self.tasks_alive == 0 {
            return Ok(());
        }
        write!(f, "\ntasks alive when the end began: {}", self.tasks_alive)?;
        for task in &self.alive {
            write!(f, "\n  {task}")?;
        }
        match self.tasks_alive.saturating_sub(self.alive.len()) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl fmt::Display for AliveTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, " of core {} spawned at {}", self.core, self.spawned_at)?;
        if self.stuck { f.write_str(", which the core is stuck in") } else { Ok(()) }
    }
}
