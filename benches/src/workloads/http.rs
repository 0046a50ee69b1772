//! HTTP servers of the ecosystem: hyper's hello over HTTP/1.1 and HTTP/2, and an axum application. Answers
//! are compared with what the application is known to say.

use std::io;
use std::sync::Arc;

use super::shared::Place;
use super::{Work, Workload, learn, program};
use crate::bench::Bench;
use crate::load::Traffic;
use crate::load::http2::Streams;
use crate::plan::Plan;
use crate::programs::{HELLO, USER_JSON, USER_PATH};
use crate::report::columns::Layout;
use crate::sample::Sample;

const CONNECTIONS: usize = 64;
/// Connections of HTTP/2, and streams on each.
const MULTIPLEXED: usize = 8;
const STREAMS: usize = 32;

enum App {
    Hyper,
    Axum,
    Http2,
}

struct Http {
    app: App,
    place: Place,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |app, place: Place| {
        let (name, title) = match app {
            App::Hyper => (
                "hyper-hello",
                format!("hyper's hello over HTTP/1.1, {CONNECTIONS} connections that are kept alive"),
            ),
            App::Axum => (
                "axum-json",
                format!("axum, a route with an argument answered in JSON, over {CONNECTIONS} connections"),
            ),
            App::Http2 => (
                "hyper-http2",
                format!("hyper's hello over HTTP/2, {STREAMS} streams on each of {MULTIPLEXED} connections"),
            ),
        };
        let (end, beside) = place.words();
        Workload::new(format!("{name}{end}"), title + beside, Http { app, place })
    };
    let mut all: Vec<Workload> =
        [App::Hyper, App::Axum, App::Http2].map(|app| one(app, Place::OneCpu)).into();
    all.extend([App::Hyper, App::Axum].map(|app| one(app, Place::BothCpus)));
    all
}

impl Work for Http {
    fn role(&self) -> &'static str {
        match self.app {
            App::Hyper => "hyper",
            App::Axum => "axum",
            App::Http2 => "http2",
        }
    }

    fn place(&self) -> Option<Place> {
        Some(self.place)
    }

    fn layout(&self) -> Layout {
        self.place.layout()
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let times = bench.settings.times;
        let (app, path, body) = match self.app {
            App::Axum => ("json", USER_PATH, USER_JSON),
            _ => ("hello", "/", HELLO),
        };
        let plan = Plan::default().with("app", app);
        let mut server = self.place.start(bench, program(self, peer)?, plan)?;
        if let App::Http2 = self.app {
            let (connections, streams) = (MULTIPLEXED, STREAMS);
            let streams = Streams { connections, streams, body: body.as_bytes(), times };
            return bench.multiplexer()?.run(&streams, &mut server);
        }
        let dialog = Arc::new(learn::answer(server.address()?, path, body.as_bytes())?);
        let traffic = Traffic { dialog, connections: CONNECTIONS, depth: 1, rate: None, times };
        self.place.measure(bench, &mut server, &traffic, None)
    }

    fn counts(&self) -> bool {
        self.place.counts()
    }
}
