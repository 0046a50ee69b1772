//! Servers whose clients say nothing: what they need for each connection in memory, and in CPU time for all.
//! Each connection has had one message echoed, so that what a first message makes has been made.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Work, Workload, echo, program};
use crate::bench::Bench;
use crate::child::PATIENCE;
use crate::meter::latencies;
use crate::report::columns::{HEAP_EACH, Layout, MEMORY, MEMORY_BEFORE, MEMORY_EACH, REST};
use crate::sample::Sample;

const MESSAGE: [u8; 64] = [0x5A; 64];
/// Connections from one address at most: it has some 28,000 ports.
const PER_SOURCE: usize = 20_000;
/// Connections of a server whose CPU time is measured.
const RESTING: usize = 64;

enum Idle {
    Memory { connections: usize },
    Rest,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let memory = |(connections, name)| {
        let title = format!("memory of a TCP echo server per idle connection, of {connections}");
        Workload::new(name, title, Idle::Memory { connections })
    };
    let mut all: Vec<Workload> =
        [(10_000, "idle-10k"), (100_000, "idle-100k")].into_iter().map(memory).collect();
    let title = format!("CPU time of a TCP echo server with {RESTING} idle connections");
    all.push(Workload::new("idle-cpu", title, Idle::Rest));
    all
}

impl Work for Idle {
    fn role(&self) -> &'static str {
        "echo"
    }

    fn special_roles(&self) -> &'static [&'static str] {
        match self {
            Idle::Memory { .. } => &["echo-one-cpu", "echo-shared"],
            Idle::Rest => &["echo-one-cpu"],
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Idle::Memory { .. } => MEMORY,
            Idle::Rest => REST,
        }
    }

    fn connections(&self, bench: &Bench) -> usize {
        match *self {
            Idle::Memory { connections } => bench.settings.idle.unwrap_or(connections),
            Idle::Rest => RESTING,
        }
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let connections = self.connections(bench);
        // Allocations are counted for their bytes; time is not measured, or not spent.
        let plan = echo::plan(MESSAGE.len(), connections).with("count", 1);
        let cpu = bench.cpus.server;
        let mut server = bench.start(program(self, peer)?, &[cpu], plan)?;
        let address = server.address()?;
        // The first connection brings what is made once.
        let _first = converse(address, 0)?;
        let before = server.reading()?;
        let open = (0..connections).map(|index| converse(address, index)).collect::<io::Result<Vec<_>>>()?;
        thread::sleep(bench.settings.times.warm);
        let after = server.reading()?;
        // From outside: to answer a question would be the most that a server at rest does.
        let (settled, begun) = (server.usage()?, Instant::now());
        if matches!(self, Idle::Rest) {
            thread::sleep(bench.settings.times.measure);
        }
        let (wall, used) = (begun.elapsed(), server.usage()?.since(&settled));
        drop(open);
        let grown = after.usage.anon_kib.saturating_sub(before.usage.anon_kib);
        let heap = after.report.heap_bytes.zip(before.report.heap_bytes).map(|(now, then)| now - then);
        let each = |bytes: f64| bytes / connections as f64;
        let began_with = before.usage.anon_kib as f64;
        let sample = Sample::new(connections as u64, wall, used, &latencies())
            .with(MEMORY_EACH, each(grown as f64 * 1024.0))
            .with(MEMORY_BEFORE, began_with);
        Ok(match heap {
            Some(heap) => sample.with(HEAP_EACH, each(heap as f64)),
            None => sample,
        })
    }
}

/// A connection that has had one message echoed.
fn converse(server: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + (index / PER_SOURCE) as u32);
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    socket.set_tcp_nodelay(true)?;
    // Closed by a reset: the ports of three turns, all there are, would not be free again for a minute.
    socket.set_linger(Some(Duration::ZERO))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; MESSAGE.len()];
    stream.write_all(&MESSAGE)?;
    stream.read_exact(&mut answer)?;
    if answer == MESSAGE { Ok(stream) } else { Err(io::Error::other("bytes came back changed")) }
}
