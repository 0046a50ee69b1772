//! The JSON of a run: what a later run is compared with, and what a page is made of. Samples are kept whole,
//! so that whoever doubts a median can make another.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::columns::Reading;
use super::targets::Verdict;
use super::{Measured, machine, readings, remarks};
use crate::args;
use crate::bench::{Outcome, Settings};
use crate::stats::{median, ratio};

/// Changes when a reader of the document has to.
const FORMAT: u64 = 2;

/// Writes everything with what one must know about the machine: its `record` is of before the first turn, for
/// sources may change while a long run goes on.
pub(crate) fn write(
    path: &Path,
    settings: &Settings,
    record: &BTreeMap<&'static str, String>,
    measured: &[Measured],
    verdicts: &[Verdict],
) -> io::Result<()> {
    let document = json!({
        "format": FORMAT,
        "machine": machine::line(),
        "record": record,
        "date": machine::date(),
        "command": args::command_line(),
        "rounds": settings.rounds,
        "warm_ms": settings.times.warm.as_millis() as u64,
        "measure_ms": settings.times.measure.as_millis() as u64,
        "workloads": measured.iter().map(workload).collect::<Vec<_>>(),
        "verdicts": verdicts,
    });
    fs::write(path, serde_json::to_string_pretty(&document)? + "\n")
}

/// Reads what [`write()`] has written.
pub(crate) fn read(path: &Path) -> io::Result<Value> {
    let in_file = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| in_file(&error))?;
    let document: Value = serde_json::from_str(&text).map_err(|error| in_file(&error))?;
    if document["format"] != FORMAT {
        return Err(in_file(&"it is no document of this version of the harness"));
    }
    Ok(document)
}

/// Medians, ratios and the samples they come from.
fn workload(measured: &Measured) -> Value {
    let peers: Vec<Value> = measured.outcomes.iter().map(|outcome| peer(measured, outcome)).collect();
    let ratios: Vec<&str> = measured.layout.ratios.iter().map(|(what, ..)| *what).collect();
    let columns: Vec<(&str, usize)> =
        measured.layout.columns.iter().map(|(heading, _, decimals)| (*heading, *decimals)).collect();
    json!({
        "name": measured.name,
        "title": measured.title,
        "group": measured.group,
        "columns": columns,
        "metrics": ratios,
        "peers": peers,
    })
}

fn peer(measured: &Measured, outcome: &Outcome) -> Value {
    let ratios_to_others = |reading: Reading| -> Map<String, Value> {
        let others = measured.good().filter(|other| other.peer != outcome.peer);
        let pair = |other: &Outcome| {
            (other.peer.to_owned(), json!(ratio(&readings(outcome, reading), &readings(other, reading))))
        };
        others.map(pair).collect()
    };
    let medians = measured.layout.columns.iter().map(|(heading, reading, _)| (*heading, *reading));
    // What a ratio is of is kept per round as well: `diff` needs it.
    let values =
        measured.layout.ratios.iter().map(|(what, reading, _)| (*what, json!(readings(outcome, *reading))));
    let ratios = measured.layout.ratios.iter().map(|(what, reading, _)| (*what, ratios_to_others(*reading)));
    let medians: Map<_, _> =
        medians.map(|(what, reading)| (what.to_owned(), json!(median(readings(outcome, reading))))).collect();
    json!({
        "peer": outcome.peer,
        "failure": outcome.failure,
        "skipped": outcome.skipped,
        "remarks": remarks::of(&measured.layout, outcome),
        "medians": medians,
        "values": values.map(|(what, list)| (what.to_owned(), list)).collect::<Map<_, _>>(),
        "ratios": ratios.map(|(what, map)| (what.to_owned(), map.into())).collect::<Map<_, _>>(),
        "apart": outcome.apart,
        "samples": outcome.samples,
    })
}
