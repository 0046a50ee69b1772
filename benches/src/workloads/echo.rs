//! TCP echo in closed loop: each connection waits for its answer before it asks again, or keeps several
//! requests under way. On one core, with the load on another, or on all cores with the generators beside.

use std::io;
use std::sync::Arc;

use super::shared::{self, Place};
use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::load::Traffic;
use crate::load::dialog::Dialog;
use crate::plan::Plan;
use crate::report::columns::Layout;
use crate::sample::Sample;

/// Bytes of a message and connections of the suite.
const SIZES: [usize; 3] = [64, 4096, 65536];
const CONNECTIONS: [usize; 4] = [1, 64, 512, 4096];
/// Requests under way on a connection that does not wait.
const PIPELINED: usize = 16;

struct Echo {
    size: usize,
    connections: usize,
    depth: usize,
    place: Place,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |size, connections, depth, place: Place| {
        let mut name = format!("echo-{size}x{connections}");
        let mut title = format!("TCP echo, {} over {}", bytes(size), plural(connections));
        if depth > 1 {
            name += &format!("-p{depth}");
            title += &format!(", {depth} under way on each");
        }
        let (end, beside) = place.words();
        Workload::new(name + end, title + beside, Echo { size, connections, depth, place })
    };
    let grid = SIZES.iter().flat_map(|size| CONNECTIONS.map(|connections| (*size, connections)));
    let mut all: Vec<Workload> =
        grid.map(|(size, connections)| one(size, connections, 1, Place::OneCpu)).collect();
    all.extend([1, 64, 512].map(|connections| one(64, connections, PIPELINED, Place::OneCpu)));
    let on_both = [(64, 64, 1), (64, 512, 1), (4096, 64, 1), (64, 64, PIPELINED)];
    all.extend(on_both.map(|(size, connections, depth)| one(size, connections, depth, Place::BothCpus)));
    all
}

/// A length as one says it.
pub(super) fn bytes(size: usize) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..0x10_0000 => format!("{} KiB", size / 1024),
        _ => format!("{} MiB", size >> 20),
    }
}

/// A number of connections as one says it.
pub(super) fn plural(connections: usize) -> String {
    if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") }
}

/// What an echo server is asked for. A receive that fills its buffer makes some ask for more, in vain: a
/// buffer has room for twice the message.
pub(super) fn plan(size: usize, connections: usize) -> Plan {
    Plan::default().with("buffer", (2 * size).max(4096)).with("connections", connections)
}

impl Work for Echo {
    fn role(&self) -> &'static str {
        "echo"
    }

    fn special_roles(&self) -> &'static [&'static str] {
        match self {
            Echo { place: Place::BothCpus, .. } => &[],
            // One row says what it costs that no connection has a buffer of its own.
            Echo { size: 64, connections: 64, depth: 1, .. } => &["echo-one-cpu", "echo-shared"],
            _ => &["echo-one-cpu"],
        }
    }

    fn place(&self) -> Option<Place> {
        Some(self.place)
    }

    fn layout(&self) -> Layout {
        self.place.layout()
    }

    fn connections(&self, _bench: &Bench) -> usize {
        self.connections
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let plan = plan(self.size, self.connections);
        let dialog = Arc::new(Dialog::Echo { size: self.size });
        let traffic = Traffic {
            dialog,
            connections: self.connections,
            depth: self.depth,
            rate: None,
            times: shared::settled(bench.settings.times, self.connections),
        };
        let mut server = self.place.start(bench, program(self, peer)?, plan)?;
        self.place.measure(bench, &mut server, &traffic, None)
    }

    fn counts(&self) -> bool {
        self.place.counts()
    }
}
