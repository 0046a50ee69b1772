//! A file server for HTTP/1.1: one folder, every core, one ring per core.
//!
//! ```text
//! cargo run --release --example file_server -- --root . --listen 127.0.0.1:8080
//! ```
//!
//! Teaches: how a whole network service is put together with ringwork: a listener per core, tasks that
//! never leave their core and so share state through `Rc`, owned buffers from receive to send, files opened
//! and read through the same ring, and an orderly end.
//!
//! The pieces, in the order a request meets them, each readable on its own:
//!
//! | module | its subject |
//! |---|---|
//! | `args` | the command line |
//! | `connection` | receive, answer, keep-alive; every time limit |
//! | `inbound`, `request` | received bytes; parsing and framing |
//! | `server` | what the connections of one core share |
//! | `path`, `site`, `cache` | from a URL to an open file, confined by the kernel |
//! | `answer` with `conditional`, `range`, `media`, `listing` | what to say |
//! | `response` | how it is written |
//! | `body` | sending it |
//! | `stop` | the orderly end |
//!
//! It is not a web server for every need: no TLS, no compression, no uploads.

#![forbid(unsafe_code)]

mod answer;
mod args;
mod body;
mod cache;
mod conditional;
mod connection;
mod inbound;
mod listing;
mod media;
mod path;
mod range;
mod request;
mod response;
mod server;
mod site;
mod stop;

use std::cell::OnceCell;
use std::io::Write as _;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringwork::fs::Dir;

use args::{Command, Options};
use server::Server;

fn main() -> ExitCode {
    let options = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve(options)) => options,
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(line) => {
            eprintln!("file_server: {line}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("file_server: {line}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let mut builder = ringwork::runtime::Builder::new();
    if let Some(cores) = options.cores {
        builder = builder.cores(cores);
    }
    let runtime = builder.build().map_err(|error| error.to_string())?;
    let served = runtime.block_on(serve(options));
    runtime.shutdown_timeout(Duration::from_millis(500));
    served
}

thread_local! {
    /// This core's part of the server, made when its first connection comes.
    static SERVER: OnceCell<Rc<Server>> = const { OnceCell::new() };
}

async fn serve(options: &Options) -> Result<(), String> {
    let root = Dir::open(&options.root).await;
    let root =
        Arc::new(root.map_err(|error| format!("--root {}: {error}", options.root.display()))?);
    let fresh_for = options.cache;
    let open_files_max = 256;
    let serving = ringwork::net::serve_per_core(options.listen, move |stream, _peer| {
        let root = Arc::clone(&root);
        async move {
            let server = SERVER.with(|server| {
                Rc::clone(
                    server.get_or_init(|| Rc::new(Server::new(root, fresh_for, open_files_max))),
                )
            });
            connection::serve(stream, server).await;
        }
    });
    let serving = serving
        .await
        .map_err(|error| format!("--listen {}: {error}", options.listen))?;
    println!("listening on {}", serving.local_addr());
    let _ = std::io::stdout().flush();
    ringwork::signal::shutdown().await;
    serving.stop().await;
    let server = SERVER.with(|server| server.get().cloned());
    if let Some(server) = server {
        server.stop.stop();
        let _ = ringwork::time::timeout(GRACE, server.stop.empty()).await;
    }
    Ok(())
}

const GRACE: Duration = Duration::from_secs(4);
