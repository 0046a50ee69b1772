//! `ringwork-bench`: measures ringwork, raw loops and other runtimes side by side on this machine. See
//! the README beside this package for what the numbers mean. This file does what the command line says.

mod args;
mod bench;
mod burn;
mod child;
mod counting;
mod cpus;
mod frames;
mod heap;
mod keys;
mod load;
mod meter;
mod plan;
mod programs;
mod progress;
mod raw;
mod reads;
mod report;
mod said;
mod sample;
mod stats;
mod tls;
mod tracer;
mod tree;
mod turns;
mod usage;
mod workloads;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use args::{Args, USAGE};
use bench::{Bench, Settings};
use meter::Times;
use plan::Plan;
use programs::{PEERS, PROGRAMS, Program};
use report::document::Document;
use report::{Measured, diff, machine, page, plots, targets, wording};
use said::say;
use workloads::Workload;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The workloads of `--quick`: one of each kind that a goal is about.
const QUICK: &[&str] = &[
    "echo-64x1",
    "echo-64x64",
    "echo-64x512",
    "echo-4096x64",
    "echo-64x64-all",
    "open-70",
    "proxy-64x64",
    "file-1k",
    "read-4096x32",
    "spawn-join",
    "spawn-many",
    "hot-core",
];

/// Peers that `--quick` leaves out of its workloads unless they are named: other ways to write one that takes
/// part there, about which there is no goal.
const NOT_IN_QUICK: &[&str] = &[
    "tokio-shared",
    "tokio-one-blocking",
    "monoio-near",
    "glommio-shared",
    "compio-near",
    "smol-near",
    "smol-shared",
];

fn main() -> ExitCode {
    let args = match Args::of_process() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("ringwork-bench: {error} (see --help)");
            return ExitCode::from(2);
        }
    };
    if args.help {
        say!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let words: Vec<&str> = args.free.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["compare"] => compare(&args),
        ["one", workload, peer] => one(&args, workload, peer),
        ["list"] => list(),
        ["diff", before, after] => diff::print(Path::new(before), Path::new(after)).map_err(Into::into),
        ["table", run] => page::print(Path::new(run)).map_err(Into::into),
        ["serve", program, ..] => serve(program, &args.free[2..]),
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

impl Args {
    fn settings(&self) -> Fallible<Settings> {
        let file = match &self.file {
            Some(file) => file.clone(),
            // Beside the executable: a build folder is on a disk as a rule, and never committed.
            None => std::env::current_exe()?.with_file_name("ringwork-bench.data"),
        };
        let millis = |given: Option<Duration>, quick, full| {
            given.unwrap_or(Duration::from_millis(if self.quick { quick } else { full }))
        };
        let (warm, measure) = (millis(self.warm, 150, 300), millis(self.measure, 500, 1500));
        Ok(Settings {
            rounds: self.rounds.unwrap_or(5),
            times: Times { warm, measure },
            file,
            tasks: self.tasks,
            rate: self.rate,
            block: self.block.unwrap_or(Duration::from_secs(2)),
            idle: self.idle,
            trace: self.trace,
        })
    }

    /// The chosen workloads, or an error that names the one that does not exist.
    fn workloads(&self) -> Fallible<Vec<Workload>> {
        let quick = || QUICK.iter().map(|name| (*name).to_owned()).collect();
        let Some(only) = self.only.clone().or_else(|| self.quick.then(quick)) else {
            return Ok(workloads::all());
        };
        let suits = |wanted: &str, name: &str| match wanted.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == wanted,
        };
        let all = workloads::all();
        if let Some(unknown) = only.iter().find(|wanted| !all.iter().any(|w| suits(wanted, &w.name))) {
            return Err(format!("no workload is called {unknown}: see `list`").into());
        }
        Ok(all.into_iter().filter(|w| only.iter().any(|wanted| suits(wanted, &w.name))).collect())
    }

    /// Whether `--quick` chooses the workloads.
    fn takes_quick(&self) -> bool {
        self.quick && self.only.is_none()
    }

    fn chosen_peers(&self, workload: &Workload) -> Fallible<Vec<&'static str>> {
        let chosen = self.peers.as_deref().unwrap_or_default();
        let is_known = |peer: &&String| PEERS.iter().any(|(known, _)| known == peer);
        if let Some(unknown) = chosen.iter().find(|peer| !is_known(peer)) {
            return Err(format!("no peer is called {unknown}: see `list`").into());
        }
        let is_left_out = |peer: &str| self.takes_quick() && NOT_IN_QUICK.contains(&peer);
        let is_chosen = |peer: &&str| match chosen {
            [] => !is_left_out(peer),
            _ => chosen.iter().any(|c| c == peer),
        };
        Ok(workload.peers().filter(is_chosen).collect())
    }
}

