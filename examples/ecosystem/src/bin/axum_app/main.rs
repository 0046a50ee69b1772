//! Teaches that an axum application runs on ringwork unchanged but for the call that serves it.
//!
//! JSON, shared state, an upload, server-sent events and a WebSocket chat with a page for the browser. What
//! calls tokio's runtime inside has no place here: axum's own `ws` spawns on tokio, so the chat accepts the
//! upgrade from hyper and speaks WebSocket through `tokio-tungstenite`.
//!
//! ```text
//! cargo run --release -p ringwork-ecosystem --bin axum_app -- --listen 127.0.0.1:8080
//! ```
#![forbid(unsafe_code)]

mod app;
mod chat;

use hyper::Request;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use ringwork::net::TcpStream;
use ringwork::runtime::Builder;
use ringwork::serve_per_core;
use ringwork::signal::Signal;
use ringwork_ecosystem::serve_http;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::watch;

const USAGE: &str = "usage: axum_app [--listen ADDR] [--cores N]

  --listen ADDR  where to listen (default 127.0.0.1:8080; port 0 picks one)
  --cores N      how many cores (default: all this process may use)
  --help         this text";

/// After the signal to stop: how long requests may go on. The process is gone within 5 s.
const GRACE: Duration = Duration::from_secs(4);
/// How long the runtime may take to end what is left after that.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);

struct Args {
    listen: SocketAddr,
    cores: Option<usize>,
}

fn parse() -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut args = Args { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), cores: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => args.listen = parser.value()?.parse()?,
            Long("cores") => args.cores = Some(parser.value()?.parse::<std::num::NonZeroUsize>()?.get()),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Some(args))
}

/// Serves one client with the application.
async fn serve_client(client: TcpStream, peer: SocketAddr, app: axum::Router, stop: watch::Receiver<bool>) {
    let _gone_already = client.set_nodelay(true);
    let service = TowerToHyperService::new(app);
    // Who the client is, for `axum::extract::ConnectInfo`.
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        hyper::service::Service::call(&service, request)
    });
    serve_http(client, service, stop).await;
}

/// Serves until a signal says stop. The error is one line for stderr.
async fn serve(args: Args) -> Result<(), String> {
    let signals = Signal::new(&[libc::SIGINT, libc::SIGTERM]);
    let signals = signals.map_err(|error| format!("cannot listen for signals: {error}"))?;
    let (stop, stopping) = watch::channel(false);
    let app = app::router();
    let handler = move |client, peer| serve_client(client, peer, app.clone(), stopping.clone());
    let server = serve_per_core(args.listen, handler).await;
    let server = server.map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "listening on {}", server.local_addr()).and_then(|()| stdout.flush());

    let stopped = signals.recv().await;
    let _nobody_may_be_there = stop.send(true);
    let _some_may_not_have_ended = server.stop(GRACE).await;
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

fn complain(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "axum_app: {line}");
}

fn main() -> ExitCode {
    let args = match parse() {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{USAGE}");
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
