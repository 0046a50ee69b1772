//! The command line: what may be said, and what is said back when it makes no sense.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt};

/// The text of `--help`.
pub(crate) const USAGE: &str = "\
Measures ringwork, raw loops and other runtimes side by side on this machine.

usage: ringwork-bench compare [--quick] [--only NAME,..] [--peers PEER,..] [--json FILE] [--plots DIR] ..
       ringwork-bench one NAME PEER [OPTIONS]
       ringwork-bench list
       ringwork-bench diff BEFORE.json AFTER.json
       ringwork-bench table FILE.json
       ringwork-bench serve PROGRAM [KEY=VALUE ..]
  compare   measures and prints a table for each workload, then what the run says about the project's goals
  one       one turn of one peer, for a profiler beside it
  list      the workloads, which of them --quick takes, and the peers
  diff      what has changed between two runs, relative to a yardstick of each run
  table     a page of Markdown with all that the JSON of a run says: settings, every row, goals
  serve     becomes one of the programs that are measured
options:
  --quick            a dozen workloads with shorter turns, under ten minutes
  --only NAME,..     these workloads; a name that ends with * stands for all that begin so
  --peers PEER,..    these peers
  --json FILE        everything, with all samples, for scripts, diff and table; written after each workload
  --plots DIR        an SVG for each workload
  --rounds N         turns of each peer (5); no verdicts with fewer
  --measure MS       length of one turn (1500; 500 with --quick)
  --warm MS          warm-up before each turn (300; 150 with --quick); some workloads take longer
  --trace            a turn under strace afterwards: system calls per op of servers
  --file PATH        the 256 MiB file of the disk workloads, made if missing; on a disk, not tmpfs
  --tasks N          tasks of the hot-core workloads (20000)
  --rate N           messages/s that open and even workloads take for saturation (measured first)
  --block MS         how long stuck-core blocks a core (2000)
  --idle N           connections, tasks or timers where there are 10,000 and more
  --help             this text";

/// The command line, as far as it was given.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) free: Vec<String>,
    pub(crate) help: bool,
    pub(crate) quick: bool,
    pub(crate) trace: bool,
    pub(crate) only: Option<Vec<String>>,
    pub(crate) peers: Option<Vec<String>>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) plots: Option<PathBuf>,
    pub(crate) rounds: Option<usize>,
    pub(crate) measure: Option<Duration>,
    pub(crate) warm: Option<Duration>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) tasks: Option<usize>,
    pub(crate) rate: Option<f64>,
    pub(crate) block: Option<Duration>,
    pub(crate) idle: Option<usize>,
}

impl Args {
    /// Those of this process.
    pub(crate) fn of_process() -> Result<Args, String> {
        parse(lexopt::Parser::from_env()).map_err(|error| error.to_string())
    }
}

/// What this process was asked for, as one would type it.
pub(crate) fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    words.collect::<Vec<_>>().join(" ")
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Args, lexopt::Error> {
    let mut args = Args::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(word) => args.free.push(word.string()?),
            Short('h') | Long("help") => args.help = true,
            Long("quick") => args.quick = true,
            Long("trace") => args.trace = true,
            Long("only") => args.only = Some(list(&mut parser, "--only")?),
            Long("peers") => args.peers = Some(list(&mut parser, "--peers")?),
            Long("json") => args.json = Some(parser.value()?.into()),
            Long("plots") => args.plots = Some(parser.value()?.into()),
            Long("rounds") => args.rounds = Some(positive(&mut parser, "--rounds")? as usize),
            Long("measure") => args.measure = Some(millis(&mut parser, "--measure")?),
            Long("warm") => args.warm = Some(Duration::from_millis(parser.value()?.parse()?)),
            Long("file") => args.file = Some(parser.value()?.into()),
            Long("tasks") => args.tasks = Some(positive(&mut parser, "--tasks")? as usize),
            Long("rate") => args.rate = Some(rate(&mut parser)?),
            Long("block") => args.block = Some(millis(&mut parser, "--block")?),
            Long("idle") => args.idle = Some(positive(&mut parser, "--idle")? as usize),
            other => return Err(other.unexpected()),
        }
    }
    Ok(args)
}

fn list(parser: &mut lexopt::Parser, option: &str) -> Result<Vec<String>, lexopt::Error> {
    let text = parser.value()?.string()?;
    let names: Vec<String> = text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() { Err(format!("{option} names nothing").into()) } else { Ok(names) }
}

/// A whole number that is not 0.
fn positive(parser: &mut lexopt::Parser, option: &str) -> Result<u64, lexopt::Error> {
    let text = parser.value()?.string()?;
    match text.parse() {
        Ok(0) => Err(format!("{option} 0 makes no sense: at least 1").into()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("{option} {text}: not a whole number").into()),
    }
}

fn millis(parser: &mut lexopt::Parser, option: &str) -> Result<Duration, lexopt::Error> {
    positive(parser, option).map(Duration::from_millis)
}

fn rate(parser: &mut lexopt::Parser) -> Result<f64, lexopt::Error> {
    let text = parser.value()?.string()?;
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("--rate {text}: not a number above 0").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args, String> {
        let words = ["ringwork-bench"].iter().chain(words);
        parse(lexopt::Parser::from_iter(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn zero_is_refused_by_the_name_of_its_option() {
        for option in ["--rounds", "--tasks", "--measure", "--block", "--idle", "--rate"] {
            let message = parsed(&["compare", option, "0"]).unwrap_err();
            assert!(message.contains(option), "{message}");
            let message = parsed(&["compare", option, "many"]).unwrap_err();
            assert!(message.contains(option), "{message}");
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_change_them() {
        assert_eq!(quoted("echo-64x64,read-4096x1"), "echo-64x64,read-4096x1");
        assert_eq!(quoted("echo-*"), "'echo-*'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }

    #[test]
    fn what_is_given_is_taken() {
        let args = parsed(&["compare", "--only=a,b", "--rounds", "3", "--warm", "0"]).expect("well formed");
        assert_eq!(args.only, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((args.rounds, args.warm), (Some(3), Some(Duration::ZERO)));
        assert!(parsed(&["compare", "--only", ","]).unwrap_err().contains("--only"));
    }
}
