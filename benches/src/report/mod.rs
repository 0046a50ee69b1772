//! What a run has come to: tables and verdicts for a reader, JSON for a script, for `diff` and for `table`,
//! plots for a slide, all from the same outcomes. This file draws the tables.

pub(crate) mod columns;
pub(crate) mod commit;
pub(crate) mod diff;
pub(crate) mod document;
pub(crate) mod flags;
pub(crate) mod machine;
pub(crate) mod page;
pub(crate) mod plots;
pub(crate) mod remarks;
pub(crate) mod targets;
mod verdicts;
pub(crate) mod wording;

use columns::{APART, Layout, Reading};

use crate::bench::Outcome;
use crate::said::say;
use crate::stats::{interval, median, ratio};
use crate::workloads::Workload;

/// One workload that has been measured.
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) group: &'static str,
    pub(crate) layout: Layout,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Measured {
    pub(crate) fn new(workload: Workload, outcomes: Vec<Outcome>) -> Measured {
        let Workload { name, title, group, work } = workload;
        Measured { name, title, group, layout: work.layout(), outcomes }
    }

    /// Those that have taken all their turns.
    pub(crate) fn good(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.is_good())
    }

    /// One that has taken all its turns.
    pub(crate) fn peer(&self, peer: &str) -> Option<&Outcome> {
        self.good().find(|outcome| outcome.peer == peer)
    }
}

/// All readings of one peer, a reading per round.
pub(crate) fn readings(outcome: &Outcome, reading: Reading) -> Vec<f64> {
    outcome.samples.iter().map(reading).collect()
}

/// Prints all tables of one workload.
pub(crate) fn print(measured: &Measured) {
    say!("\n{}: {}", measured.name, measured.title);
    let good: Vec<&Outcome> = measured.good().collect();
    if !good.is_empty() {
        print_rows(&value_rows(&measured.layout, &good));
    }
    if good.len() > 1 {
        for (what, reading, _) in measured.layout.ratios {
            let interval = interval(good[0].samples.len());
            say!("{what}, row / column (median of the rounds' ratios, {interval}):");
            print_rows(&ratio_rows(&good, *reading));
        }
    }
    let apart = apart_rows(&good);
    if apart.len() > 1 {
        say!("counted in turns apart:");
        print_rows(&apart);
    }
    print_remarks(measured);
}

fn value_rows(layout: &Layout, good: &[&Outcome]) -> Vec<Vec<String>> {
    // A column that nobody has anything for says nothing.
    let values = |reading: Reading| good.iter().map(move |o| median(readings(o, reading)));
    let filled = |(_, reading, _): &&columns::Column| values(*reading).any(|value| !value.is_nan());
    let columns: Vec<&columns::Column> = layout.columns.iter().filter(filled).collect();
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(columns.iter().map(|(heading, ..)| (*heading).to_owned()));
    for outcome in good {
        let mut row = vec![outcome.peer.to_owned()];
        row.extend(
            columns
                .iter()
                .map(|(_, reading, decimals)| number(median(readings(outcome, *reading)), *decimals)),
        );
        rows.push(row);
    }
    rows
}

fn ratio_rows(good: &[&Outcome], reading: Reading) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(good.iter().map(|o| o.peer.to_owned()));
    for row in good {
        let cell = |column: &&Outcome| {
            if column.peer == row.peer {
                return "1".to_owned();
            }
            let r = ratio(&readings(row, reading), &readings(column, reading));
            if r.median.is_nan() { "-".to_owned() } else { r.to_string() }
        };
        rows.push([row.peer.to_owned()].into_iter().chain(good.iter().map(cell)).collect());
    }
    rows
}

fn apart_rows(good: &[&Outcome]) -> Vec<Vec<String>> {
    let headings = APART.map(|(heading, ..)| heading);
    let mut rows = vec![[""].into_iter().chain(headings).map(str::to_owned).collect::<Vec<_>>()];
    for outcome in good {
        let cells = APART.map(|(_, of, decimals)| (of(&outcome.apart), decimals));
        if cells.iter().any(|(value, _)| value.is_some()) {
            let cell = |(value, decimals): (Option<f64>, usize)| number(value.unwrap_or(f64::NAN), decimals);
            rows.push([outcome.peer.to_owned()].into_iter().chain(cells.map(cell)).collect());
        }
    }
    rows
}

fn print_remarks(measured: &Measured) {
    for outcome in &measured.outcomes {
        let peer = outcome.peer;
        if let Some(why) = &outcome.skipped {
            say!("{peer}: skipped: {why}");
        }
        if let Some(failure) = &outcome.failure {
            say!("{peer}: failed: {failure}");
        }
        for remark in remarks::of(&measured.layout, outcome) {
            say!("{peer}: {}", remark.said());
        }
    }
}

fn number(value: f64, decimals: usize) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.decimals$}") }
}

/// Rows with the first column to the left and the others to the right.
pub(crate) fn print_rows(rows: &[Vec<String>]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in rows {
        let mut line = format!("  {:<w$}", row[0], w = widths[0]);
        for (cell, w) in row.iter().zip(&widths).skip(1) {
            line.push_str(&format!("  {cell:>w$}"));
        }
        say!("{}", line.trim_end());
    }
}
