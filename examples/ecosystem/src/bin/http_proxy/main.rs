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
use ringwork::time::timeout;
use ringwork_ecosystem::{Program, for_hyper, serve_http};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

const PROGRAM: Program = Program { name: "http_proxy", usage: args::USAGE };

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

fn main() -> ExitCode {
    let serve = async |args: Args| {
        let tls = args.tls.as_ref().map(|files| tls::acceptor(&files.cert, &files.key)).transpose()?;
        let proxy = Arc::new(Proxy { upstream: Arc::new(args.upstream), tls });
        let handler = move |client, peer, stop| serve_client(client, peer, Arc::clone(&proxy), stop);
        PROGRAM.serve(args.listen, handler).await
    };
    PROGRAM.main(args::parse(), |args| args.cores, serve)
}
