//! Teaches the shape of a server: one listener per core, one task per connection, an orderly end.
//!
//! What a client sends comes back. The buffer that a receive picked is the one that is sent: nothing is
//! copied, and a connection that is idle holds no buffer. Try it with `nc 127.0.0.1 7000`.

mod serving;

use ringwork::net::TcpStream;
use ringwork::{Balance, Serve, runtime};
use serving::{Stop, cannot_listen, complain, listen_options};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// After the signal to stop: how long connections may still take.
const GRACE: Duration = Duration::from_secs(4);
const USAGE: &str = "usage: echo [--listen ADDR] [--cores N] [--balance WAY]

  --listen ADDR  where to listen (default 127.0.0.1:7000; port 0 picks one)
  --cores N      how many cores (default: all this process may use)
  --balance WAY  how connections are spread over the cores: nearest (default), kernel or least-loaded
  --help         this text";

struct Args {
    listen: SocketAddr,
    cores: Option<usize>,
    balance: Balance,
}

fn parse() -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::*;
    let listen = SocketAddr::from(([127, 0, 0, 1], 7000));
    let mut args = Args { listen, cores: None, balance: Balance::Nearest };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => args.listen = parser.value()?.parse_with(address)?,
            Long("cores") => args.cores = Some(parser.value()?.parse_with(cores)?),
            Long("balance") => args.balance = parser.value()?.parse_with(balance)?,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Some(args))
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "--listen takes an address such as 127.0.0.1:7000")
}

fn cores(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or("--cores takes a whole number from 1 to 1024")
}

fn balance(way: &str) -> Result<Balance, &'static str> {
    match way {
        "nearest" => Ok(Balance::Nearest),
        "kernel" => Ok(Balance::Kernel),
        "least-loaded" => Ok(Balance::LeastLoaded),
        _ => Err("--balance takes nearest, kernel or least-loaded"),
    }
}

/// Serves one connection until the peer has sent all it wants to.
async fn echo(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let received = stream.recv_pooled().await?;
        if received.is_empty() {
            return stream.shutdown_write().await;
        }
        // Not waited for: the next one waits if the peer does not read.
        stream.send_off(received).await?;
    }
}

async fn serve(Args { listen, balance, .. }: Args) -> Result<(), String> {
    // Listened for before anybody is told that the server is there.
    let stop = Stop::new("echo")?;
    // A connection that breaks is its own affair; the others go on.
    let handler = |stream, _peer| async { drop(echo(stream).await) };
    let serving = Serve::new(listen).options(listen_options("echo")).balance(balance);
    let server = serving.start(handler).await;
    let server = server.map_err(|error| cannot_listen(listen, "--listen", &error))?;
    // Whoever waits for this line may be at the other end of a pipe, and gone.
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "listening on {}", server.local_addr()).and_then(|()| stdout.flush());
    stop.asked(Some(GRACE)).await?;
    stop.or_at_once(server.stop(GRACE)).await;
    Ok(())
}

fn main() -> ExitCode {
    let args = match parse() {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain("echo", format_args!("{error} (see --help)"));
            return ExitCode::from(2);
        }
    };
    let mut builder = runtime::Builder::new();
    if let Some(cores) = args.cores {
        builder = builder.cores(cores);
    }
    let served = match builder.build() {
        Ok(runtime) => runtime.run_main(move || serve(args)),
        Err(error) => Err(error.to_string()),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain("echo", error);
            ExitCode::FAILURE
        }
    }
}
