//! One file: random reads from the page cache, random direct writes, and a log that is committed in groups.

use std::io;
use std::path::PathBuf;

use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::reads;
use crate::report::columns::{Layout, SERVING};
use crate::sample::Sample;

/// What is done to the file by how many tasks.
enum Disk {
    Read { tasks: usize },
    Write { tasks: usize },
    Log { writers: usize },
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let read = |tasks| {
        let title = format!("file, random 4 KiB reads from the page cache, {tasks} in flight");
        Workload::new(format!("read-4096x{tasks}"), title, Disk::Read { tasks })
    };
    let write = |tasks| {
        let title = format!("file, random 4 KiB direct writes over what is there, {tasks} in flight");
        Workload::new(format!("write-4096x{tasks}"), title, Disk::Write { tasks })
    };
    let log = |writers| {
        let title = format!("log, records of 256 B from {writers} tasks, each waits for the disk, in groups");
        Workload::new(format!("log-x{writers}"), title, Disk::Log { writers })
    };
    let mut all: Vec<Workload> = [1, 32].map(read).into();
    all.extend([1, 32].map(write));
    all.push(log(64));
    all
}

impl Work for Disk {
    fn role(&self) -> &'static str {
        match self {
            Disk::Read { .. } => "read",
            Disk::Write { .. } => "write",
            Disk::Log { .. } => "log",
        }
    }

    /// One thread that waits for each write where it stands has one under way.
    fn special_roles(&self) -> &'static [&'static str] {
        if matches!(self, Disk::Write { tasks: 1 }) { &["write-one"] } else { &[] }
    }

    fn layout(&self) -> Layout {
        SERVING
    }

    /// Writers have a file of their own: readers check what they read.
    fn prepare(&self, bench: &mut Bench, _peers: &[&str]) -> io::Result<()> {
        let file = self.file(bench);
        bench.once(&file.display().to_string(), |_| reads::prepare(&file).map(|()| 1.0)).map(drop)
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let (Disk::Read { tasks } | Disk::Write { tasks } | Disk::Log { writers: tasks }) = self;
        let plan = bench.timed().with("file", self.file(bench).display()).with("tasks", tasks);
        let cpu = bench.cpus.server;
        bench.by_itself(program(self, peer)?, &[cpu], plan)
    }

    fn counts(&self) -> bool {
        true
    }
}

impl Disk {
    fn file(&self, bench: &Bench) -> PathBuf {
        let file = bench.settings.file.clone();
        if matches!(self, Disk::Read { .. }) { file } else { file.with_extension("written") }
    }
}
