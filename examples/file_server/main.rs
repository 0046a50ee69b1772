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
//! | `path`, `site`, `cache`, `told` | from a URL to an open file, confined by the kernel |
//! | `answer` with `conditional`, `range`, `media`, `listing` | what to say |
//! | `response` | how it is written |
//! | `body` | sending it |
//! | `stop` | the orderly end |
//! | `serving` | signals, as many clients as there are descriptors for: shared with the other servers |
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
#[path = "../serving/mod.rs"]
mod serving;
mod site;
mod stop;
mod told;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringwork::Serve;
use ringwork::fs::Dir;
use ringwork::runtime::{Builder, Handle};

use args::{Command, Options};
use cache::Cache;
use server::Server;
use serving::clients::{Clients, Descriptors};
use serving::{cannot, cannot_listen, complain};
use site::Site;
use stop::Stop;

/// After the signal to stop: how long answers under way may still take. The process is gone within 5 s.
const GRACE: Duration = Duration::from_secs(4);
/// How long the runtime may take to end what is left after that.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);
/// Files that all cores together keep open for later, if there are descriptors enough.
const OPEN_FILES_MAX: u64 = 512;

fn main() -> ExitCode {
    let options = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve(options)) => options,
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(line) => {
            complain("file_server", line);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            complain("file_server", line);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let mut builder = Builder::new();
    if let Some(cores) = options.cores {
        builder = builder.cores(cores);
    }
    let runtime = builder.build().map_err(|error| error.to_string())?;
    let served = runtime.block_on(serve(options));
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    served
}

ringwork::core_local! {
    /// How the connections of this core are told that the server stops.
    static STOP: Rc<Stop> = Rc::default();
}

/// How many clients so many descriptors are good for, and how many files may be kept open for later beside
/// them: each client has its socket, and may have a file that nobody else has.
fn divided(descriptors: u64) -> (u64, usize) {
    let open_files = (descriptors / 3).min(OPEN_FILES_MAX);
    ((descriptors - open_files) / 2, open_files as usize)
}

/// Serves until a signal says stop. The error is one line for stderr.
async fn serve(options: &Options) -> Result<(), String> {
    // Listening for signals starts here: from the line that announces the server on, none is missed.
    let signals = serving::Stop::new("file_server")?;
    let root = Dir::open(&options.root).await;
    let root =
        root.map_err(|error| cannot(format_args!("open --root {}", options.root.display()), &error))?;
    let runtime = Handle::current();
    let descriptors = Descriptors::take();
    let (clients_max, open_files_max) = divided(descriptors.free);
    let clients = Clients::new("file_server", descriptors, clients_max, options.balance)?;
    let listen_options = clients.listen_options();
    let (fresh_for, open_files_max) = (options.cache, open_files_max / runtime.cores());

    // Runs once on each core. What it makes stays there, so it may hold an `Rc`.
    let per_core = move || {
        let site = Site::new(root.clone(), Cache::new(fresh_for, open_files_max));
        let server = Rc::new(Server::new(site, STOP.with(Rc::clone)));
        let clients = Arc::clone(&clients);
        move |stream, _peer| {
            let (client, server) = (clients.enter(), Rc::clone(&server));
            async move {
                connection::serve(stream, server).await;
                drop(client);
            }
        }
    };
    let serve = Serve::new(options.listen).options(listen_options).balance(options.balance);
    let serving = serve.start_local(per_core).await;
    let serving = serving.map_err(|error| cannot_listen(options.listen, "--listen", &error))?;
    announce(serving.local_addr());

    let stopped = signals.asked(Some(GRACE)).await;
    for core in 0..runtime.cores() {
        drop(runtime.spawn_on(core, || async { STOP.with(|stop| stop.stop()) }));
    }
    if signals.or_at_once(serving.stop(GRACE)).await == Some(false) {
        complain("file_server", "cut the connections of clients that were still reading");
    }
    stopped
}

/// Says that clients may come. Whoever waits for this line may be at the other end of a pipe, and gone.
fn announce(address: SocketAddr) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "listening on {address}").and_then(|()| stdout.flush());
}
