//! Tables for a reader and JSON for a script, from the same outcomes.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::columns::{Layout, Reading};
use crate::compare::{Outcome, Settings};
use crate::sample::Sample;
use crate::stats::{median, ratio};
use crate::suite::Workload;

/// Above this share the load generator may be what limits the throughput.
const LOAD_LIMIT: f64 = 95.0;
/// Above this share somebody else's work has disturbed the readings.
const OTHERS_LIMIT: f64 = 3.0;

/// Prints both tables of one workload.
pub(crate) fn print(workload: &Workload, outcomes: &[Outcome]) {
    println!("\n{}: {}", workload.name, workload.title);
    let layout = Layout::of(workload.work);
    let good: Vec<&Outcome> = outcomes.iter().filter(|o| o.failure.is_none()).collect();
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(layout.columns.iter().map(|(heading, ..)| (*heading).to_owned()));
    for outcome in &good {
        let mut row = vec![outcome.peer.to_owned()];
        row.extend(layout.columns.iter().map(|(_, reading, decimals)| {
            let value = median(outcome.samples.iter().map(reading));
            if value.is_nan() { "-".to_owned() } else { format!("{value:.decimals$}") }
        }));
        rows.push(row);
    }
    print_rows(&rows);
    if good.len() > 1 {
        for (what, reading) in layout.ratios {
            println!("{what}, row / column (median of the rounds' ratios, 95 % interval):");
            print_rows(&ratio_rows(&good, *reading));
        }
    }
    for outcome in outcomes {
        if let Some(failure) = &outcome.failure {
            println!("{}: failed: {failure}", outcome.peer);
        }
        let share = |reading: Reading| median(outcome.samples.iter().map(reading));
        let load = share(|s| s.load_percent().unwrap_or(0.0));
        let (server, others) = (share(Sample::server_percent), share(Sample::others_percent));
        if others > OTHERS_LIMIT {
            println!(
                "{}: others used {others:.0} % of the server's CPU: measure on a quiet machine",
                outcome.peer
            );
        }
        if load > LOAD_LIMIT && server < LOAD_LIMIT {
            println!(
                "{}: the load generator was busy {load:.0} % of the time and the server only {server:.0} %: \
                 its throughput is a lower bound",
                outcome.peer
            );
        }
    }
}

fn costs(outcome: &Outcome, reading: Reading) -> Vec<f64> {
    outcome.samples.iter().map(reading).collect()
}

fn ratio_rows(good: &[&Outcome], reading: Reading) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(good.iter().map(|o| o.peer.to_owned()));
    for row in good {
        let cell = |column: &&Outcome| {
            if column.peer == row.peer {
                return "1".to_owned();
            }
            let r = ratio(&costs(row, reading), &costs(column, reading));
            if r.median.is_nan() {
                return "-".to_owned();
            }
            format!("{:.2} [{:.2}–{:.2}]", r.median, r.low, r.high)
        };
        rows.push([row.peer.to_owned()].into_iter().chain(good.iter().map(cell)).collect());
    }
    rows
}

/// Rows with the first column to the left and the others to the right.
fn print_rows(rows: &[Vec<String>]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in rows {
        let mut line = format!("  {:<w$}", row[0], w = widths[0]);
        for (cell, w) in row.iter().zip(&widths).skip(1) {
            line.push_str(&format!("  {cell:>w$}"));
        }
        println!("{}", line.trim_end());
    }
}

/// One workload for the JSON file: medians, ratios and the samples they come from.
pub(crate) fn to_json(workload: &Workload, outcomes: &[Outcome]) -> Value {
    let layout = Layout::of(workload.work);
    let ratios_to_others = |o: &Outcome, reading: Reading| -> serde_json::Map<String, Value> {
        let others = outcomes.iter().filter(|other| other.peer != o.peer);
        let pair = |other: &Outcome| {
            (other.peer.to_owned(), json!(ratio(&costs(o, reading), &costs(other, reading))))
        };
        others.map(pair).collect()
    };
    let peer = |o: &Outcome| {
        let medians: serde_json::Map<String, Value> = layout
            .columns
            .iter()
            .map(|(heading, reading, _)| ((*heading).to_owned(), median(costs(o, *reading)).into()))
            .collect();
        let ratios: serde_json::Map<String, Value> = layout
            .ratios
            .iter()
            .map(|(what, reading)| ((*what).to_owned(), ratios_to_others(o, *reading).into()))
            .collect();
        json!({
            "peer": o.peer, "failure": o.failure, "medians": medians, "ratios": ratios,
            "samples": o.samples,
        })
    };
    let peers: Vec<Value> = outcomes.iter().map(peer).collect();
    json!({ "name": workload.name, "title": workload.title, "peers": peers })
}

/// Writes all workloads with what one must know about the machine.
pub(crate) fn write_json(path: &Path, settings: &Settings, workloads: Vec<Value>) -> io::Result<()> {
    let document = json!({
        "machine": machine(),
        "rounds": settings.rounds,
        "warm_ms": settings.times.warm.as_millis() as u64,
        "measure_ms": settings.times.measure.as_millis() as u64,
        "workloads": workloads,
    });
    fs::write(path, serde_json::to_string_pretty(&document)? + "\n")
}

/// Kernel, CPU and number of CPUs in one line.
pub(crate) fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    // Not `available_parallelism`: the harness has pinned itself to one of them.
    let cpus = info.lines().filter(|line| line.starts_with("processor")).count();
    format!("Linux {}, {cpus} CPUs, {}", kernel.trim(), model.map_or("unknown CPU", |(_, name)| name.trim()))
}
