//! `ringwork-bench`: measures ringwork, raw loops and other runtimes side by side on this machine. See
//! the README beside this package for what the numbers mean. This file reads the command line and hands
//! over.

mod burn;
mod child;
mod columns;
mod compare;
mod cpus;
mod crew;
mod even;
mod load;
mod meter;
mod pace;
mod programs;
mod raw;
mod reads;
mod report;
mod sample;
mod stats;
mod stuck;
mod suite;
mod usage;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::{Long, Value, ValueExt};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use compare::{Bench, Settings};
use meter::Times;
use programs::{Entry, HotPlan};
use reads::ReadPlan;
use suite::{HOT_TASKS, HOT_WORK, PEERS, WORKLOADS, Workload};

const USAGE: &str = "\
usage: ringwork-bench compare [--quick] [--only NAME,..] [--peers PEER,..] [--json FILE] [OPTIONS]
       ringwork-bench one NAME PEER [OPTIONS]
       ringwork-bench list
options: --rounds N         turns of each peer (5; 3 with --quick)
         --measure MS       length of one turn (1500)
         --warm MS          warm-up before each turn (300)
         --file PATH        the 256 MiB file of the read workload, made if missing; on a disk, not tmpfs
         --tasks N          tasks of the hot-core workloads (20000)
         --rate N           messages/s that the even workloads take for saturation (measured first)
         --block MS         how long stuck-core blocks a core (2000)";

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The command line, as far as it was given.
#[derive(Default)]
struct Args {
    free: Vec<String>,
    quick: bool,
    only: Option<Vec<String>>,
    peers: Option<Vec<String>>,
    json: Option<PathBuf>,
    rounds: Option<usize>,
    measure: Option<Duration>,
    warm: Option<Duration>,
    file: Option<PathBuf>,
    cpu: Option<Vec<usize>>,
    listen: Option<SocketAddr>,
    upstream: Option<SocketAddr>,
    tasks: Option<usize>,
    op: Option<String>,
    turns: Option<u64>,
    rate: Option<f64>,
    block: Option<Duration>,
    balanced: bool,
}

fn main() -> ExitCode {
    let args = match parse() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("ringwork-bench: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let words: Vec<&str> = args.free.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["compare"] => run_compare(&args),
        ["one", workload, peer] => run_one(&args, workload, peer),
        ["list"] => list(),
        ["serve", program] => serve(&args, program),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringwork-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Args, lexopt::Error> {
    fn list(text: String) -> Vec<String> {
        text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }
    fn numbers(text: &str) -> Result<Vec<usize>, lexopt::Error> {
        text.split(',')
            .map(|number| number.parse().map_err(|_| format!("not a CPU: {number}").into()))
            .collect()
    }
    let mut args = Args::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(word) => args.free.push(word.string()?),
            Long("quick") => args.quick = true,
            Long("only") => args.only = Some(list(parser.value()?.string()?)),
            Long("peers") => args.peers = Some(list(parser.value()?.string()?)),
            Long("json") => args.json = Some(parser.value()?.into()),
            Long("rounds") => args.rounds = Some(parser.value()?.parse()?),
            Long("measure") => args.measure = Some(Duration::from_millis(parser.value()?.parse()?)),
            Long("warm") => args.warm = Some(Duration::from_millis(parser.value()?.parse()?)),
            Long("file") => args.file = Some(parser.value()?.into()),
            Long("cpu") => args.cpu = Some(numbers(&parser.value()?.string()?)?),
            Long("listen") => args.listen = Some(parser.value()?.parse()?),
            Long("upstream") => args.upstream = Some(parser.value()?.parse()?),
            Long("tasks") => args.tasks = Some(parser.value()?.parse()?),
            Long("rate") => args.rate = Some(parser.value()?.parse()?),
            Long("block") => args.block = Some(Duration::from_millis(parser.value()?.parse()?)),
            Long("turns") => args.turns = Some(parser.value()?.parse()?),
            Long("balanced") => args.balanced = true,
            Long("op") => args.op = Some(parser.value()?.string()?),
            Long("help") => args.free = Vec::new(),
            other => return Err(other.unexpected()),
        }
    }
    Ok(args)
}

