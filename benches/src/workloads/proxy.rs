//! A TCP proxy: round trips through it, and bytes in bulk. The load generator is client and upstream.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::echo::{self, bytes, plural};
use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::load::Traffic;
use crate::load::dialog::Dialog;
use crate::programs::listen;
use crate::report::columns::{Layout, SERVING, STREAMING};
use crate::sample::Sample;

/// The buffer of a proxy that carries bytes in bulk.
const BULK_BUFFER: usize = 64 << 10;

enum Proxy {
    RoundTrips { size: usize, connections: usize },
    Bulk { connections: usize },
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let round_trips = |(size, connections)| {
        let title = format!("TCP proxy, {} there and back over {}", bytes(size), plural(connections));
        Workload::new(format!("proxy-{size}x{connections}"), title, Proxy::RoundTrips { size, connections })
    };
    let bulk = |connections| {
        let title = format!("TCP proxy, one way in bulk over {}", plural(connections));
        Workload::new(format!("proxy-bulk-x{connections}"), title, Proxy::Bulk { connections })
    };
    let mut all = [(64, 1), (64, 64), (64, 512), (4096, 64)].map(round_trips).into_iter().collect::<Vec<_>>();
    all.extend([1, 16].map(bulk));
    all
}

impl Work for Proxy {
    fn role(&self) -> &'static str {
        "proxy"
    }

    fn layout(&self) -> Layout {
        match self {
            Proxy::RoundTrips { .. } => SERVING,
            Proxy::Bulk { .. } => STREAMING,
        }
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        // With room for all at once: the proxies connect before anything is accepted.
        let upstream = listen((Ipv4Addr::LOCALHOST, 0).into())?;
        let (size, connections) = match *self {
            Proxy::RoundTrips { size, connections } => (size, connections),
            Proxy::Bulk { connections } => (BULK_BUFFER, connections),
        };
        let plan = echo::plan(size, connections).with("upstream", upstream.local_addr()?);
        let cpu = bench.cpus.server;
        let mut server = bench.start(program(self, peer)?, &[cpu], plan)?;
        let times = bench.settings.times;
        match self {
            Proxy::Bulk { .. } => bench.bulk()?.run(connections, times, &mut server, Some(&upstream)),
            Proxy::RoundTrips { .. } => {
                let dialog = Arc::new(Dialog::Echo { size });
                let traffic = Traffic { dialog, connections, depth: 1, rate: None, times };
                bench.generator()?.run(&traffic, &mut server, Some(&upstream))
            }
        }
    }

    fn counts(&self) -> bool {
        true
    }
}
