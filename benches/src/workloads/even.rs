//! Echo on two workers under load that is even on both, at a share of saturation, from two generators on the
//! same two CPUs (`shared.rs`). It owns the spreading of the connections and the rate.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use super::open::slowest;
use super::{Work, Workload, program, shared};
use crate::bench::Bench;
use crate::child::PATIENCE;
use crate::cpus;
use crate::load::Traffic;
use crate::load::crew::Ends;
use crate::load::dialog::Dialog;
use crate::plan::Plan;
use crate::programs::{NO_CORE, Program, WORKERS};
use crate::progress;
use crate::report::columns::{EVEN, Layout};
use crate::sample::Sample;

/// Message and connections.
const SIZE: usize = 64;
const CONNECTIONS: usize = 64;
/// Shares of saturation, in percent.
const PERCENT: [u32; 3] = [10, 30, 70];
/// Connections that are made, at most, for each that is wanted: the kernel spreads them by a hash.
const TRIES: usize = 10;

struct Even {
    percent: u32,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |percent| {
        let title =
            format!("TCP echo on two workers, 64 B over 64 connections, at {percent} % of saturation");
        Workload::new(format!("even-{percent}"), title, Even { percent })
    };
    PERCENT.map(one).into()
}

impl Work for Even {
    fn role(&self) -> &'static str {
        "even"
    }

    fn layout(&self) -> Layout {
        EVEN
    }

    fn prepare(&self, bench: &mut Bench, peers: &[&str]) -> io::Result<()> {
        let programs = peers.iter().filter_map(|peer| self.program(peer)).collect::<Vec<_>>();
        saturation(bench, &programs).map(drop)
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let program = program(self, peer)?;
        let rate = saturation(bench, &[program])? * f64::from(self.percent) / 100.0;
        run(bench, program, Some(rate))
    }
}

/// The load of this file, at `rate` messages a second, or as many as the server answers.
pub(super) fn traffic(bench: &Bench, rate: Option<f64>) -> Traffic {
    let dialog = Arc::new(Dialog::Echo { size: SIZE });
    Traffic { dialog, connections: CONNECTIONS, depth: 1, rate, times: bench.settings.times }
}

fn run(bench: &mut Bench, program: &Program, rate: Option<f64>) -> io::Result<Sample> {
    let (cpus, traffic) = (bench.cpus.both(), traffic(bench, rate));
    let mut server = bench.start(program, &cpus, Plan::default())?;
    let [first, second] = connect_evenly(server.address()?, CONNECTIONS, cpus)?;
    // In turn, as generators get them: each those that were made from its CPU.
    let clients = first.into_iter().zip(second).flat_map(<[TcpStream; WORKERS]>::from).collect();
    shared::load(bench.crew()?, &mut server, Ends { clients, ..Ends::default() }, &traffic)
}

/// Messages a second that saturate the slowest of `programs`, found out once: all of them are to stand the
/// load. One that fails here will fail in its turn as well, and say why.
pub(super) fn saturation(bench: &mut Bench, programs: &[&'static Program]) -> io::Result<f64> {
    if let Some(rate) = bench.settings.rate {
        return Ok(rate);
    }
    bench.once("saturation on two workers", |bench| {
        let mut rates = Vec::new();
        for program in programs {
            progress::show(&format!("saturation {}", program.peer));
            if let Ok(sample) = run(bench, program, None) {
                rates.push((program.peer, sample.ops_per_s()));
            }
        }
        slowest(bench, "saturation of two workers, of which the even workloads take the lowest", &rates)
    })
}

/// Connects, in turn from each CPU, until each core has its part of `connections` (a server without cores is
/// content with any). What is too much is closed again.
pub(super) fn connect_evenly(
    address: SocketAddr,
    connections: usize,
    cpus: [usize; WORKERS],
) -> io::Result<[Vec<TcpStream>; WORKERS]> {
    shared::from_where_generators_are(|| spread_evenly(address, connections, cpus))
}

fn spread_evenly(
    address: SocketAddr,
    connections: usize,
    cpus: [usize; WORKERS],
) -> io::Result<[Vec<TcpStream>; WORKERS]> {
    let mut taken: [Vec<TcpStream>; WORKERS] = Default::default();
    let mut surplus = Vec::new();
    for made in 0..connections * TRIES {
        if taken.iter().map(Vec::len).sum::<usize>() == connections {
            return Ok(taken);
        }
        cpus::pin(&[cpus[made % WORKERS]])?;
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
