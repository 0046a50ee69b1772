//! The committed counts: a text that a person can read, and a diff shows what a change costs.
#![forbid(unsafe_code)]

use crate::program::tools::Tools;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How much more a path may cost, in per cent, if nobody has said otherwise.
const TOLERANCE: f64 = 3.0;

const HEADER: &str = "\
# Instructions and atomic read-modify-writes of one op of each hot path. README.md beside this file says what
# they are. Written by: cargo run --release -p ringwork-instructions -- bless
";

/// What one op costs on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    pub(crate) rmws: f64,
}

/// The costs of all paths, and under which circumstances they are those.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Baseline {
    /// In per cent.
    pub(crate) tolerance: f64,
    pub(crate) tools: Tools,
    pub(crate) costs: BTreeMap<String, Cost>,
}

impl Baseline {
    pub(crate) fn new(tools: Tools) -> Self {
        Self { tolerance: TOLERANCE, tools, costs: BTreeMap::new() }
    }

    /// Reads what [`Baseline::text`] wrote.
    ///
    /// # Errors
    /// The line that makes no sense, or the one that is missing.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut heads = BTreeMap::new();
        let mut costs = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((key, value)) = line.split_once(": ") {
                heads.insert(key, value);
            } else {
                let (name, cost) = cost(line).ok_or_else(|| format!("`{line}` makes no sense"))?;
                if costs.insert(name.to_owned(), cost).is_some() {
                    return Err(format!("{name} is there twice"));
                }
            }
        }
        let head = |key: &str| heads.get(key).ok_or_else(|| format!("`{key}: ` is missing"));
        let text = |key: &str| head(key).map(|value| (*value).to_owned());
        let tolerance = head("tolerance")?.strip_suffix(" %").and_then(|number| number.parse().ok());
        let tolerance = tolerance.filter(|percent: &f64| percent.is_finite() && *percent >= 0.0);
        let tools = Tools {
            rustc: text("rustc")?,
            target: text("target")?,
            optimised: text("opt-level")?,
            libc: text("libc")?,
        };
        Ok(Self { tolerance: tolerance.ok_or("the tolerance is no number of per cent")?, tools, costs })
    }

    pub(crate) fn text(&self) -> String {
        let Self { tolerance, tools, costs } = self;
        let mut text = HEADER.to_owned();
        writeln!(text, "tolerance: {tolerance} %").expect("a string grows");
        writeln!(text, "rustc: {}", tools.rustc).expect("a string grows");
        writeln!(text, "target: {}", tools.target).expect("a string grows");
        writeln!(text, "opt-level: {}", tools.optimised).expect("a string grows");
        writeln!(text, "libc: {}", tools.libc).expect("a string grows");
        writeln!(text, "\n# {:<22}{:>12}{:>8}", "path", "instructions", "rmws").expect("a string grows");
        for (name, Cost { instructions, rmws }) in costs {
            writeln!(text, "{name:<24}{instructions:>12.2}{rmws:>8.2}").expect("a string grows");
        }
        text
    }
}

/// A name and two numbers that are no less than 0.
fn cost(line: &str) -> Option<(&str, Cost)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, instructions, rmws] = words[..] else { return None };
    let number = |word: &str| word.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    Some((name, Cost { instructions: number(instructions)?, rmws: number(rmws)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Baseline {
        let mut some = Baseline::new(Tools::here());
        some.costs.insert("wake-local".to_owned(), Cost { instructions: 84.0, rmws: 0.0 });
        some.costs.insert("block-on".to_owned(), Cost { instructions: 1881.05, rmws: 20.5 });
        some
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(Baseline::parse(&some().text()), Ok(some()));
    }

    #[test]
    fn it_is_sorted_by_name() {
        let text = some().text();
        assert!(text.find("block-on").expect("there") < text.find("wake-local").expect("there"));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let text = some().text();
        for (from, to, named) in [
            ("84.00", "many", "many"),
            ("84.00", "-1", "-1"),
            ("84.00", "", "wake-local"),
            ("block-on", "wake-local", "wake-local"),
            ("tolerance: 3 %", "tolerance: 3", "tolerance"),
            ("rustc: ", "cc: ", "rustc"),
        ] {
            let error = Baseline::parse(&text.replace(from, to)).expect_err(to);
            assert!(error.contains(named), "{error}");
        }
    }
}
