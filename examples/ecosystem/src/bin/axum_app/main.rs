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

use ringwork::compat::axum::serve;
use ringwork_ecosystem::Program;
use std::net::SocketAddr;
use std::process::ExitCode;

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
            Long("listen") => args.listen = parser.value()?.parse_with(ringwork_ecosystem::address)?,
            Long("cores") => args.cores = Some(parser.value()?.parse_with(ringwork_ecosystem::cores)?),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Some(args))
}

fn main() -> ExitCode {
    let run = async |args: Args| {
        let app = app::router().into_make_service_with_connect_info::<SocketAddr>();
        PROGRAM.serve(args.listen, serve(PROGRAM.listen(args.listen), app).start()).await
    };
    PROGRAM.main(parse(), |args| args.cores, run)
}
