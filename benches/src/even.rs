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
const PATIENCE: Duration = Duration::from_secs(10);
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
    let line = server.line(START)?;
    let address = line.parse().map_err(|_| io::Error::other(format!("not an address: {line}")))?;
    let mut shares = connect_evenly(address, load.connections, crew.len())?;
    let watch = Arc::new(Watch::default());
    let job = |seed: usize| Job {
        sockets: std::mem::take(&mut shares[seed]),
        size: load.size,
        rate: load.rate.map(|rate| rate / crew.len() as f64),
        seed: seed as u64,
        watch: watch.clone(),
    };
    crew.start((0..crew.len()).map(job).collect())?;
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

fn ask(server: &mut Program) -> io::Result<Option<Counters>> {
    let line = server.ask(PATIENCE)?;
    serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{e} in: {line}")))
}

/// Connects until each core has its part of `connections` (a server without cores is content with any), and
/// deals each core's connections out into `shares`. What is too much is closed again.
fn connect_evenly(address: SocketAddr, connections: usize, shares: usize) -> io::Result<Vec<Vec<TcpStream>>> {
    let mut dealt: Vec<Vec<TcpStream>> = (0..shares).map(|_| Vec::new()).collect();
    let mut taken = [0; WORKERS];
    let mut surplus = Vec::new();
    for made in 0..connections * TRIES {
        if taken.iter().sum::<usize>() == connections {
            return Ok(dealt);
        }
        let (socket, core) = connect(address)?;
        // Without cores, in turn.
        let core = if core == NO_CORE { made % WORKERS } else { usize::from(core) };
        match taken.get_mut(core) {
            Some(count) if *count < connections / WORKERS => {
                dealt[*count % shares].push(socket);
                *count += 1;
            }
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
