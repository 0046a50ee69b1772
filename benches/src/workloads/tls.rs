//! TLS echo in closed loop: each connection waits for its answer before it asks again.

use std::io;

use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::plan::Plan;
use crate::report::columns::{Layout, SERVING};
use crate::sample::Sample;

const CONNECTIONS: usize = 64;
const SIZE: usize = 64;

struct Tls;

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let title = format!("TLS 1.3 echo, {SIZE} B over {CONNECTIONS} connections");
    vec![Workload::new("tls-echo", title, Tls)]
}

impl Work for Tls {
    fn role(&self) -> &'static str {
        "tls"
    }

    fn layout(&self) -> Layout {
        SERVING
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let cpu = bench.cpus.server;
        let mut server = bench.start(program(self, peer)?, &[cpu], Plan::default())?;
        let times = bench.settings.times;
        bench.sealed()?.run(CONNECTIONS, SIZE, times, &mut server)
    }

    fn counts(&self) -> bool {
        true
    }
}
