//! Teaches how ringwork carries the HTTP world: hyper in front, `hyper-util`'s client behind, rustls between.
//!
//! A reverse proxy: HTTP/1 and HTTP/2 in front (over TLS if told so), HTTP/1 to the upstream over connections
//! that are kept alive, in a pool of each core. Bodies are streamed both ways, so a slow reader slows its own
//! writer and nobody else; an upgrade (WebSocket) is passed through. An upstream that cannot be reached is
//! 502, one that does not answer in time 504, and one that dies in the middle of a body ends the response as
//! unfinished.
//!
//! ```text
//! cargo run --release -p ringwork-ecosystem --bin http_proxy -- \
//!     --listen 127.0.0.1:8081 --upstream http://127.0.0.1:8080
//! ```
#![forbid(unsafe_code)]

mod args;
mod forward;
mod headers;
mod tls;

use args::Args;
use forward::{Upstream, forward};
use hyper::service::service_fn;
use ringwork::net::TcpStream;
use ringwork::runtime::Builder;
use ringwork::serve_per_core;
use ringwork::signal::Signal;
use ringwork::time::timeout;
use ringwork_ecosystem::{for_hyper, serve_http};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// After the signal to stop: how long requests may go on. The process is gone within 5 s.
const GRACE: Duration = Duration::from_secs(4);
/// How long the runtime may take to end what is left after that.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);
/// How long a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// What all connections share.
struct Proxy {
    upstream: Arc<Upstream>,
    tls: Option<TlsAcceptor>,
}

/// Serves one client.
async fn serve_client(client: TcpStream, peer: SocketAddr, proxy: Arc<Proxy>, stop: watch::Receiver<bool>) {
    if client.set_nodelay(true).is_err() {
        // It is gone already.
        return;
    }
    let (upstream, over_tls) = (Arc::clone(&proxy.upstream), proxy.tls.is_some());
    let service = service_fn(move |request| forward(request, peer, over_tls, Arc::clone(&upstream)));
    let Some(acceptor) = &proxy.tls else { return serve_http(client, service, stop).await };
    if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIME, acceptor.accept(client)).await {
        serve_http(for_hyper(stream), service, stop).await;
    }
}

/// Serves until a signal says stop. The error is one line for stderr.
async fn serve(args: Args) -> Result<(), String> {
    let signals = Signal::new(&[libc::SIGINT, libc::SIGTERM]);
    let signals = signals.map_err(|error| format!("cannot listen for signals: {error}"))?;
    let tls = args.tls.as_ref().map(|files| tls::acceptor(&files.cert, &files.key)).transpose()?;
    let proxy = Arc::new(Proxy { upstream: Arc::new(args.upstream), tls });

    let (stop, stopping) = watch::channel(false);
    let handler = move |client, peer| serve_client(client, peer, Arc::clone(&proxy), stopping.clone());
    let server = serve_per_core(args.listen, handler).await;
    let server = server.map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "listening on {}", server.local_addr()).and_then(|()| stdout.flush());

    let stopped = signals.recv().await;
    let _nobody_may_be_there = stop.send(true);
    if !server.stop(GRACE).await {
        complain(format_args!("some connections did not end in {GRACE:?} and were reset"));
    }
    stopped.map(drop).map_err(|error| format!("cannot wait for signals: {error}"))
}

fn run(args: Args) -> Result<(), String> {
    let mut builder = Builder::new();
    if let Some(cores) = args.cores {
        builder = builder.cores(cores);
    }
    let runtime = builder.build().map_err(|error| error.to_string())?;
    let served = runtime.block_on(serve(args));
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    served
}

/// A line on stderr. Whoever reads there may be gone: no reason to stop serving.
fn complain(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "http_proxy: {line}");
}

fn main() -> ExitCode {
    let args = match args::parse() {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(format_args!("{error} (see --help)"));
            return ExitCode::from(2);
        }
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}
