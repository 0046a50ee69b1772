//! Measures a server of two workers one of which is blocked in one poll, or not, while the connections of the
//! other one are loaded (`even.rs`) and new ones come. It owns the order of events and the new connections.
//! Requests that fall due in that time count, however late they are answered.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::child::Program;
use crate::crew::{Crew, Watch};
use crate::even::{self, EvenLoad, PATIENCE};
use crate::sample::{Culprit, Sample, Stuck};
use crate::usage::Usage;

/// New connections made meanwhile, one after the other over four fifths of the time.
const NEW: u32 = 50;
const MESSAGE: [u8; 64] = [0x5A; 64];
/// What counts as done before the poll ends was done this long before, lest an answer that waited for the end
/// be taken for one that did not.
const MARGIN: Duration = Duration::from_millis(20);

/// How long the poll blocks, whether it does, and what it does before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) time: Duration,
    pub(crate) is_real: bool,
    /// Tasks that the poll spawns before it blocks.
    pub(crate) tasks: u32,
}

/// Starts `program` on `cpus`, loads the connections of its last core and blocks the first.
pub(crate) fn measure(
    crew: &Crew,
    program: &str,
    cpus: &[usize],
    load: &EvenLoad,
    block: Block,
) -> io::Result<Sample> {
    let mut server = Program::start(program, cpus, &["--listen".to_owned(), "127.0.0.1:0".to_owned()])?;
    let address = even::listening(&mut server)?;
    let [_idle, loaded] = even::connect_evenly(address, load.connections)?;
    let watch = Arc::new(Watch::default());
    even::start(crew, loaded.into_iter(), load, &watch)?;
    thread::sleep(load.times.warm);
    let (pid, counted) = (server.pid(), even::ask(&mut server)?);
    let (own, used) = (Usage::own(), Usage::of(pid)?);
    let (begun, answered) = (Instant::now(), watch.answered());
    watch.begin();
    let stuck = live_through(&mut server, address, &watch, block);
    if stuck.is_ok() {
        watch.drain();
    } else {
        watch.end();
    }
    let latency = crew.finish()?;
    let (answered, wall) = (watch.answered() - answered, begun.elapsed());
    let (used, own) = (Usage::of(pid)?.since(&used), Usage::own().since(&own));
    let mut sample = Sample::new(answered, wall, used, &latency);
    sample.stuck = Some(stuck?);
    sample.counters = even::ask(&mut server)?.zip(counted).map(|(now, then)| now.since(&then));
    sample.load_cpu_ns = Some(own.cpu_ns);
    sample.busy_ns = sample.busy_ns.saturating_sub(own.cpu_ns);
    Ok(sample)
}

/// From the beginning of the poll to its end.
fn live_through(server: &mut Program, address: SocketAddr, watch: &Watch, block: Block) -> io::Result<Stuck> {
    let answered = watch.answered();
    let word = if block.is_real { "block" } else { "rest" };
    server.ask(&format!("{word} {} {}", block.time.as_millis(), block.tasks), PATIENCE)?;
    let deadline = Instant::now() + block.time.saturating_sub(MARGIN);
    let mut new = Vec::new();
    for _ in 0..NEW {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(&MESSAGE)?;
        new.push(socket);
        thread::sleep(block.time * 4 / 5 / NEW);
    }
    thread::sleep(deadline.saturating_duration_since(Instant::now()));
    let answered = watch.answered() - answered;
    let mut new_served = 0;
    for socket in &mut new {
        new_served += u64::from(has_answer(socket)?);
    }
    let line = server.line(block.time + PATIENCE)?;
    let culprit: Culprit =
        serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{e} in: {line}")))?;
    Ok(Stuck { answered, new_served, culprit })
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