impl Args {
    fn settings(&self) -> Fallible<Settings> {
        let file = match &self.file {
            Some(file) => file.clone(),
            // Beside the executable: a build folder is on a disk as a rule, and never committed.
            None => std::env::current_exe()?.with_file_name("ringwork-bench.data"),
        };
        Ok(Settings {
            rounds: self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).max(1),
            times: Times {
                warm: self.warm.unwrap_or(Duration::from_millis(300)),
                measure: self.measure.unwrap_or(Duration::from_millis(1500)),
            },
            file,
            tasks: self.tasks,
            rate: self.rate,
            block: self.block.unwrap_or(Duration::from_secs(2)),
        })
    }

    /// The chosen workloads, or an error that names the one that does not exist.
    fn workloads(&self) -> Fallible<Vec<&'static Workload>> {
        let Some(only) = &self.only else {
            return Ok(WORKLOADS.iter().collect());
        };
        only.iter().map(|name| find(name)).collect()
    }

    /// The operation that a program is asked for.
    fn op<T: FromStr<Err = String>>(&self) -> Fallible<T> {
        Ok(self.op.as_ref().ok_or("--op NAME is missing")?.parse()?)
    }

    fn chosen_peers(&self, workload: &Workload) -> Fallible<Vec<&'static str>> {
        let chosen = self.peers.as_deref().unwrap_or_default();
        if let Some(unknown) = chosen.iter().find(|peer| !PEERS.contains(&peer.as_str())) {
            return Err(format!("no peer is called {unknown}: see `list`").into());
        }
        let is_chosen = |peer: &&str| chosen.is_empty() || chosen.iter().any(|c| c == peer);
        Ok(workload.peers().filter(is_chosen).collect())
    }
}

fn find(name: &str) -> Fallible<&'static Workload> {
    Workload::find(name).ok_or_else(|| format!("no workload is called {name}: see `list`").into())
}

fn run_compare(args: &Args) -> Fallible<()> {
    let mut bench = Bench::new(args.settings()?)?;
    let Settings { rounds, times, .. } = bench.settings;
    println!("{}; {rounds} rounds of {:.1} s", report::machine(), times.measure.as_secs_f64());
    let (mut documents, mut failed) = (Vec::new(), false);
    for workload in args.workloads()? {
        let peers = args.chosen_peers(workload)?;
        let outcomes = bench.rounds(workload, &peers);
        compare::clear_progress();
        report::print(workload, &outcomes);
        documents.push(report::to_json(workload, &outcomes));
        failed |= outcomes.iter().any(|o| o.failure.is_some());
    }
    if let Some(path) = &args.json {
        report::write_json(path, &bench.settings, documents)?;
    }
    if failed { Err("at least one peer failed".into()) } else { Ok(()) }
}

fn run_one(args: &Args, workload: &str, peer: &str) -> Fallible<()> {
    let workload = find(workload)?;
    let Some(peer) = workload.peers().find(|known| *known == peer) else {
        return Err(format!("{peer} takes no part in {}: see `list`", workload.name).into());
    };
    let mut settings = args.settings()?;
    settings.rounds = args.rounds.unwrap_or(1);
    let outcomes = Bench::new(settings)?.rounds(workload, &[peer]);
    compare::clear_progress();
    report::print(workload, &outcomes);
    if outcomes[0].failure.is_some() { Err("it failed".into()) } else { Ok(()) }
}

fn list() -> Fallible<()> {
    for workload in WORKLOADS {
        let peers: Vec<&str> = workload.peers().collect();
        println!("{:<18} {}\n{:18} peers: {}", workload.name, workload.title, "", peers.join(", "));
    }
    Ok(())
}

/// Becomes one of the programs under measurement; the harness is the usual caller.
fn serve(args: &Args, program: &str) -> Fallible<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    if let Some(cpus) = &args.cpu {
        cpus::pin(cpus)?;
    }
    let Some(entry) = programs::find(program) else {
        let known: Vec<&str> = programs::PROGRAMS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no program is called {program}; there are {}", known.join(", ")).into());
    };
    let settings = args.settings()?;
    let listen = args.listen.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
    match entry {
        Entry::Server(run) => run(listen)?,
        Entry::Proxy(run) => run(listen, args.upstream.ok_or("--upstream ADDR is missing")?)?,
        Entry::Reader(run) => {
            let Settings { times, file, .. } = settings;
            run(ReadPlan { file, tasks: args.tasks.unwrap_or(32), times })?;
        }
        Entry::Local(run) => run(args.op()?, settings.times)?,
        Entry::Send(run) => run(args.op()?, settings.times)?,
        Entry::Hot(run) => run(HotPlan {
            tasks: args.tasks.unwrap_or(HOT_TASKS),
            is_balanced: args.balanced,
            turns: args.turns.unwrap_or_else(|| burn::turns_for(HOT_WORK)),
        })?,
    }
    Ok(())
}
