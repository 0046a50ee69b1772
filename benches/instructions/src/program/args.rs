//! The command line.
#![forbid(unsafe_code)]

use crate::program::paths::Path;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use std::path::PathBuf;

/// The text of `--help`.
pub(crate) const USAGE: &str = "\
Counts the instructions and atomic read-modify-writes of one op of each hot path of ringwork.

usage: ringwork-instructions [measure | check | bless] [--only NAME,..] [--baseline FILE]
       ringwork-instructions profile NAME
  measure   counts, and shows the counts beside the baseline (the default)
  check     the same, and exits with 1 if a path costs more than the baseline and its tolerance allow
  bless     counts, and writes the baseline
  profile   the functions in which the instructions of one path are
options:
  --only NAME,..     these paths
  --baseline FILE    another than baseline.txt of this package
  --extra PERCENT    does so much more in each path than the baseline says, to see the check fail
  --help             this text";

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Measure,
    Check,
    Bless,
    Profile(&'static Path),
    /// In a process of its own: counts one path, with so many instructions more.
    Count {
        path: &'static Path,
        extra: u64,
        histogram: bool,
    },
}

/// What was said.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) command: Command,
    /// All, unless some were chosen.
    pub(crate) only: Option<Vec<&'static Path>>,
    pub(crate) baseline: PathBuf,
    pub(crate) extra: u64,
}

impl Args {
    /// Those of this process, or what is wrong with them.
    pub(crate) fn of_process() -> Result<Self, String> {
        parse(lexopt::Parser::from_env()).map_err(|error| error.to_string())
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Args, lexopt::Error> {
    let baseline = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.txt").into();
    let mut args = Args { command: Command::Measure, only: None, baseline, extra: 0 };
    let mut words = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(word) => words.push(word.string()?),
            Short('h') | Long("help") => return Ok(Args { command: Command::Help, ..args }),
            Long("only") => {
                let names = parser.value()?.string()?;
                args.only = Some(names.split(',').map(named).collect::<Result<_, _>>()?);
            }
            Long("baseline") => args.baseline = parser.value()?.into(),
            Long("extra") => args.extra = parser.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    args.command = match words[..] {
        [] | ["measure"] => Command::Measure,
        ["check"] => Command::Check,
        ["bless"] => Command::Bless,
        ["profile", name] => Command::Profile(named(name)?),
        ["count", name] => Command::Count { path: named(name)?, extra: args.extra, histogram: false },
        ["count", name, "histogram"] => Command::Count { path: named(name)?, extra: 0, histogram: true },
        _ => return Err(format!("`{}` makes no sense", words.join(" ")).into()),
    };
    Ok(args)
}

fn named(name: &str) -> Result<&'static Path, lexopt::Error> {
    Path::named(name).ok_or_else(|| format!("no path is called {name}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args, String> {
        let words = ["ringwork-instructions"].iter().chain(words);
        parse(lexopt::Parser::from_iter(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_given_is_taken() {
        let args =
            parsed(&["check", "--only", "wake-local,poll-send", "--extra", "10"]).expect("well formed");
        assert!(matches!(args.command, Command::Check));
        let names = args.only.iter().flatten().map(|path| path.name);
        assert_eq!(names.collect::<Vec<_>>(), ["wake-local", "poll-send"]);
        assert_eq!(args.extra, 10);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in
            [&["cheque"][..], &["check", "bless"], &["profile"], &["--only", "nothing"], &["--extra", "x"]]
        {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
