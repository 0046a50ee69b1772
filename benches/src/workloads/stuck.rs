//! Measures a server of two workers one of which is blocked in one poll, or not, while the connections of the
//! other one are loaded (`even.rs`) and new ones come. It owns the order of events and the new connections.
//! Requests that fall due in that time count, however late they are answered.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Work, Workload, even, program, shared};
use crate::bench::Bench;
use crate::child::{PATIENCE, Running};
use crate::cpus;
use crate::load::Traffic;
use crate::load::crew::{Crew, Ends, Watch};
use crate::plan::Plan;
use crate::programs::{Program, WORKERS};
use crate::report::columns::{BLOCKED, Layout, STUCK};
use crate::sample::{self, Culprit, Sample};
use crate::usage::Usage;

/// New connections made meanwhile, one after the other over four fifths of the time.
const NEW: u32 = 50;
const MESSAGE: [u8; 64] = [0x5A; 64];
/// What counts as done before the poll ends was done this long before, lest an answer that waited for the end
/// be taken for one that did not.
const MARGIN: Duration = Duration::from_millis(20);

/// The connections of the last core are loaded at `percent` of saturation, while the first one is blocked, or
/// not, in a poll that has spawned `tasks`.
struct Stuck {
    percent: f64,
    tasks: u32,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "stuck-core",
            "TCP echo on one of two workers, at 10 % of saturation, the other blocked in a poll or not",
            Stuck { percent: 10.0, tasks: 1000 },
        ),
        Workload::new(
            "stuck-core-alone",
            "the same at 0.1 % of saturation, and the poll spawns nothing before it blocks",
            Stuck { percent: 0.1, tasks: 0 },
        ),
    ]
}

impl Work for Stuck {
    fn role(&self) -> &'static str {
        "stuck"
    }

    fn layout(&self) -> Layout {
        STUCK
    }

    /// Blocked or not, it is one program.
    fn program(&self, peer: &str) -> Option<&'static Program> {
        Program::of(peer.trim_end_matches(BLOCKED), self.role())
    }

    fn prepare(&self, bench: &mut Bench, peers: &[&str]) -> io::Result<()> {
        let unblocked = peers.iter().filter(|peer| !peer.ends_with(BLOCKED));
        let programs = unblocked.filter_map(|peer| self.program(peer)).collect::<Vec<_>>();
        even::saturation(bench, &programs).map(drop)
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let program = program(self, peer)?;
        let rate = even::saturation(bench, &[program])? * self.percent / 100.0;
        let traffic = even::traffic(bench, Some(rate));
        let block = Block { time: bench.settings.block, is_real: peer.ends_with(BLOCKED), tasks: self.tasks };
        let cpus = bench.cpus.both();
        let server = bench.start(program, &cpus, Plan::default())?;
        measure(bench.crew()?, server, &traffic, block, cpus)
    }
}

/// How long the poll blocks, whether it does, and what it does before.
#[derive(Clone, Copy, Debug)]
struct Block {
    time: Duration,
    is_real: bool,
    /// Tasks that the poll spawns before it blocks.
    tasks: u32,
}

/// Loads the connections of the last core of `server` and blocks the first.
fn measure(
    crew: &Crew,
    mut server: Running,
    traffic: &Traffic,
    block: Block,
    cpus: [usize; WORKERS],
) -> io::Result<Sample> {
    let address = server.address()?;
    let [_idle, clients] = even::connect_evenly(address, traffic.connections, cpus)?;
    let watch = Arc::new(Watch::default());
    shared::start(crew, Ends { clients, ..Ends::default() }, traffic, &watch)?;
    thread::sleep(traffic.times.warm);
    let before = server.reading()?;
    let (own, begun, answered) = (Usage::own(), Instant::now(), watch.answered());
    watch.begin();
    let stuck = live_through(&mut server, address, &watch, block, cpus);
    if stuck.is_ok() {
        watch.drain();
    } else {
        watch.end();
    }
    let latency = crew.finish()?;
    let (answered, wall) = (watch.answered() - answered, begun.elapsed());
    let (used, own) = (server.reading()?.since(&before), Usage::own().since(&own));
    let mut sample = Sample::of_server(answered, wall, used, &latency);
    sample.stuck = Some(stuck?);
    sample.load_cpu_ns = Some(own.cpu_ns);
    sample.busy_ns = sample.busy_ns.saturating_sub(own.cpu_ns);
    Ok(sample)
}

/// From the beginning of the poll to its end.
fn live_through(
    server: &mut Running,
    address: SocketAddr,
    watch: &Watch,
    block: Block,
    cpus: [usize; WORKERS],
) -> io::Result<sample::Stuck> {
    let answered = watch.answered();
    let word = if block.is_real { "block" } else { "rest" };
    server.ask(&format!("{word} {} {}", block.time.as_millis(), block.tasks), PATIENCE)?;
    let deadline = Instant::now() + block.time.saturating_sub(MARGIN);
    let mut new = shared::from_where_generators_are(|| newcomers(address, block.time * 4 / 5, cpus))?;
    thread::sleep(deadline.saturating_duration_since(Instant::now()));
    let answered = watch.answered() - answered;
    let mut new_served = 0;
    for socket in &mut new {
        new_served += u64::from(has_answer(socket)?);
    }
    let line = server.line(block.time + PATIENCE)?;
    let culprit: Culprit =
        serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{e} in: {line}")))?;
    Ok(sample::Stuck { answered, new_served, culprit })
}

/// Clients that come meanwhile, in turn from each CPU, each with a message.
fn newcomers(address: SocketAddr, meanwhile: Duration, cpus: [usize; WORKERS]) -> io::Result<Vec<TcpStream>> {
    let come = |at: u32| {
        cpus::pin(&[cpus[at as usize % WORKERS]])?;
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(&MESSAGE)?;
        thread::sleep(meanwhile / NEW);
        Ok(socket)
    };
    (0..NEW).map(come).collect()
}

/// A greeting and the message have come back, or nothing has yet.
fn has_answer(socket: &mut TcpStream) -> io::Result<bool> {
    let mut answer = [0; 1 + MESSAGE.len()];
    socket.set_nonblocking(true)?;
    match socket.read_exact(&mut answer) {
        Ok(()) if answer[1..] == MESSAGE => Ok(true),
        Ok(()) => Err(io::Error::other("a new connection: bytes came back changed")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
