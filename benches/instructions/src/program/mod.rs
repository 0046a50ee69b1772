//! What the program does, on the machines it can do it on. This file does what the command line says.

mod args;
mod baseline;
mod clock;
mod compare;
mod count;
#[path = "../../../../tests/read_modify_writes/locked.rs"]
mod locked;
mod paths;
mod profile;
mod step;
mod tools;

use args::{Args, Command, USAGE};
use baseline::{Baseline, Cost};
use compare::{Rule, Verdict};
use paths::Path;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::process::ExitCode;
use tools::Tools;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The program.
pub(crate) fn main() -> ExitCode {
    let args = match Args::of_process() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("ringwork-instructions: {error} (see --help)");
            return ExitCode::from(2);
        }
    };
    let done = match args.command {
        Command::Help => {
            println!("{USAGE}");
            Ok(true)
        }
        Command::Measure => compare(&args).map(|_| true),
        Command::Check => compare(&args),
        Command::Bless => bless(&args).map(|()| true),
        Command::Profile(path) => profile::print(path).map(|()| true),
        Command::Count { path, extra, histogram } => count::alone(path, extra, histogram),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ringwork-instructions: {error}");
            ExitCode::from(2)
        }
    }
}

impl Args {
    fn chosen(&self) -> Vec<&'static Path> {
        self.only.clone().unwrap_or_else(|| paths::ALL.iter().collect())
    }

    /// `None` if there is none.
    fn read_baseline(&self) -> Fallible<Option<Baseline>> {
        let in_file = |error: &dyn std::fmt::Display| format!("{}: {error}", self.baseline.display());
        match fs::read_to_string(&self.baseline) {
            Ok(text) => Ok(Some(Baseline::parse(&text).map_err(|error| in_file(&error))?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(in_file(&error).into()),
        }
    }
}

/// Counts and prints. Whether nothing is dearer than the baseline, and nothing missing on either side.
fn compare(args: &Args) -> Fallible<bool> {
    let tools = Tools::here();
    let before = args
        .read_baseline()?
        .ok_or_else(|| format!("{} is not there: bless writes it", args.baseline.display()))?;
    let rule = Rule::new(&before, &tools)?;
    let costs = count::all(&args.chosen(), args.extra, &before)?;
    println!("{}, {}", tools.rustc, tools.libc);
    println!("{:<22}{:>14}{:>10}{:>9}{:>8}{:>8}", "path", "instructions", "before", "", "rmws", "before");
    for (name, cost) in &costs {
        print_row(name, *cost, &rule);
    }
    println!("{rule}");
    let with = |wanted: Verdict| {
        let names = costs.iter().filter(move |(name, cost)| rule.judge(name, **cost) == wanted);
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let gone = before.costs.keys().map(String::as_str).filter(|name| Path::named(name).is_none()).collect();
    let cheaper = with(Verdict::Cheaper);
    if !cheaper.is_empty() {
        println!("cheaper: {}. Bless, so that it stays so.", cheaper.join(", "));
    }
    let findings = [
        ("DEARER", with(Verdict::Dearer), "`profile NAME` shows where; if it must be, bless and say why"),
        ("NOT IN THE BASELINE", with(Verdict::New), "bless adds it"),
        ("ONLY IN THE BASELINE", gone, "bless removes it"),
    ];
    for (what, names, cure) in findings.iter().filter(|(_, names, _)| !names.is_empty()) {
        println!("{what}: {} ({cure})", names.join(", "));
    }
    Ok(findings.iter().all(|(_, names, _)| names.is_empty()))
}

fn print_row(name: &str, cost: Cost, rule: &Rule<'_>) {
    let mark = match rule.judge(name, cost) {
        Verdict::Same => "",
        Verdict::Cheaper => "  cheaper",
        Verdict::Dearer => "  DEARER",
        Verdict::New => "  new",
    };
    let Cost { instructions, rmws } = cost;
    match rule.before(name) {
        Some(before) => {
            let percent = (instructions / before.instructions - 1.0) * 100.0;
            let (all, atomic) = (before.instructions, before.rmws);
            println!(
                "{name:<22}{instructions:>14.2}{all:>10.2}{percent:>+8.2}%{rmws:>8.2}{atomic:>8.2}{mark}"
            );
        }
        None => println!("{name:<22}{instructions:>14.2}{:>19}{rmws:>8.2}{mark}", ""),
    }
}

/// Counts and writes. With `--only`, what was not chosen stays as it was, if it was made with the same tools.
fn bless(args: &Args) -> Fallible<()> {
    let before = args.read_baseline()?;
    let mut after = Baseline::new(Tools::here());
    after.tolerance = before.as_ref().map_or(after.tolerance, |before| before.tolerance);
    if args.only.is_some()
        && let Some(before) = &before
    {
        if before.tools != after.tools {
            return Err("the baseline was made with other tools: bless all".into());
        }
        after.costs = before.costs.clone();
    }
    let costs: BTreeMap<String, Cost> = count::all(&args.chosen(), 0, &after)?;
    after.costs.extend(costs);
    fs::write(&args.baseline, after.text())?;
    println!("written: {}", args.baseline.display());
    Ok(())
}
