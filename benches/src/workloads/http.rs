//! HTTP servers of the ecosystem: hyper's hello over HTTP/1.1 and HTTP/2, and an axum application. Answers
//! are compared with what the application is known to say.

use std::io;
use std::sync::Arc;

use super::{Work, Workload, learn, program};
use crate::bench::Bench;
use crate::load::Traffic;
use crate::load::http2::Streams;
use crate::plan::Plan;
use crate::programs::{HELLO, USER_JSON, USER_PATH};
use crate::report::columns::{Layout, SERVING};
use crate::sample::Sample;

const CONNECTIONS: usize = 64;
/// Connections of HTTP/2, and streams on each.
const MULTIPLEXED: usize = 8;
const STREAMS: usize = 32;

enum Http {
    Hyper,
    Axum,
    Http2,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let hello = format!("hyper's hello over HTTP/1.1, {CONNECTIONS} connections that are kept alive");
    let axum = format!("axum, a route with an argument answered in JSON, over {CONNECTIONS} connections");
    let http2 = format!(
        "hyper's hello over HTTP/2, {STREAMS} streams under way on each of {MULTIPLEXED} connections"
    );
    vec![
        Workload::new("hyper-hello", hello, Http::Hyper),
        Workload::new("axum-json", axum, Http::Axum),
        Workload::new("hyper-http2", http2, Http::Http2),
    ]
}

impl Work for Http {
    fn role(&self) -> &'static str {
        match self {
            Http::Hyper => "hyper",
            Http::Axum => "axum",
            Http::Http2 => "http2",
        }
    }

    fn layout(&self) -> Layout {
        SERVING
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let cpu = bench.cpus.server;
        let times = bench.settings.times;
        let (app, path, body) = match self {
            Http::Axum => ("json", USER_PATH, USER_JSON),
            _ => ("hello", "/", HELLO),
        };
        let plan = Plan::default().with("app", app);
        let mut server = bench.start(program(self, peer)?, &[cpu], plan)?;
        if let Http::Http2 = self {
            let (connections, streams) = (MULTIPLEXED, STREAMS);
            let streams = Streams { connections, streams, body: body.as_bytes(), times };
            return bench.multiplexer()?.run(&streams, &mut server);
        }
        let dialog = Arc::new(learn::answer(server.address()?, path, body.as_bytes())?);
        let traffic = Traffic { dialog, connections: CONNECTIONS, depth: 1, rate: None, times };
        bench.generator()?.run(&traffic, &mut server, None)
    }

    fn counts(&self) -> bool {
        true
    }
}
