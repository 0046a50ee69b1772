//! Measures a server that uses both CPUs, from two generators on the same two. They take CPU from the server,
//! but the same from all peers, and what they took is reported.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use crate::bench::Bench;
use crate::child::Running;
use crate::load::Traffic;
use crate::load::crew::{Crew, Job, Watch};
use crate::meter::Times;
use crate::plan::Plan;
use crate::programs::Program;
use crate::sample::{Reading, Sample};
use crate::usage::Usage;

use std::time::{Duration, Instant};

/// Starts `program` on both CPUs, loads and measures it.
pub(super) fn measure(
    bench: &mut Bench,
    program: &Program,
    plan: Plan,
    traffic: &Traffic,
) -> io::Result<Sample> {
    let cpus = bench.cpus.both();
    let mut server = bench.start(program, &cpus, plan.with("cores", cpus.len()))?;
    let address = server.address()?;
    let connect = |_| TcpStream::connect(address);
    let sockets = (0..traffic.connections).map(connect).collect::<io::Result<Vec<_>>>()?;
    load(bench.crew()?, &mut server, sockets, traffic)
}

/// Loads `server` over `sockets` and measures both it and the generators.
pub(super) fn load(
    crew: &Crew,
    server: &mut Running,
    sockets: Vec<TcpStream>,
    traffic: &Traffic,
) -> io::Result<Sample> {
    let watch = Arc::new(Watch::default());
    start(crew, sockets, traffic, &watch)?;
    let window = read_while_loaded(server, &watch, traffic.times);
    watch.end();
    let latency = crew.finish()?;
    let window = window?;
    let mut sample = Sample::of_server(window.answered, window.wall, window.server, &latency);
    sample.load_cpu_ns = Some(window.load.cpu_ns);
    // What is left is neither the server's nor ours.
    sample.busy_ns = sample.busy_ns.saturating_sub(window.load.cpu_ns);
    Ok(sample)
}

/// Has `crew` load `sockets`, dealt out in turn, until `watch` is over.
pub(super) fn start(
    crew: &Crew,
    sockets: Vec<TcpStream>,
    traffic: &Traffic,
    watch: &Arc<Watch>,
) -> io::Result<()> {
    let mut shares: Vec<Vec<TcpStream>> = (0..crew.len()).map(|_| Vec::new()).collect();
    for (at, socket) in sockets.into_iter().enumerate() {
        shares[at % crew.len()].push(socket);
    }
    let job = |(seed, sockets)| Job {
        sockets,
        dialog: traffic.dialog.clone(),
        depth: traffic.depth,
        rate: traffic.rate.map(|rate| rate / crew.len() as f64),
        seed: seed as u64,
        watch: watch.clone(),
    };
    crew.start(shares.into_iter().enumerate().map(job).collect())
}

/// What happened in the measured time.
struct Window {
    answered: u64,
    wall: Duration,
    server: Reading,
    load: Usage,
}

fn read_while_loaded(server: &mut Running, watch: &Watch, times: Times) -> io::Result<Window> {
    thread::sleep(times.warm);
    let before = server.reading()?;
    let (load, begun, answered) = (Usage::own(), Instant::now(), watch.answered());
    watch.begin();
    thread::sleep(times.measure);
    let (answered, wall) = (watch.answered() - answered, begun.elapsed());
    let after = server.reading()?;
    Ok(Window { answered, wall, server: after.since(&before), load: Usage::own().since(&load) })
}
