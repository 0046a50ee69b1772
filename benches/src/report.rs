//! Tables for a reader and JSON for a script, from the same outcomes.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::compare::{Outcome, Settings};
use crate::sample::Sample;
use crate::stats::{median, ratio};
use crate::suite::Workload;

type Reading = fn(&Sample) -> f64;

/// Columns of the first table: heading, reading, decimals.
const COLUMNS: &[(&str, Reading, usize)] = &[
    ("CPU µs/op", Sample::cpu_us_per_op, 2),
    ("user", Sample::user_us_per_op, 2),
    ("sys", Sample::sys_us_per_op, 2),
    ("op/s", Sample::ops_per_s, 0),
    ("p50 µs", |s| s.p50_ns as f64 / 1e3, 1),
    ("p99 µs", |s| s.p99_ns as f64 / 1e3, 1),
    ("switches/op", Sample::switches_per_op, 4),
    ("server CPU %", Sample::server_percent, 0),
    ("others' CPU %", Sample::others_percent, 0),
    ("load CPU %", |s| s.load_percent().unwrap_or(f64::NAN), 0),
];

/// Above this share the load generator may be what limits the throughput.
const LOAD_LIMIT: f64 = 95.0;
/// Above this share somebody else's work has disturbed the readings.
const OTHERS_LIMIT: f64 = 3.0;

/// Prints both tables of one workload.
pub(crate) fn print(workload: &Workload, outcomes: &[Outcome]) {
    println!("\n{}: {}", workload.name, workload.title);
    let good: Vec<&Outcome> = outcomes.iter().filter(|o| o.failure.is_none()).collect();
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(COLUMNS.iter().map(|(heading, ..)| (*heading).to_owned()));
    for outcome in &good {
        let mut row = vec![outcome.peer.to_owned()];
        row.extend(COLUMNS.iter().map(|(_, reading, decimals)| {
            let value = median(outcome.samples.iter().map(reading));
            if value.is_nan() { "-".to_owned() } else { format!("{value:.decimals$}") }
        }));
        rows.push(row);
    }
    print_rows(&rows);
    if good.len() > 1 {
        println!("CPU per op, row / column (median of the rounds' ratios, 95 % interval):");
        print_rows(&ratio_rows(&good));
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

fn costs(outcome: &Outcome) -> Vec<f64> {
    outcome.samples.iter().map(Sample::cpu_us_per_op).collect()
}

fn ratio_rows(good: &[&Outcome]) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(good.iter().map(|o| o.peer.to_owned()));
    for row in good {
        let cell = |column: &&Outcome| {
            if column.peer == row.peer {
                return "1".to_owned();
            }
            let r = ratio(&costs(row), &costs(column));
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
    let peers: Vec<Value> = outcomes
        .iter()
        .map(|o| {
            let medians: serde_json::Map<String, Value> = COLUMNS
                .iter()
                .map(|(heading, reading, _)| {
                    ((*heading).to_owned(), median(o.samples.iter().map(reading)).into())
                })
                .collect();
            let ratios: serde_json::Map<String, Value> = outcomes
                .iter()
                .filter(|other| other.peer != o.peer)
                .map(|other| (other.peer.to_owned(), json!(ratio(&costs(o), &costs(other)))))
                .collect();
            json!({
                "peer": o.peer, "failure": o.failure, "medians": medians,
                "cpu_ratio_to": ratios, "samples": o.samples,
            })
        })
        .collect();
    json!({ "name": workload.name, "title": workload.title, "peers": peers })
}

/// Writes all workloads with what one must know about the machine.
pub(crate) fn write_json(path: &Path, settings: &Settings, workloads: Vec<Value>) -> io::Result<()> {
    let document = json!({
        "machine": machine(),
        "rounds": settings.rounds,
        "warm_ms": settings.warm.as_millis() as u64,
        "measure_ms": settings.measure.as_millis() as u64,
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
