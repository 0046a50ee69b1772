//! What this kernel, its limits and this container allow, what ringwork will use of it, and what to change.
//!
//! ```text
//! cargo run --example doctor
//! ```
//!
//! Teaches: `Builder::capabilities`, which finds out by trying; a start-up error that names cause and cure;
//! and which file operations stay on the core. Exits with 0 if a runtime can start here and with 1 if not.
//! Run it where the program will run: as its user, in its container, under its service manager, in the folder
//! of its files.
//!
//! | module | its subject |
//! |---|---|
//! | `report` | what was found, in columns |
//! | `disk` | the file system here, and who does the work on it |
//! | `advice` | what to change |
#![forbid(unsafe_code)]

mod advice;
mod disk;
mod report;

use ringwork::runtime::Builder;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: doctor [--cores N]

Says what ringwork finds and uses here. Exits with 0 if a runtime can start, with 1 if not.

  --cores N  how many cores to look at (default: all this process may use)
  --help     this text";

/// How many cores to look at, or `None` if only the usage was asked for.
fn parse() -> Result<Option<Option<usize>>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut cores = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("cores") => cores = Some(parser.value()?.parse_with(number)?),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Some(cores))
}

fn number(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or("--cores takes a whole number from 1 to 1024")
}

fn main() -> ExitCode {
    let cores = match parse() {
        Ok(Some(cores)) => cores,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("doctor: {error} (see --help)");
            return ExitCode::from(2);
        }
    };
    let builder = cores.map_or_else(Builder::new, |cores| Builder::new().cores(cores));
    let found = builder.capabilities();
    say(&report::surroundings(&found));
    // The proof: a real runtime, and real work on it.
    match builder.build() {
        Ok(runtime) => {
            say(&report::rings(&found));
            say(&report::disk(&runtime.block_on(disk::examine())));
            say(&report::verdict(true, &advice::give(&found)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&report::verdict(false, &[]));
            eprintln!("doctor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever reads the report may stop half-way, as `head` does.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
