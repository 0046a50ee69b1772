//! Teaches that tonic runs on ringwork but for its transport: servers and clients with one call of each kind.
//!
//! Generated clients and servers are tower services, so hyper carries them over our streams. What tonic's own
//! transport adds to that (a channel that connects again, deadlines, failures as statuses) is in
//! `ringwork::compat::tonic`; that transport spawns on tokio and has no place here.
//!
//! ```text
//! cargo run --release -p ringwork-ecosystem --bin grpc -- serve --listen 127.0.0.1:50051
//! cargo run --release -p ringwork-ecosystem --bin grpc -- call totals 1 2 3
//! ```
#![forbid(unsafe_code)]

mod args;
mod call;
mod serve;
mod service;

use args::{Args, Job};
use ringwork_ecosystem::Program;
use std::process::ExitCode;

/// The code of `proto/numbers.proto`.
#[allow(unreachable_pub, clippy::all, reason = "it is not ours")]
mod numbers {
    tonic::include_proto!("ringwork.numbers.v1");
}

const PROGRAM: Program = Program { name: "grpc", usage: args::USAGE };

fn main() -> ExitCode {
    let run = async |args: Args| match args.job {
        Job::Serve(job) => serve::serve(job).await,
        Job::Call(job) => call::call(job).await,
    };
    PROGRAM.main(args::parse(), |args| args.cores, run)
}
