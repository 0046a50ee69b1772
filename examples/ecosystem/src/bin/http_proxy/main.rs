//! Teaches how ringwork carries the HTTP world: hyper in front, `hyper-util`'s client behind, rustls between.
//!
//! A reverse proxy: HTTP/1 and HTTP/2 in front (over TLS if told so), HTTP/1 to the upstream over connections
//! that are kept alive, in a pool of each core. Bodies are streamed both ways, so a slow reader slows its own
//! writer and nobody else; WebSocket is passed through, and no other upgrade, and CONNECT is 405. An upstream
//! that cannot be reached is 502, one that neither reads on nor answers for half a minute 504 (a client that
//! does not send on for so long: 408, or the end of both connections where the answer has begun), and one
//! that dies in the middle of a body, or sends no more of it for as long, ends the response as unfinished. A
//! body that the client breaks off never reaches the upstream as a whole one.
//!
//! ```text
//! cargo run --release -p ringwork-ecosystem --bin http_proxy -- \
//!     --listen 127.0.0.1:8081 --upstream http://127.0.0.1:8080
//! ```
#![forbid(unsafe_code)]

mod args;
mod download;
mod forward;
mod headers;
mod service;
mod upload;

use args::Args;
use hyper_util::server::conn::auto;
use ringwork::compat::hyper::Executor;
use ringwork::compat::tower::serve;
use ringwork_ecosystem::{Program, for_hyper, tls};
use service::MakeProxy;
use std::process::ExitCode;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

const PROGRAM: Program = Program { name: "http_proxy", usage: args::USAGE };

/// How long a client may take to send the head of a request, and an idle HTTP/1 connection to begin one.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// HTTP/2: how often a peer is asked whether it is still there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIME: Duration = Duration::from_secs(20);

fn settings(http: &mut auto::Builder<Executor>) {
    http.http2().keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_TIME);
}

fn main() -> ExitCode {
    let run = async |args: Args| {
        let make = MakeProxy::new(args.upstream, args.tls.is_some());
        let serve = serve(PROGRAM.listen(args.listen), make).head_time(HEAD_TIME).http(settings);
        let Some(files) = args.tls else { return PROGRAM.serve(args.listen, serve.start()).await };
        let acceptor = TlsAcceptor::from(tls::server_config(&files.cert, &files.key)?);
        let serve = serve.handshake(move |client| {
            let handshake = acceptor.accept(client);
            async move { handshake.await.map(for_hyper) }
        });
        PROGRAM.serve(args.listen, serve.start()).await
    };
    PROGRAM.main(args::parse(), |args| args.cores, run)
}
