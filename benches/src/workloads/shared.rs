//! Where a server runs and from where it is loaded: on one CPU, with the generator on the other, or on both,
//! with a generator on each beside it. Those take CPU from the server, but the same from all peers, and what
//! they took is reported. This file owns the measurement on both CPUs.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::bench::Bench;
use crate::child::Running;
use crate::load::crew::{Crew, Ends, Job, Watch};
use crate::load::{SILENCE, Traffic};
use crate::meter::Times;
use crate::plan::Plan;
use crate::programs::Program;
use crate::report::columns::{Layout, SERVING, SHARED_CPUS};
use crate::sample::{Reading, Sample};
use crate::usage::Usage;

/// Where a server in closed loop runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    OneCpu,
    BothCpus,
}

impl Place {
    /// What it adds to the name of a workload, and to its title.
    pub(super) fn words(self) -> (&'static str, &'static str) {
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
        let address = server.address()?;
        let mut ends = Ends::default();
        for _ in 0..traffic.connections {
            ends.clients.push(TcpStream::connect(address)?);
            // At once, so that it is known whose it is: a generator has both ends of its connections, with
            // every peer. It works on one of the server's CPUs or on the other, for both ends alike.
            if let Some(upstream) = upstream {
                SockRef::from(upstream).set_read_timeout(Some(SILENCE))?;
                ends.upstreams.push(upstream.accept()?.0);
            }
        }
        load(bench.crew()?, server, ends, traffic)
    }
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
