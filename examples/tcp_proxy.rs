//! Teaches how bytes pass through a server: both directions at once in one task, and an end that is true.
//!
//! Each direction is one call, `forward_to`. Messages are received into a buffer that the runtime picks and
//! that very buffer is sent, bulk goes from socket to socket through a pipe: nothing is copied, and an idle
//! connection holds neither. The next receive waits for the send, so a reader that has stopped stops its
//! writer too (back-pressure), and nobody else.
//!
//! To TCP a FIN says "this was all", so the proxy passes it on only where it is true: the half that ended,
//! ends on the other side, and the other half goes on. Whatever else ends a connection (the upstream refuses
//! or is lost, a client breaks off, the proxy has to go) becomes a reset on both sides, because a FIN would
//! turn a torn stream into a whole one.
//!
//! ```text
//! cargo run --release --example echo -- --listen 127.0.0.1:7000
//! cargo run --release --example tcp_proxy -- --listen 127.0.0.1:7001 --upstream 127.0.0.1:7000
//! ```
#![forbid(unsafe_code)]

mod serving;

use futures_util::future::try_join;
use ringwork::net::{ForwardError, TcpStream};
use ringwork::runtime::Builder;
use ringwork::time::timeout;
use ringwork::{Balance, Serve};
use serving::clients::{Clients, Descriptors};
use serving::{Stop, cannot_listen};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: tcp_proxy --listen ADDR --upstream ADDR [--cores N] [--balance WAY]

  --listen ADDR    where clients connect (port 0 picks one)
  --upstream ADDR  where their connections are passed on to
  --cores N        how many cores (default: all this process may use)
  --balance WAY    how clients are spread over the cores: nearest (default), kernel or least-loaded
  --help           this text";

/// How long the upstream may take to answer at all; the kernel would try for two minutes.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// After the signal to stop: how long connections may go on. The process is gone within 5 s.
const GRACE: Duration = Duration::from_secs(4);
/// How long the runtime may take to end what is left after that.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);

struct Args {
    listen: SocketAddr,
    upstream: SocketAddr,
    cores: Option<usize>,
    balance: Balance,
}

fn parse() -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut listen, mut upstream, mut cores, mut balance) = (None, None, None, Balance::Nearest);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = Some(parser.value()?.parse_with(|text| address(text, LISTEN))?),
            Long("upstream") => upstream = Some(parser.value()?.parse_with(|text| address(text, UPSTREAM))?),
            Long("cores") => cores = Some(parser.value()?.parse_with(number)?),
            Long("balance") => balance = parser.value()?.parse_with(way)?,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    let listen = listen.ok_or("missing --listen ADDR")?;
    let upstream = upstream.ok_or("missing --upstream ADDR")?;
    Ok(Some(Args { listen, upstream, cores, balance }))
}

const LISTEN: &str = "--listen takes an address such as 127.0.0.1:7001";
const UPSTREAM: &str = "--upstream takes an address such as 127.0.0.1:7000";

fn address(text: &str, expected: &'static str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| expected)
}

fn number(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or("--cores takes a whole number from 1 to 1024")
}

fn way(name: &str) -> Result<Balance, &'static str> {
    match name {
        "nearest" => Ok(Balance::Nearest),
        "kernel" => Ok(Balance::Kernel),
        "least-loaded" => Ok(Balance::LeastLoaded),
        _ => Err("--balance takes nearest, kernel or least-loaded"),
    }
}

/// One of the two ends of a connection through the proxy.
struct Side {
    name: &'static str,
    stream: TcpStream,
}

/// A side that broke, and how.
struct Broken {
    side: &'static str,
    error: io::Error,
}

