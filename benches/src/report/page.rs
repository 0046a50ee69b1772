//! A run as a page of Markdown, made from its JSON: machine, command and settings, a table for each group of
//! workloads with a row for every peer, the remarks on what disturbed or limited them, and the goals. What
//! the terminal shows is on the page, but for ratios of other peers to each other. Nothing on it is written
//! by hand, measured or judged here.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::columns::{APART, BLOCKED, OURS};
use super::remarks::{self, Remark};
use super::targets::{NOT_WORSE, Verdict};
use super::wording;
use super::{document, number};
use crate::bench::Apart;
use crate::said::say;
use crate::stats::{Ratio, interval};

/// What the page needs of a run.
#[derive(Deserialize)]
struct Run {
    machine: String,
    command: String,
    date: String,
    record: BTreeMap<String, String>,
    rounds: usize,
    warm_ms: u64,
    measure_ms: u64,
    planned: usize,
    found: Vec<String>,
    workloads: Vec<Workload>,
    verdicts: Vec<Verdict>,
}

#[derive(Deserialize)]
struct Workload {
    name: String,
    title: String,
    group: String,
    /// Headings with decimals.
    columns: Vec<(String, usize)>,
    metrics: Vec<String>,
    peers: Vec<Peer>,
}

#[derive(Deserialize)]
struct Peer {
    peer: String,
    failure: Option<String>,
    skipped: Option<String>,
    remarks: Vec<Remark>,
    /// What is not a number is null in JSON.
    medians: BTreeMap<String, Option<f64>>,
    ratios: BTreeMap<String, BTreeMap<String, Interval>>,
    apart: Apart,
}

