//! What makes a server a program: its command line's outcome, its exit codes, its first line and its end.
//!
//! How a signal ends it is `serving`'s, as in the examples of the main crate.
#![forbid(unsafe_code)]

use crate::serving::{self, Stop, cannot_listen, listen_options};
use ringwork::Serve;
use ringwork::compat::tower::Server;
use ringwork::runtime::Builder;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// After the signal to stop: how long requests may go on. The process is gone within 5 s.
const GRACE: Duration = Duration::from_secs(3);
/// How long the runtime may take to end what is left after that.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);

/// A program's name and what `--help` prints.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// In front of each complaint.
    pub name: &'static str,
    /// The text of `--help`.
    pub usage: &'static str,
}

impl Program {
    /// Runs `serve` with what the command line said: `None` asks for help, an error ends the program with
    /// code 2. `serve`'s error is one line for stderr, and code 1. `cores` is read from the arguments; none
    /// stands for all that this process may use.
    pub fn main<A: 'static>(
        self,
        parsed: Result<Option<A>, lexopt::Error>,
        cores: impl FnOnce(&A) -> Option<usize>,
        serve: impl AsyncFnOnce(A) -> Result<(), String>,
    ) -> ExitCode {
        let args = match parsed {
            Ok(Some(args)) => args,
            Ok(None) => {
                println!("{}", self.usage);
                return ExitCode::SUCCESS;
            }
            Err(error) => {
                self.complain(format_args!("{error} (see --help)"));
                return ExitCode::from(2);
            }
        };
        match run(cores(&args), serve(args)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                self.complain(error);
                ExitCode::FAILURE
            }
        }
    }

    /// How a server listens on `listen`: it says so when descriptors run out.
    pub fn listen(self, listen: SocketAddr) -> Serve {
        Serve::new(listen).options(listen_options(self.name))
    }

    /// Serves what `start` starts on `listen`, until a signal says stop. Then requests have time to end,
    /// unless a second signal ends it at once.
    ///
    /// # Errors
    /// One line for stderr.
    pub async fn serve(
        self,
        listen: SocketAddr,
        start: impl Future<Output = io::Result<Server>>,
    ) -> Result<(), String> {
        let stop = Stop::new(self.name)?;
        let server = start.await.map_err(|error| cannot_listen(listen, "--listen", &error))?;
        let mut stdout = io::stdout();
        let _ = writeln!(stdout, "listening on {}", server.local_addr()).and_then(|()| stdout.flush());

        let stopped = stop.asked(Some(GRACE)).await;
        if let Some(cut @ 1..) = stop.or_at_once(server.stop(GRACE)).await {
            self.complain(format_args!("{cut} connections did not end in {GRACE:?} and were cut"));
        }
        stopped
    }

    fn complain(self, line: impl Display) {
        serving::complain(self.name, line);
    }
}

fn run(cores: Option<usize>, serve: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let mut builder = Builder::new();
    if let Some(cores) = cores {
        builder = builder.cores(cores);
    }
    let runtime = builder.build().map_err(|error| error.to_string())?;
    let served = runtime.block_on(serve);
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    served
}

/// What `--listen` takes.
///
/// # Errors
/// What it takes, if it is something else.
pub fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "--listen takes an address such as 127.0.0.1:8080")
}

/// What `--cores` takes.
///
/// # Errors
/// What it takes, if it is something else.
pub fn cores(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or("--cores takes a whole number from 1 to 1024")
}