impl Side {
    fn new(name: &'static str, stream: TcpStream) -> Result<Self, Broken> {
        let side = Self { name, stream };
        // From here on closing the socket resets the connection, wherever and why ever the task ends.
        side.set(|stream| stream.set_linger(Some(Duration::ZERO)))?;
        // What waits to be joined with more bytes, waits in vain: the proxy has been given what there is.
        side.set(|stream| stream.set_nodelay(true))?;
        // A peer that vanished without a word is found out in the end.
        side.set(|stream| stream.set_keepalive(true))?;
        Ok(side)
    }

    fn set(&self, option: impl FnOnce(&TcpStream) -> io::Result<()>) -> Result<(), Broken> {
        option(&self.stream).map_err(|error| self.broken(error))
    }

    fn broken(&self, error: io::Error) -> Broken {
        Broken { side: self.name, error }
    }
}

/// Passes on what `from` sends until it has sent all.
async fn pass(from: &Side, to: &Side) -> Result<(), Broken> {
    from.stream.forward_to(&to.stream).await.map_err(|error| match error {
        ForwardError::Recv { error, .. } => from.broken(error),
        ForwardError::Send { error, .. } => to.broken(error),
    })?;
    to.stream.shutdown_write().await.map_err(|error| to.broken(error))
}

/// Serves one client: both directions at once, until both have ended or one is broken.
async fn relay(client: TcpStream, upstream: SocketAddr) -> Result<(), Broken> {
    let client = Side::new("client", client)?;
    let connected = timeout(CONNECT_TIME, TcpStream::connect(upstream)).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let upstream = connected.map_err(|error| Broken { side: "upstream", error })?;
    let upstream = Side::new("upstream", upstream)?;
    try_join(pass(&client, &upstream), pass(&upstream, &client)).await?;
    // All is said in both directions: what the kernel still has to deliver is delivered.
    client.set(|stream| stream.set_linger(None))?;
    upstream.set(|stream| stream.set_linger(None))
}

async fn serve_client(client: TcpStream, peer: SocketAddr, upstream: SocketAddr) {
    let Err(Broken { side, error }) = relay(client, upstream).await else { return };
    // Clients break off every day; a broken upstream is worth a line.
    if side == "upstream" {
        complain(format_args!("client {peer}: upstream {upstream}: {error}"));
    }
}

fn complain(line: impl std::fmt::Display) {
    serving::complain("tcp_proxy", line);
}

/// How many connections the descriptors are good for.
fn connections_max(descriptors: Descriptors) -> u64 {
    // Each connection has a socket on either side; an eighth of all may be pipes (`forward_to`).
    descriptors.free.saturating_sub(descriptors.limit / 8) / 2
}

/// Serves until a signal says stop. The error is one line for stderr.
async fn serve(args: &Args) -> Result<(), String> {
    // Listening for signals starts here: from the line that announces the proxy on, none is missed.
    let stop = Stop::new("tcp_proxy")?;

    let descriptors = Descriptors::take();
    let clients = Clients::new("tcp_proxy", descriptors, connections_max(descriptors), args.balance)?;
    let options = clients.listen_options();
    let upstream = args.upstream;
    let serving = Serve::new(args.listen).options(options).balance(args.balance);
    let handler = move |stream, peer| {
        let client = clients.enter();
        async move {
            serve_client(stream, peer, upstream).await;
            drop(client);
        }
    };
    let server = serving.start(handler).await;
    let server = server.map_err(|error| cannot_listen(args.listen, "--listen", &error))?;
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "listening on {}", server.local_addr()).and_then(|()| stdout.flush());

    let stopped = stop.asked(Some(GRACE)).await;
    let open = server.connections();
    if stop.or_at_once(server.stop(GRACE)).await == Some(false) {
        complain(format_args!("of {open} connections some did not end in {GRACE:?} and were reset"));
    }
    stopped
}

fn run(args: &Args) -> Result<(), String> {
    let mut builder = Builder::new();
    if let Some(cores) = args.cores {
        builder = builder.cores(cores);
    }
    let runtime = builder.build().map_err(|error| error.to_string())?;
    let served = runtime.block_on(serve(args));
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    served
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
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}
