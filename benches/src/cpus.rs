//! Which CPU serves and which one loads, pinning a process to one, and how many files it may open.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// Descriptors for 100,000 connections and all else.
const FILES: u64 = 110_000;

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

    /// Those of a program that has no load beside it, or shares them with its load.
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

/// How many files this process and its children may open.
pub(crate) fn file_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// Lets this process and its children open as many files as the system lets it. Whatever needs more than
/// that says so when it opens them.
pub(crate) fn raise_file_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    // Above the hard limit only for the superuser.
    if setrlimit(Resource::RLIMIT_NOFILE, soft.max(FILES), hard.max(FILES)).is_err() {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
