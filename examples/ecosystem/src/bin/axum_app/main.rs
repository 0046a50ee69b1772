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
use ringwork_ecosystem::{Program, serve_http};
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::sync::watch;

const PROGRAM: Program = Program { name: "axum_app", usage: USAGE };

const USAGE: &str = "usage: axum_app [--listen ADDR] [--cores N]

  --listen ADDR  where to listen (default 127.0.0.1:8080; port 0 picks one)
  --cores N      how many cores (default: all this process may use)
  --help         this text";

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

fn main() -> ExitCode {
    let serve = async |args: Args| {
        let app = app::router();
        let handler = move |client, peer, stop| serve_client(client, peer, app.clone(), stop);
        PROGRAM.serve(args.listen, handler).await
    };
    PROGRAM.main(parse(), |args| args.cores, serve)
}
