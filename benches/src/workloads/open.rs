//! TCP echo in open loop: requests fall due at a fixed rate whatever the server does, and their latency
//! counts from when they were due. The rate is a share of what saturates the slowest peer, so that all of
//! them stand it. The generator never sleeps: it has a CPU of its own and sends each request in its time.

use std::io;
use std::sync::Arc;

use super::{Work, Workload, echo, program};
use crate::bench::Bench;
use crate::load::Traffic;
use crate::load::dialog::Dialog;
use crate::progress;
use crate::report::columns::{Layout, OPEN};
use crate::said::say;
use crate::sample::Sample;

const SIZE: usize = 64;
const CONNECTIONS: usize = 64;
/// Shares of saturation, in percent.
const PERCENT: [u32; 3] = [10, 30, 70];

struct Open {
    percent: u32,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |percent| {
        let title = format!("TCP echo, 64 B over 64 connections, open loop at {percent} % of saturation");
        Workload::new(format!("open-{percent}"), title, Open { percent })
    };
    PERCENT.map(one).into()
}

impl Open {
    fn run(&self, bench: &mut Bench, peer: &str, rate: Option<f64>) -> io::Result<Sample> {
        let cpu = bench.cpus.server;
        let mut server = bench.start(program(self, peer)?, &[cpu], echo::plan(SIZE, CONNECTIONS))?;
        let dialog = Arc::new(Dialog::Echo { size: SIZE });
        let times = bench.settings.times;
        let traffic = Traffic { dialog, connections: CONNECTIONS, depth: 1, rate, times };
        bench.generator()?.run(&traffic, &mut server, None)
    }

    /// Messages a second of the slowest of `peers` in closed loop.
    fn saturation(&self, bench: &mut Bench, peers: &[&str]) -> io::Result<f64> {
        if let Some(rate) = bench.settings.rate {
            return Ok(rate);
        }
        bench.once("saturation on one core", |bench| {
            let mut rates = Vec::new();
            for peer in peers {
                progress::show(&format!("saturation {peer}"));
                // One that fails here will fail in its turn as well, and say why.
                if let Ok(sample) = self.run(bench, peer, None) {
                    rates.push((*peer, sample.ops_per_s()));
                }
            }
            slowest(bench, "saturation of one core, of which the open workloads take the lowest", &rates)
        })
    }
}

/// The lowest rate, after all have been told.
pub(super) fn slowest(bench: &mut Bench, what: &str, rates: &[(&str, f64)]) -> io::Result<f64> {
    progress::clear();
    let all: Vec<String> = rates.iter().map(|(peer, rate)| format!("{peer} {rate:.0}/s")).collect();
    let told = format!("{what}: {}", all.join(", "));
    say!("\n{told}");
    bench.found.push(told);
    // A peer that answered nothing had no CPU: it says nothing about what it stands.
    let lowest = rates.iter().map(|(_, rate)| *rate).filter(|rate| *rate >= 1.0).min_by(f64::total_cmp);
    lowest.ok_or_else(|| io::Error::other("no peer could be saturated"))
}

impl Work for Open {
    fn role(&self) -> &'static str {
        "echo"
    }

    fn layout(&self) -> Layout {
        OPEN
    }

    fn prepare(&self, bench: &mut Bench, peers: &[&str]) -> io::Result<()> {
        self.saturation(bench, peers).map(drop)
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let saturation = self.saturation(bench, &[peer])?;
        self.run(bench, peer, Some(saturation * f64::from(self.percent) / 100.0))
    }
}
