//! Teaches how a service that outgrows one machine is replicated on ringwork: a key-value store of several
//! nodes that agree by Raft, keep their log in a file, and go on when a minority of them has died.
//!
//! ```text
//! cargo build --release -p ringwork-openraft; cd target/release
//! ./raft_kv serve --id 1 --dir /tmp/kv1 --listen 127.0.0.1:7001
//! ./raft_kv serve --id 2 --dir /tmp/kv2 --listen 127.0.0.1:7002
//! ./raft_kv serve --id 3 --dir /tmp/kv3 --listen 127.0.0.1:7003
//! ./raft_kv init --nodes 1=127.0.0.1:7001,2=127.0.0.1:7002,3=127.0.0.1:7003
//! ./raft_kv put colour green --nodes 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! ./raft_kv get colour --nodes 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! ./raft_kv status --nodes 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! ```
//!
//! A node says on stderr who leads whenever that changes. A client that finds no leader tries for 10 s, in
//! which an election ends, and then says what each node has answered and what to do.
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
use std::convert::Infallible;
use std::future::pending;
use std::io::{self, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

/// How long a client tries. An election takes a few seconds.
const LIMIT: Duration = Duration::from_secs(10);
/// How long the runtime may take to end.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);

async fn serve(serve: Serve) -> io::Result<()> {
    let Serve { id, dir, listen, snapshot_every } = serve;
    // Before the node is there, so that a signal in between does not end the process as if by accident.
    let stop = Stop::new("raft_kv").map_err(io::Error::other)?;
    let node = Node::start(NodeOptions { id, dir, listen, snapshot_every }).await?;
    say(format_args!("listening on {}", node.address()))?;
    let ended = ended(&stop, id, &node).await;
    stop.or_at_once(node.stop()).await;
    ended
}

/// Waits until somebody wants the node to end, or it cannot go on, and says meanwhile who leads.
async fn ended(stop: &Stop, id: u64, node: &Node) -> io::Result<()> {
    let (asked, failed) = (pin!(stop.asked(None)), pin!(node.failed()));
    match select(select(asked, failed), pin!(tell_who_leads(id, node))).await {
        Either::Left((Either::Left((stopped, _)), _)) => stopped.map_err(io::Error::other),
        Either::Left((Either::Right((failure, _)), _)) => Err(failure),
        Either::Right((never, _)) => match never {},
    }
}

/// One line for each change: whoever runs the node sees when its cluster can do nothing, and when it can.
async fn tell_who_leads(id: u64, node: &Node) -> Infallible {
    let mut changes = node.leader_changes();
    while let Some(leadership) = changes.next().await {
        complain(format_args!("node {id}: {leadership}"));
    }
    pending().await
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
