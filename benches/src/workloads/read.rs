//! Random reads of a file in the page cache, a fixed number in flight.

use std::io;

use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::reads;
use crate::report::columns::{Layout, SERVING};
use crate::sample::Sample;

struct Read {
    tasks: usize,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |tasks| {
        let title = format!("file, random 4 KiB reads from the page cache, {tasks} in flight");
        Workload::new(format!("read-4096x{tasks}"), title, Read { tasks })
    };
    [1, 32].map(one).into()
}

impl Work for Read {
    fn role(&self) -> &'static str {
        "read"
    }

    fn layout(&self) -> Layout {
        SERVING
    }

    fn prepare(&self, bench: &mut Bench, _peers: &[&str]) -> io::Result<()> {
        let file = bench.settings.file.clone();
        bench.once("file to read", |_| reads::prepare(&file).map(|()| 1.0)).map(drop)
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let plan = bench.timed().with("file", bench.settings.file.display()).with("tasks", self.tasks);
        let cpu = bench.cpus.server;
        bench.by_itself(program(self, peer)?, &[cpu], plan)
    }

    fn counts(&self) -> bool {
        true
    }
}
