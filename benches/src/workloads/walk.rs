//! A walk through a tree of folders whose names the kernel has in its cache; every file is looked at.

use std::io;
use std::path::PathBuf;

use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::report::columns::{Layout, SERVING};
use crate::sample::Sample;
use crate::tree;

struct Walk {
    walkers: usize,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let walk = |walkers| {
        let title =
            format!("walk through {} files in 64 folders, each looked at, {walkers} at once", tree::FILES);
        Workload::new(format!("walk-x{walkers}"), title, Walk { walkers })
    };
    [1, 8].map(walk).into()
}

impl Work for Walk {
    fn role(&self) -> &'static str {
        "walk"
    }

    fn layout(&self) -> Layout {
        SERVING
    }

    fn prepare(&self, bench: &mut Bench, _peers: &[&str]) -> io::Result<()> {
        tree::prepare(&root(bench))
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let plan = bench.timed().with("root", root(bench).display()).with("walkers", self.walkers);
        let cpu = bench.cpus.server;
        bench.by_itself(program(self, peer)?, &[cpu], plan)
    }

    fn counts(&self) -> bool {
        true
    }
}

fn root(bench: &Bench) -> PathBuf {
    bench.settings.file.with_extension("tree")
}