fn compare(args: &Args) -> Fallible<()> {
    let mut bench = Bench::new(args.settings()?)?;
    let Settings { rounds, times, .. } = bench.settings;
    let workloads = args.workloads()?;
    let document = args.json.as_ref().map(|path| Document::new(path, &bench.settings, workloads.len()));
    let document = document.transpose()?;
    args.plots.as_deref().map(plots::prepare).transpose()?;
    say!("{}; {rounds} rounds of {:.1} s", machine::line(), times.measure.as_secs_f64());
    if args.takes_quick() {
        let names: Vec<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
        say!("--quick takes {} of {} workloads: {}", names.len(), workloads::all().len(), names.join(", "));
    }
    let peers = workloads.iter().map(|w| args.chosen_peers(w)).collect::<Fallible<Vec<_>>>()?;
    let turns = peers.iter().map(Vec::len).sum::<usize>() * rounds;
    // Without what programs need to start, longer warm-ups, and turns that go on until all is done.
    let minutes = (times.warm + times.measure).mul_f64(turns as f64 / 60.0).as_secs_f64();
    say!("{} workloads, {turns} turns, {minutes:.1} minutes under load", workloads.len());
    progress::begin(turns);
    let mut all = Vec::new();
    for (workload, peers) in workloads.into_iter().zip(peers) {
        let outcomes = bench.rounds(&workload, &peers);
        progress::clear();
        progress::over(peers.len() * rounds);
        all.push(Measured::new(workload, outcomes));
        if let Some(document) = &document {
            document.write(&all, &bench.found, &targets::judge(&all))?;
        }
        report::print(all.last().expect("just pushed"));
    }
    wording::print(&targets::judge(&all), rounds);
    if let Some(folder) = &args.plots {
        let drawn = plots::draw(folder, &all, &machine::line())?;
        say!("{drawn} plots in {}", folder.display());
    }
    if all.iter().any(|measured| measured.outcomes.iter().any(|o| o.failure.is_some())) {
        return Err("at least one peer failed".into());
    }
    Ok(())
}

fn one(args: &Args, name: &str, peer: &str) -> Fallible<()> {
    let workload = workloads::all().into_iter().find(|workload| workload.name == name);
    let workload = workload.ok_or_else(|| format!("no workload is called {name}: see `list`"))?;
    let Some(peer) = workload.peers().find(|known| *known == peer) else {
        return Err(format!("{peer} takes no part in {name}: see `list`").into());
    };
    let mut settings = args.settings()?;
    settings.rounds = args.rounds.unwrap_or(1);
    let outcomes = Bench::new(settings)?.rounds(&workload, &[peer]);
    progress::clear();
    let has_failed = !outcomes[0].is_good();
    report::print(&Measured::new(workload, outcomes));
    if has_failed { Err("it has not been measured".into()) } else { Ok(()) }
}

fn list() -> Fallible<()> {
    say!("workloads (* are those of --quick):");
    for workload in workloads::all() {
        let peers: Vec<&str> = workload.peers().collect();
        let mark = if QUICK.contains(&workload.name.as_str()) { "*" } else { "" };
        say!("{:<22} {}\n{:22} peers: {}", workload.name + mark, workload.title, "", peers.join(", "));
    }
    say!("\npeers:");
    for (peer, what) in PEERS {
        say!("{peer:<22} {what}");
    }
    Ok(())
}

/// Becomes one of the programs under measurement; the harness is the usual caller.
fn serve(name: &str, words: &[String]) -> Fallible<()> {
    let Some(program) = Program::named(name) else {
        let known: Vec<String> = PROGRAMS.iter().map(Program::name).collect();
        return Err(format!("no program is called {name}; there are {}", known.join(", ")).into());
    };
    let plan = Plan::parse(words)?;
    set_pdeathsig(Signal::SIGKILL)?;
    heap::holds_large_buffers();
    if plan.is_set("count")? {
        counting::start();
    }
    if let Some(cpus) = plan.cpus()? {
        cpus::pin(&cpus)?;
    }
    Ok((program.run)(&plan)?)
}

#[cfg(test)]
mod tests {
    use super::{Args, NOT_IN_QUICK, QUICK, workloads};

    #[test]
    fn quick_takes_a_dozen_workloads_that_exist() {
        assert!(QUICK.len() <= 12);
        let all = workloads::all();
        for name in QUICK {
            assert!(all.iter().any(|workload| workload.name == *name), "{name}");
        }
    }

    #[test]
    fn quick_leaves_out_who_takes_part_in_another_way_unless_it_is_asked_for() {
        let of_quick = || workloads::all().into_iter().filter(|w| QUICK.contains(&w.name.as_str()));
        for peer in NOT_IN_QUICK {
            let is_there = |args: &Args| {
                of_quick().any(|workload| args.chosen_peers(&workload).expect("known").contains(peer))
            };
            let (whole, quick) = (Args::default(), Args { quick: true, ..Args::default() });
            let named = Args { quick: true, peers: Some(vec![(*peer).to_owned()]), ..Args::default() };
            assert!(is_there(&whole) && !is_there(&quick) && is_there(&named), "{peer}");
        }
    }
}
