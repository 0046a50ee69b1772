//! A TCP proxy: round trips through it, and bytes in bulk. The load generator is client and upstream; where
//! there are two, each is the upstream of its own clients.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::echo::{self, bytes, plural};
use super::shared::{self, Place};
use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::load::Traffic;
use crate::load::dialog::Dialog;
use crate::programs::listen;
use crate::report::columns::{Layout, STREAMING};
use crate::sample::Sample;

/// The buffer of a proxy that carries bytes in bulk.
const BULK_BUFFER: usize = 64 << 10;

enum Proxy {
    RoundTrips { size: usize, connections: usize, place: Place },
    Bulk { connections: usize },
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let round_trips = |size, connections, place: Place| {
        let (end, beside) = place.words();
        let title = format!("TCP proxy, {} there and back over {}{beside}", bytes(size), plural(connections));
        let name = format!("proxy-{size}x{connections}{end}");
        Workload::new(name, title, Proxy::RoundTrips { size, connections, place })
    };
    let bulk = |connections| {
        let title = format!("TCP proxy, one way in bulk over {}", plural(connections));
        Workload::new(format!("proxy-bulk-x{connections}"), title, Proxy::Bulk { connections })
    };
    let on_one = [(64, 1), (64, 64), (64, 512), (4096, 64)];
    let mut all: Vec<Workload> =
        on_one.map(|(size, connections)| round_trips(size, connections, Place::OneCpu)).into();
    all.extend([1, 16].map(bulk));
    all.push(round_trips(64, 64, Place::BothCpus));
    all
}

impl Work for Proxy {
    fn role(&self) -> &'static str {
        "proxy"
    }

    fn special_roles(&self) -> &'static [&'static str] {
        if matches!(self, Proxy::Bulk { .. }) { &["proxy-bulk"] } else { &[] }
    }

    fn place(&self) -> Option<Place> {
        match *self {
            Proxy::RoundTrips { place, .. } => Some(place),
            Proxy::Bulk { .. } => None,
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Proxy::RoundTrips { place, .. } => place.layout(),
            Proxy::Bulk { .. } => STREAMING,
        }
    }

    fn connections(&self, _bench: &Bench) -> usize {
        let (Proxy::RoundTrips { connections, .. } | Proxy::Bulk { connections }) = *self;
        2 * connections
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        // With room for all at once: the proxies connect before anything is accepted.
        let upstream = listen((Ipv4Addr::LOCALHOST, 0).into())?;
        let (size, connections) = match *self {
            Proxy::RoundTrips { size, connections, .. } => (size, connections),
            Proxy::Bulk { connections } => (BULK_BUFFER, connections),
        };
        let place = self.place().unwrap_or(Place::OneCpu);
        let plan = echo::plan(size, connections).with("upstream", upstream.local_addr()?);
        let mut server = place.start(bench, program(self, peer)?, plan)?;
        let times = shared::settled(bench.settings.times, connections);
        match self {
            Proxy::Bulk { .. } => bench.bulk()?.run(connections, times, &mut server, Some(&upstream)),
            Proxy::RoundTrips { .. } => {
                let dialog = Arc::new(Dialog::Echo { size });
                let traffic = Traffic { dialog, connections, depth: 1, rate: None, times };
                place.measure(bench, &mut server, &traffic, Some(&upstream))
            }
        }
    }

    fn counts(&self) -> bool {
        match self {
            Proxy::RoundTrips { place, .. } => place.counts(),
            Proxy::Bulk { .. } => true,
        }
    }
}
