//! Measures a server of two workers under load that is even on both, from two generators on the same two
//! CPUs. It owns the spreading of the connections, the rate, and the reading of what the server counts. The
//! generators take CPU from the server, but the same from all peers.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::child::Program;
use crate::compare::START;
use crate::crew::{Crew, Job, Watch};
use crate::meter::Times;
use crate::programs::{NO_CORE, WORKERS};
use crate::sample::{Counters, Sample};
use crate::usage::Usage;

/// How long a server may take to answer a question or to greet.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are made, at most, for each that is wanted: the kernel spreads them by a hash.
const TRIES: usize = 10;

/// The load of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EvenLoad {
    pub(crate) size: usize,
    pub(crate) connections: usize,
    /// Messages a second; without one, as many as the server answers.
    pub(crate) rate: Option<f64>,
    pub(crate) times: Times,
}

/// Starts `program` on `cpus`, loads it and measures both it and the generators.
pub(crate) fn measure(crew: &Crew, program: &str, cpus: &[usize], load: &EvenLoad) -> io::Result<Sample> {
    let mut server = Program::start(program, cpus, &["--listen".to_owned(), "127.0.0.1:0".to_owned()])?;
    let address = listening(&mut server)?;
    let sockets = connect_evenly(address, load.connections)?.into_iter().flatten();
    let watch = Arc::new(Watch::default());
    start(crew, sockets, load, &watch)?;
    let reading = read_while_loaded(&mut server, &watch, load.times);
    watch.end();
    let latency = crew.finish()?;
    let reading = reading?;
    let mut sample = Sample::new(reading.answered, reading.wall, reading.server, &latency);
    sample.counters = reading.counters;
    sample.load_cpu_ns = Some(reading.load.cpu_ns);
    // What is left is neither the server's nor ours.
    sample.busy_ns = sample.busy_ns.saturating_sub(reading.load.cpu_ns);
    Ok(sample)
}

/// The address that the server announces.
pub(crate) fn listening(server: &mut Program) -> io::Result<SocketAddr> {
    let line = server.line(START)?;
    line.parse().map_err(|_| io::Error::other(format!("not an address: {line}")))
}

/// Has `crew` load `sockets`, dealt out in turn, until `watch` is over.
pub(crate) fn start(
    crew: &Crew,
    sockets: impl Iterator<Item = TcpStream>,
    load: &EvenLoad,
    watch: &Arc<Watch>,
) -> io::Result<()> {
    let mut shares: Vec<Vec<TcpStream>> = (0..crew.len()).map(|_| Vec::new()).collect();
    for (at, socket) in sockets.enumerate() {
        shares[at % crew.len()].push(socket);
    }
    let job = |(seed, sockets)| Job {
        sockets,
        size: load.size,
        rate: load.rate.map(|rate| rate / crew.len() as f64),
        seed: seed as u64,
        watch: watch.clone(),
    };
    crew.start(shares.into_iter().enumerate().map(job).collect())
}

/// What happened in the measured time.
struct Window {
    answered: u64,
    wall: Duration,
    server: Usage,
    load: Usage,
    counters: Option<Counters>,
}

fn read_while_loaded(server: &mut Program, watch: &Watch, times: Times) -> io::Result<Window> {
    let pid = server.pid();
    thread::sleep(times.warm);
    let counted = ask(server)?;
    let (load, used) = (Usage::own(), Usage::of(pid)?);
    let (begun, answered) = (Instant::now(), watch.answered());
    watch.begin();
    thread::sleep(times.measure);
    let (answered, wall) = (watch.answered() - answered, begun.elapsed());
    let (used, load) = (Usage::of(pid)?.since(&used), Usage::own().since(&load));
    let counters = ask(server)?.zip(counted).map(|(now, then)| now.since(&then));
    Ok(Window { answered, wall, server: used, load, counters })
}

/// What the server has counted so far.
pub(crate) fn ask(server: &mut Program) -> io::Result<Option<Counters>> {
    let line = server.ask("", PATIENCE)?;
    serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{e} in: {line}")))
}

/// Connects until each core has its part of `connections` (a server without cores is content with any). What
/// is too much is closed again.
pub(crate) fn connect_evenly(
    address: SocketAddr,
    connections: usize,
) -> io::Result<[Vec<TcpStream>; WORKERS]> {
    let mut taken: [Vec<TcpStream>; WORKERS] = Default::default();
    let mut surplus = Vec::new();
    for made in 0..connections * TRIES {
        if taken.iter().map(Vec::len).sum::<usize>() == connections {
            return Ok(taken);
        }
        let (socket, core) = connect(address)?;
        // Without cores, in turn.
        let core = if core == NO_CORE { made % WORKERS } else { usize::from(core) };
        match taken.get_mut(core) {
            Some(mine) if mine.len() < connections / WORKERS => mine.push(socket),
            Some(_) => surplus.push(socket),
            None => return Err(io::Error::other(format!("the server greets from core {core}"))),
        }
    }
    Err(io::Error::other(format!("no even spread after {} connections", connections * TRIES)))
}

/// A connection and the core that has greeted it.
fn connect(address: SocketAddr) -> io::Result<(TcpStream, u8)> {
    let mut socket = TcpStream::connect(address)?;
    let mut core = [0];
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.read_exact(&mut core)?;
    socket.set_read_timeout(None)?;
    Ok((socket, core[0]))
}
