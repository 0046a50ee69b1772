//! The JSON of a run: what a later run is compared with, and what a page is made of. Samples are kept whole,
//! so that whoever doubts a median can make another.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::columns::Reading;
use super::targets::Verdict;
use super::{Measured, machine, readings, remarks};
use crate::args;
use crate::bench::{Outcome, Settings};
use crate::stats::{median, ratio};

/// Changes when a reader of the document has to.
const FORMAT: u64 = 2;

/// The file of a run, written anew after each workload: what ends a run early leaves what was measured.
pub(crate) struct Document {
    path: PathBuf,
    settings: Settings,
    /// Of before the first turn, for sources may change while a long run goes on.
    record: BTreeMap<&'static str, String>,
    /// Workloads that the run is to measure.
    planned: usize,
}

impl Document {
    /// The document at `path`, which is not touched yet, but can be written.
    pub(crate) fn new(path: &Path, settings: &Settings, planned: usize) -> io::Result<Document> {
        let document = Document {
            path: path.to_owned(),
            settings: settings.clone(),
            record: machine::record(),
            planned,
        };
        // What takes its place in the end would do away with a device or a pipe.
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(document.failed("it is there and is no file"));
        }
        let part = document.part();
        fs::File::create(&part)
            .and_then(|_| fs::remove_file(&part))
            .map_err(|error| document.failed(error))?;
        Ok(document)
    }

    /// Writes all that has been `measured` and what was `found` out for it, with what one must know about the
    /// machine. At every moment there is one whole document at its path, this one or the one before.
    pub(crate) fn write(
        &self,
        measured: &[Measured],
        found: &[String],
        verdicts: &[Verdict],
    ) -> io::Result<()> {
        let Settings { rounds, times, .. } = self.settings;
        let document = json!({
            "format": FORMAT,
            "machine": machine::line(),
            "record": self.record,
            "date": machine::date(),
            "command": args::command_line(),
            "rounds": rounds,
            "warm_ms": times.warm.as_millis() as u64,
            "measure_ms": times.measure.as_millis() as u64,
            "planned": self.planned,
            "found": found,
            "workloads": measured.iter().map(workload).collect::<Vec<_>>(),
            "verdicts": verdicts,
        });
        let (part, text) = (self.part(), serde_json::to_string_pretty(&document)? + "\n");
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, fs::canonicalize(&self.path).unwrap_or(self.path.clone())))
            .map_err(|error| self.failed(error))
    }

    /// Beside it, so that a rename brings it there.
    fn part(&self) -> PathBuf {
        let mut name = fs::canonicalize(&self.path).unwrap_or(self.path.clone()).into_os_string();
        name.push(".part");
        name.into()
    }

    fn failed(&self, why: impl std::fmt::Display) -> io::Error {
        io::Error::other(format!("{} cannot be written: {why}", self.path.display()))
    }
}

/// Reads what a [`Document`] has written.
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
