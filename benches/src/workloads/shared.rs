//! Where a server runs and from where it is loaded: on one CPU, with the generator on the other, or on both,
//! with a generator on each beside it. Those take CPU from the server, but the same from all peers, and what
//! they took is reported. This file owns the measurement on both CPUs, and how long many connections need
//! until all of them are served.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::bench::Bench;
use crate::child::Running;
use crate::cpus;
use crate::load::crew::{Crew, Ends, Job, Watch};
use crate::load::{SILENCE, Traffic};
use crate::meter::Times;
use crate::plan::Plan;
use crate::programs::Program;
use crate::report::columns::{Layout, SERVING, SHARED_CPUS};
use crate::sample::{Reading, Sample};
use crate::usage::Usage;

/// The least warm-up for each connection. Of 4,096 that come at once, monoio and tokio multi-thread serve a
/// part only for the first one to two seconds, at times for longer: half of the answers come within 1 to 5
/// ms, where 23 ms would be even, and one of a thousand takes 250 to 900 ms. So long they look 30 % cheaper
/// than when all connections are served, and one answer of a thousand takes 12 to 30 ms.
const WARM_UP_EACH: Duration = Duration::from_micros(500);

/// `times`, with at least the warm-up that so many connections need: 2 s for 4,096, 32 ms for 64.
pub(super) fn settled(times: Times, connections: usize) -> Times {
    times.settled(WARM_UP_EACH * connections as u32)
}

/// Where a server in closed loop runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    OneCpu,
    BothCpus,
}

impl Place {
    /// What it adds to the name of a workload, and to its title.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Place::OneCpu => ("", ""),
            Place::BothCpus => ("-all", ", on both CPUs with the load beside"),
        }
    }

    pub(super) fn layout(self) -> Layout {
        match self {
            Place::OneCpu => SERVING,
            Place::BothCpus => SHARED_CPUS,
        }
    }

    /// Whether allocations are counted in a turn apart. A second core allocates no more.
    pub(super) fn counts(self) -> bool {
        self == Place::OneCpu
    }

    /// Starts `program` there.
    pub(super) fn start(self, bench: &mut Bench, program: &Program, plan: Plan) -> io::Result<Running> {
        let both = bench.cpus.both();
        match self {
            Place::OneCpu => bench.start(program, &both[..1], plan),
            Place::BothCpus => bench.start(program, &both, plan.with("cores", both.len())),
        }
    }

    /// Connects to `server`, loads and measures it. With `upstream`, it is a proxy to that listener.
    pub(super) fn measure(
        self,
        bench: &mut Bench,
        server: &mut Running,
        traffic: &Traffic,
        upstream: Option<&TcpListener>,
    ) -> io::Result<Sample> {
        if self == Place::OneCpu {
            return bench.generator()?.run(traffic, server, upstream);
        }
        let (address, cpus) = (server.address()?, bench.cpus.both());
        let ends = from_where_generators_are(|| connect(address, traffic.connections, &cpus, upstream))?;
        load(bench.crew()?, server, ends, traffic)
    }
}

/// Runs `connect`, which makes connections from one CPU and from another: on a thread of its own, because it
/// stays where it ends. A connection is made from the CPU of the generator that is to have it. So as far as a
/// server's listeners ask where a client is, all peers alike get the true answer.
pub(super) fn from_where_generators_are<T: Send>(
    connect: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    thread::scope(|scope| scope.spawn(connect).join().expect("no panic"))
}

/// Connects to a server, in turn from each of the CPUs; `start` gives connections out in the same turn.
fn connect(
    server: SocketAddr,
    connections: usize,
    cpus: &[usize],
    upstream: Option<&TcpListener>,
) -> io::Result<Ends> {
    let mut ends = Ends::default();
    for at in 0..connections {
        cpus::pin(&[cpus[at % cpus.len()]])?;
        ends.clients.push(TcpStream::connect(server)?);
        // At once, so that it is known whose it is: a generator has both ends of its connections, with every
        // peer. It works on one of the server's CPUs or on the other, for both ends alike.
        if let Some(upstream) = upstream {
            SockRef::from(upstream).set_read_timeout(Some(SILENCE))?;
            ends.upstreams.push(upstream.accept()?.0);
        }
    }
    Ok(ends)
}

/// Loads `server` over `ends` and measures both it and the generators.
pub(super) fn load(crew: &Crew, server: &mut Running, ends: Ends, traffic: &Traffic) -> io::Result<Sample> {
    let watch = Arc::new(Watch::default());
    start(crew, ends, traffic, &watch)?;
    finish(crew, server, &watch, traffic.times)
}

/// Measures `server` and the generators that load it already, and ends their work.
pub(super) fn finish(crew: &Crew, server: &mut Running, watch: &Watch, times: Times) -> io::Result<Sample> {
    let window = read_while_loaded(server, watch, times);
    watch.end();
    let latency = crew.finish()?;
    let window = window?;
    let mut sample = Sample::of_server(window.answered, window.wall, window.server, &latency);
    sample.load_cpu_ns = Some(window.load.cpu_ns);
    // What is left is neither the server's nor ours.
    sample.busy_ns = sample.busy_ns.saturating_sub(window.load.cpu_ns);
    Ok(sample)
}

/// Has `crew` load `ends`, dealt out in turn, until `watch` is over.
pub(super) fn start(crew: &Crew, ends: Ends, traffic: &Traffic, watch: &Arc<Watch>) -> io::Result<()> {
    let mut shares: Vec<Ends> = (0..crew.len()).map(|_| Ends::default()).collect();
    for (at, socket) in ends.clients.into_iter().enumerate() {
        shares[at % crew.len()].clients.push(socket);
    }
    for (at, socket) in ends.upstreams.into_iter().enumerate() {
        shares[at % crew.len()].upstreams.push(socket);
    }
    let job = |(seed, ends)| Job {
        ends,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_are_given_time_until_all_are_served_and_few_are_not() {
        let millis = Duration::from_millis;
        let times = Times { warm: millis(100), measure: millis(300) };
        let warm = [1, 64, 512, 4096].map(|connections| settled(times, connections).warm);
        assert_eq!(warm, [100, 100, 256, 2048].map(millis));
    }
}