#[derive(Clone, Copy, Deserialize)]
struct Interval {
    median: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

impl Workload {
    /// The row of ours that `peer` is set beside: a program of others with a blocked worker, that with a
    /// blocked core.
    fn beside(&self, peer: &Peer) -> Option<&Peer> {
        let is_like_blocked = peer.peer.ends_with(BLOCKED) && !peer.peer.starts_with(OURS);
        let blocked = if is_like_blocked { BLOCKED } else { "" };
        self.peers.iter().find(|ours| ours.peer.strip_prefix(OURS) == Some(blocked))
    }
}

/// A table: the cells of its rows, the headings first.
type Table = Vec<Vec<String>>;

/// Prints the page of the run in `path`.
pub(crate) fn print(path: &Path) -> io::Result<()> {
    let run = serde_json::from_value(document::read(path)?).map_err(|error| {
        io::Error::other(format!("{}: {error}: an older version has written it", path.display()))
    })?;
    say!("{}", page(&run).trim_end());
    Ok(())
}

fn page(run: &Run) -> String {
    let mut page = head(run);
    for workloads in run.workloads.chunk_by(|a, b| a.group == b.group) {
        page += &format!("\n## {}\n", workloads[0].group);
        // What shows different things stands in a table of its own.
        for alike in workloads.chunk_by(|a, b| (&a.columns, &a.metrics) == (&b.columns, &b.metrics)) {
            page.push('\n');
            for workload in alike {
                page += &format!("- `{}`: {}\n", workload.name, workload.title);
            }
            page.push('\n');
            page += &markdown(&without_empty_columns(table(alike)));
            page += &remarked(alike);
        }
    }
    let losses = losses(run);
    if losses.len() > 1 {
        page +=
            &format!("\n## Where {OURS} needs more\n\nBeyond {NOT_WORSE:.2} with the whole interval:\n\n");
        page += &markdown(&losses);
    }
    if let Some(why) = wording::too_few(run.rounds) {
        page += &format!("\n## Goals\n\nThere were {why}.\n");
    }
    if !run.verdicts.is_empty() {
        page += &format!("\n## Goals\n\n{}:\n\n", wording::LEGEND);
        page += &markdown(&wording::rows(&run.verdicts));
        page += &format!("\n{}.\n", wording::summary(&run.verdicts));
    }
    page
}

/// What is to be said about these workloads: a list below their table.
fn remarked(workloads: &[Workload]) -> String {
    let mut list = String::new();
    for workload in workloads {
        let peers: Vec<(&str, &[Remark])> =
            workload.peers.iter().map(|peer| (peer.peer.as_str(), &peer.remarks[..])).collect();
        for line in remarks::lines(&peers) {
            list += &format!("- `{}`: {line}\n", workload.name);
        }
    }
    if list.is_empty() { list } else { format!("\n{list}") }
}

/// Every ratio to somebody else's program that the run has shown to be a loss.
fn losses(run: &Run) -> Table {
    let heading = ["workload", "peer", "in", &format!("{OURS} / peer")].map(str::to_owned);
    let mut rows = vec![heading.to_vec()];
    for workload in &run.workloads {
        let others = workload.peers.iter().filter(|peer| !peer.peer.starts_with(OURS));
        for (peer, metric) in
            others.flat_map(|peer| workload.metrics.iter().map(move |metric| (peer, metric)))
        {
            let found = workload.beside(peer).and_then(|ours| ours.ratios.get(metric)?.get(&peer.peer));
            if let Some(interval) = found.filter(|interval| interval.low.is_some_and(|low| low > NOT_WORSE)) {
                rows.push(vec![
                    format!("`{}`", workload.name),
                    peer.peer.clone(),
                    metric.clone(),
                    said(interval),
                ]);
            }
        }
    }
    rows
}

fn head(run: &Run) -> String {
    let mut head = format!(
        "# All rows of one run\n\n\
         Made by `ringwork-bench table` from the JSON of the run. `benches/README.md` says what is measured \
         and what the columns mean.\n\n\
         ```sh\ncargo run --release -p ringwork-bench -- {}\n```\n\n\
         {}; {}. {} of {:.2} s for each peer, each after at least {:.2} s of warm-up. Numbers are medians \
         of the rounds. *{OURS} / peer* is the median of the rounds' ratios of {OURS} to the peer of that \
         row, with its {}: below 1, {OURS} needs less; of another program with a blocked worker it is \
         that of `{OURS}{BLOCKED}`.\n\n",
        run.command,
        run.machine,
        run.date,
        if run.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", run.rounds) },
        run.measure_ms as f64 / 1e3,
        run.warm_ms as f64 / 1e3,
        interval(run.rounds),
    );
    if run.workloads.len() < run.planned {
        let measured = run.workloads.len();
        head +=
            &format!("The run has ended early: {measured} of {} workloads were measured.\n\n", run.planned);
    }
    for (name, value) in &run.record {
        head += &format!("- {name}: {value}\n");
    }
    for found in &run.found {
        head += &format!("- {found}\n");
    }
    head
}

/// The table of workloads that show the same: for each, a row for every peer.
fn table(workloads: &[Workload]) -> Table {
    let Workload { columns, metrics, .. } = &workloads[0];
    let (first, others) = columns.split_first().expect("every workload shows something");
    let mut heading = vec!["workload".to_owned(), "peer".to_owned(), first.0.clone()];
    heading.extend(metrics.iter().map(|metric| format!("{OURS} / peer, {metric}")));
    heading.extend(others.iter().map(|(heading, _)| heading.clone()));
    heading.extend(APART.map(|(heading, ..)| heading.to_owned()));
    let mut rows = vec![heading];
    for workload in workloads {
        for (at, peer) in workload.peers.iter().enumerate() {
            let name = if at == 0 { format!("`{}`", workload.name) } else { String::new() };
            let mut row = vec![name, peer.peer.clone()];
            row.extend(cells(peer, workload.beside(peer), columns, metrics));
            rows.push(row);
        }
    }
    rows
}

/// What stands behind the name of a peer.
fn cells(peer: &Peer, ours: Option<&Peer>, columns: &[(String, usize)], metrics: &[String]) -> Vec<String> {
    let ends = [("failed", &peer.failure), ("left out", &peer.skipped)];
    let why = ends.iter().find_map(|(word, why)| why.as_ref().map(|why| format!("{word}: {why}")));
    if let Some(why) = why {
        let mut row = vec![String::new(); columns.len() + metrics.len() + APART.len()];
        row[0] = why;
        return row;
    }
    let value = |(heading, decimals): &(String, usize)| {
        number(peer.medians.get(heading).copied().flatten().unwrap_or(f64::NAN), *decimals)
    };
    let ratio = |metric: &String| match ours {
        Some(ours) if ours.peer == peer.peer => "1".to_owned(),
        Some(ours) => {
            ours.ratios.get(metric).and_then(|all| all.get(&peer.peer)).map_or("-".to_owned(), said)
        }
        None => "-".to_owned(),
    };
    let apart = APART.map(|(_, of, decimals)| number(of(&peer.apart).unwrap_or(f64::NAN), decimals));
    let (first, others) = columns.split_first().expect("every workload shows something");
    let mut row = vec![value(first)];
    row.extend(metrics.iter().map(ratio));
    row.extend(others.iter().map(value));
    row.extend(apart);
    row
}

fn said(interval: &Interval) -> String {
    match (interval.median, interval.low, interval.high) {
        (Some(median), Some(low), Some(high)) => Ratio { median, low, high }.to_string(),
        _ => "-".to_owned(),
    }
}

/// A column that nobody has anything for says nothing.
fn without_empty_columns(rows: Table) -> Table {
    let says = |column: usize| rows[1..].iter().any(|row| !["", "-", "1"].contains(&row[column].as_str()));
    let kept: Vec<bool> = (0..rows[0].len()).map(says).collect();
    let keep = |row: Vec<String>| row.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(cell, _)| cell);
    rows.into_iter().map(|row| keep(row).collect()).collect()
}

