//! The rate of connections: each is made, brings one message and is closed.

use std::io;

use super::{Work, Workload, echo, program};
use crate::bench::{Bench, CONNECTING};
use crate::load::connect::MESSAGE;
use crate::report::columns::{Layout, SERVING};
use crate::sample::Sample;

struct Connections;

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let title =
        format!("TCP connections made, one message of {MESSAGE} B echoed, closed; {CONNECTING} at a time");
    vec![Workload::new("connect", title, Connections)]
}

impl Work for Connections {
    fn role(&self) -> &'static str {
        "echo"
    }

    fn layout(&self) -> Layout {
        SERVING
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let cpu = bench.cpus.server;
        let mut server = bench.start(program(self, peer)?, &[cpu], echo::plan(MESSAGE, CONNECTING))?;
        let times = bench.settings.times;
        bench.connector()?.run(times, &mut server)
    }

    fn counts(&self) -> bool {
        true
    }
}
