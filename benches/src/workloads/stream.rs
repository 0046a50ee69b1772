//! One-way streaming: the server sends as much as the client takes. One op is 64 KiB.

use std::io;

use super::{Work, Workload, echo::plural, program};
use crate::bench::Bench;
use crate::plan::Plan;
use crate::report::columns::{Layout, STREAMING};
use crate::sample::Sample;

struct Stream {
    connections: usize,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |connections| {
        let title = format!("TCP, one way from the server, 64 KiB per send, over {}", plural(connections));
        Workload::new(format!("stream-x{connections}"), title, Stream { connections })
    };
    [1, 16].map(one).into()
}

impl Work for Stream {
    fn role(&self) -> &'static str {
        "source"
    }

    fn layout(&self) -> Layout {
        STREAMING
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let (cpu, plan) = (bench.cpus.server, Plan::default().with("connections", self.connections));
        let mut server = bench.start(program(self, peer)?, &[cpu], plan)?;
        let times = bench.settings.times;
        bench.bulk()?.run(self.connections, times, &mut server, None)
    }

    fn counts(&self) -> bool {
        true
    }
}