/// Names to the left, numbers to the right.
fn markdown(rows: &Table) -> String {
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        let cells: Vec<String> =
            cells.iter().map(|cell| cell.replace('|', "\\|").replace(['\n', '\r'], " ")).collect();
        text += &format!("| {} |\n", cells.join(" | "));
    };
    line(&rows[0]);
    let names = |column| if column < 2 { "---" } else { "---:" };
    line(&(0..rows[0].len()).map(|column| names(column).to_owned()).collect::<Vec<_>>());
    rows[1..].iter().for_each(|row| line(row));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn peer(name: &str, cpu: Option<f64>, ratios: Value) -> Value {
        json!({
            "peer": name, "failure": null, "skipped": null, "remarks": [],
            "medians": { "CPU µs/op": cpu, "waits/op": null }, "ratios": { "CPU per op": ratios },
            "apart": { "allocations": 0.0, "heap_kib": null, "syscalls": null },
        })
    }

    fn run() -> Run {
        let interval = json!({ "median": 0.95, "low": 0.93, "high": 0.98 });
        let ours = peer(
            "ringwork",
            Some(2.85),
            json!({ "floor": interval, "go": { "median": null,
            "low": null, "high": null } }),
        );
        let mut haproxy = peer("haproxy", None, json!({}));
        haproxy["skipped"] = "haproxy is not installed".into();
        let mut smol = peer("smol", None, json!({}));
        smol["failure"] = "bytes came back changed: 1 | 2".into();
        let columns = json!([["CPU µs/op", 2], ["waits/op", 4]]);
        let workload = |name: &str, peers: Vec<Value>| {
            json!({ "name": name, "title": "TCP echo", "group": "Echo", "columns": columns,
                "metrics": ["CPU per op"], "peers": peers })
        };
        let floor = peer("floor", Some(3.0), json!({}));
        let verdict = json!({ "workload": "echo", "metric": "CPU per op", "peer": "floor", "bound": 1.04,
            "ratio": interval, "finding": "met", "others_busy": true });
        let workloads = json!([
            workload("echo", vec![floor.clone(), smol, peer("go", None, json!({})), haproxy, ours]),
            workload("echo-all", vec![floor]),
        ]);
        serde_json::from_value(json!({
            "machine": "Linux 6.18, 2 CPUs", "command": "compare --rounds 5", "date": "2026-11-26",
            "record": { "commit": "abc" }, "rounds": 5, "warm_ms": 300, "measure_ms": 1500,
            "planned": 2, "found": ["saturation: tokio 9/s"],
            "workloads": workloads, "verdicts": [verdict],
        }))
        .expect("what the page needs")
    }

    #[test]
    fn every_peer_has_its_row_and_empty_columns_have_none() {
        let page = page(&run());
        let table = "\
| workload | peer | CPU µs/op | ringwork / peer, CPU per op | allocations/op |
| --- | --- | ---: | ---: | ---: |
| `echo` | floor | 3.00 | 0.95 [0.93–0.98] | 0.0000 |
|  | smol | failed: bytes came back changed: 1 \\| 2 |  |  |
|  | go | - | - | 0.0000 |
|  | haproxy | left out: haproxy is not installed |  |  |
|  | ringwork | 2.85 | 1 | 0.0000 |
| `echo-all` | floor | 3.00 | - | 0.0000 |
";
        assert!(page.contains(table), "{page}");
        assert_eq!(page.matches("\n## Echo\n").count(), 1, "{page}");
    }

    #[test]
    fn the_page_names_machine_command_settings_and_findings() {
        let page = page(&run());
        for text in [
            "Linux 6.18, 2 CPUs; 2026-11-26. 5 rounds of 1.50 s",
            "-- compare --rounds 5\n```",
            "- commit: abc\n- saturation: tokio 9/s\n",
            "| echo | CPU per op | floor | ≤ 1.04 | 0.95 [0.93–0.98] | met, others busy |",
            "\n1 met (0 by the median, 0 by an end), 0 not met, 0 void (0 missed); others were busy beside \
             1 of them.\n",
        ] {
            assert!(page.contains(text), "{text} is missing in {page}");
        }
    }

    #[test]
    fn the_page_of_few_rounds_says_that_they_are_too_few() {
        let mut run = run();
        run.rounds = 4;
        run.verdicts.clear();
        let page = page(&run);
        assert!(page.contains("too few rounds") && !page.contains("95 %"), "{page}");
    }

    #[test]
    fn the_page_says_what_disturbed_or_limited_its_rows_as_the_terminal_does() {
        let mut run = run();
        let quiet = page(&run);
        for text in ["not quiet", "lower bound", "ended early"] {
            assert!(!quiet.contains(text), "{text} is in {quiet}");
        }
        run.planned = 3;
        run.workloads[0].peers[0].remarks = vec![Remark::OthersBusy { others: 6.6 }];
        run.workloads[0].peers[4].remarks =
            vec![Remark::OthersBusy { others: 4.0 }, Remark::LowerBound { load: 99.0, server: 90.0 }];
        let page = page(&run);
        for text in [
            "- `echo`: the machine was not quiet, others used more than 3 % of the server's CPU: floor 7 %, \
             ringwork 4 %\n",
            "(load / server): ringwork 99 / 90 %\n",
            "\nThe run has ended early: 2 of 3 workloads were measured.\n",
        ] {
            assert!(page.contains(text), "{text} is missing in {page}");
        }
    }

    #[test]
    fn the_page_lists_what_is_lost_with_the_whole_interval_to_somebody_else() {
        let lost = json!({ "median": 1.10, "low": 1.03, "high": 1.20 });
        let open = json!({ "median": 1.10, "low": 1.01, "high": 1.20 });
        let mut run = run();
        let ratios = json!({ "floor": open, "go": lost, "ringwork-bare": lost });
        let ours = peer("ringwork", Some(2.85), ratios);
        let peers = ["floor", "go", "ringwork-bare"].map(|name| peer(name, Some(2.5), json!({})));
        run.workloads[0].peers = peers
            .into_iter()
            .chain([ours])
            .map(|peer| serde_json::from_value(peer).expect("a peer"))
            .collect();
        let table = losses(&run);
        assert_eq!(table[1..], [["`echo`", "go", "CPU per op", "1.10 [1.03–1.20]"].map(str::to_owned)]);
    }

    #[test]
    fn a_peer_that_is_blocked_is_set_beside_ours_that_is_blocked_as_well() {
        let interval = |low: f64| json!({ "median": low, "low": low, "high": low });
        let mut run = run();
        let (free, stuck) = ("tokio-multi", "tokio-multi-stuck");
        let peers = [
            peer(free, Some(2.5), json!({})),
            peer(stuck, Some(2.5), json!({})),
            peer(
                "ringwork",
                Some(2.5),
                json!({ free: interval(1.1), stuck: interval(0.2), "ringwork-stuck": interval(0.95) }),
            ),
            peer("ringwork-stuck", Some(2.5), json!({ free: interval(9.0), stuck: interval(1.5) })),
        ];
        run.workloads[0].peers =
            peers.into_iter().map(|peer| serde_json::from_value(peer).expect("a peer")).collect();
        let rows = table(&run.workloads[..1]);
        let shown: Vec<&str> = rows[1..].iter().map(|row| row[3].as_str()).collect();
        assert_eq!(shown, ["1.10 [1.10–1.10]", "1.50 [1.50–1.50]", "1", "0.95 [0.95–0.95]"]);
        let lost: Vec<_> = losses(&run)[1..].iter().map(|row| (row[1].clone(), row[3].clone())).collect();
        let expected = [(free, "1.10 [1.10–1.10]"), (stuck, "1.50 [1.50–1.50]")];
        assert_eq!(lost, expected.map(|(peer, ratio)| (peer.to_owned(), ratio.to_owned())));
    }
}
