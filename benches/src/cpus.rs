//! Which CPU serves and which one loads, and pinning a process to one.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The pair of CPUs of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cpus {
    /// The first and the last CPU that this process may use: far apart, so seldom two threads of one
    /// core.
    pub(crate) fn choose() -> io::Result<Cpus> {
        let mask = sched_getaffinity(Pid::from_raw(0))?;
        let allowed = || (0..CpuSet::count()).filter(|cpu| mask.is_set(*cpu).unwrap_or(false));
        match (allowed().next(), allowed().next_back()) {
            (Some(server), Some(load)) if server != load => Ok(Cpus { server, load }),
            _ => Err(io::Error::other("two CPUs are needed: one serves, one loads")),
        }
    }

    /// Those of a program that has no load beside it.
    pub(crate) fn both(self) -> [usize; 2] {
        [self.server, self.load]
    }
}

/// Pins the calling thread, and threads it starts later, to `cpus`.
pub(crate) fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut mask = CpuSet::new();
    for cpu in cpus {
        mask.set(*cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &mask)?)
}
