//! `hot_core`: all work is born on one core; how much of it do the others do?
//!
//! ```sh
//! cargo run --release --example hot_core -- --tasks 20000 --work-us 50 --steal 200us
//! cargo run --release --example hot_core -- --tasks 20000 --work-us 50 --steal never
//! ```
//!
//! Each task burns a fixed amount of CPU. `--balanced` spreads the births evenly; `--io` makes the tasks
//! requests: connections that are all accepted on core 0, with clients in the same process. One line of JSON
//! says how long it all took, how long each task waited, and what it cost.

mod args;
mod births;
mod burn;
mod requests;
mod result;

use args::Args;
use result::Cost;
use ringwork::runtime::Builder;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::parse() {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("hot_core: {error}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hot_core: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let work = burn::Work::lasting(args.work);
    let mut builder = Builder::new().steal(args.steal);
    if let Some(cores) = args.cores {
        builder = builder.cores(cores);
    }
    let runtime = builder.build()?;
    let before = Cost::so_far(&runtime)?;
    let outcome = if args.io {
        requests::run(&runtime, args.tasks, args.connections, work).map_err(|error| {
            let connections = args.connections;
            format!(
                "{connections} connections: {error}; each takes two descriptors here: try fewer with \
                 --connections, or raise the limit with ulimit -n"
            )
        })?
    } else {
        births::run(&runtime, args.tasks, args.balanced, work)?
    };
    let cost = Cost::so_far(&runtime)?.since(&before);
    println!("{}", result::to_json(args, outcome, &cost));
    Ok(())
}
