//! Teaches how a service that outgrows one machine is replicated on ringwork: a key-value store of several
//! nodes that agree by Raft, keep their log in a file, and go on when a minority of them has died.
//!
//! ```text
//! raft_kv serve --id 1 --dir /tmp/kv1 --listen 127.0.0.1:7001
//! raft_kv serve --id 2 --dir /tmp/kv2 --listen 127.0.0.1:7002
//! raft_kv serve --id 3 --dir /tmp/kv3 --listen 127.0.0.1:7003
//! raft_kv init --nodes 1=127.0.0.1:7001,2=127.0.0.1:7002,3=127.0.0.1:7003
//! raft_kv put colour green --nodes 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! raft_kv get colour --nodes 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! raft_kv status --nodes 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! ```
#![forbid(unsafe_code)]

mod args;
#[path = "../../../../serving/mod.rs"]
mod serving;

use args::{Args, Command, Serve};
use futures_util::future::{Either, select};
use ringwork::runtime::Builder;
use ringwork_openraft::net::{Client, initialize, status};
use ringwork_openraft::{Node, NodeOptions};
use serving::Stop;
use std::io::{self, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

/// How long a client tries. An election takes a few seconds.
const LIMIT: Duration = Duration::from_secs(20);
/// How long the runtime may take to end.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);

async fn serve(serve: Serve) -> io::Result<()> {
    let Serve { id, dir, listen, snapshot_every } = serve;
    // Before the node is there, so that a signal in between does not end the process as if by accident.
    let stop = Stop::new("raft_kv").map_err(io::Error::other)?;
    let node = Node::start(NodeOptions { id, dir, listen, snapshot_every }).await?;
    say(format_args!("listening on {}", node.address()))?;
    let ended = match select(pin!(stop.asked()), pin!(node.failed())).await {
        Either::Left((stopped, _)) => stopped.map_err(io::Error::other),
        Either::Right((failure, _)) => Err(failure),
    };
    stop.or_at_once(node.stop()).await;
    ended
}

async fn run(command: Command) -> io::Result<()> {
    match command {
        Command::Serve(options) => serve(options).await,
        Command::Initialize(nodes) => initialize(&nodes).await,
        Command::Put { key, value, nodes } => Client::new(nodes).put(&key, &value, LIMIT).await,
        Command::Get { key, nodes } => match Client::new(nodes).get(&key, LIMIT).await? {
            Some(value) => say(format_args!("{value}")),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{key} has no value"))),
        },
        Command::Status(nodes) => {
            for address in nodes {
                match status(&address).await {
                    Ok(status) => say(format_args!("{address}: {status:?}"))?,
                    Err(error) => say(format_args!("{address}: {error}"))?,
                }
            }
            Ok(())
        }
    }
}

fn say(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn complain(line: impl std::fmt::Display) {
    serving::complain("raft_kv", line);
}

fn main() -> ExitCode {
    let Args { cores, command } = match args::parse() {
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
    let mut builder = Builder::new();
    if let Some(cores) = cores {
        builder = builder.cores(cores);
    }
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(error);
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(command));
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}
