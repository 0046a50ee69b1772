//! The command line.

use lexopt::prelude::{Long, ValueExt};
use ringwork::runtime::Steal;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: hot_core --tasks N --work-us U --steal never|DURATION [--balanced] [--io]
  --tasks N         tasks, or requests with --io (20000)
  --work-us U       CPU that each burns, in microseconds (50)
  --steal WHEN      never, or how long a core idles before tasks move to it: 200us, 1ms (200us)
  --balanced        births are spread evenly over the cores instead of all being on core 0
  --io              the tasks are requests over loopback; all connections are accepted on core 0
  --connections N   how many of them (64)
  --cores N         cores (one for each CPU the process may use)";

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) tasks: usize,
    pub(crate) work: Duration,
    pub(crate) steal: Steal,
    pub(crate) balanced: bool,
    pub(crate) io: bool,
    pub(crate) connections: usize,
    pub(crate) cores: Option<usize>,
}

impl Args {
    /// What was asked for; `None` if that was help.
    pub(crate) fn parse() -> Result<Option<Self>, lexopt::Error> {
        let mut args = Self {
            tasks: 20_000,
            work: Duration::from_micros(50),
            steal: Steal::After(Duration::from_micros(200)),
            balanced: false,
            io: false,
            connections: 64,
            cores: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("tasks") => args.tasks = parser.value()?.parse_with(at_least_one)?,
                Long("work-us") => args.work = Duration::from_micros(parser.value()?.parse()?),
                Long("steal") => args.steal = parser.value()?.parse_with(steal)?,
                Long("balanced") => args.balanced = true,
                Long("io") => args.io = true,
                Long("connections") => args.connections = parser.value()?.parse_with(at_least_one)?,
                Long("cores") => args.cores = Some(parser.value()?.parse_with(at_least_one)?),
                Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        if args.io && args.balanced {
            return Err("--balanced does not go with --io: connections are accepted on core 0".into());
        }
        Ok(Some(args))
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

/// Reads `never`, `200us`, `1ms` or `1s`.
fn steal(text: &str) -> Result<Steal, String> {
    if text == "never" {
        return Ok(Steal::Never);
    }
    let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let number = text[..text.len() - unit.len()].parse::<u64>();
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        _ => return Err("write never, or a whole number with us, ms or s".to_owned()),
    };
    let number = number.map_err(|error| error.to_string())?;
    number.checked_mul(micros).map(Duration::from_micros).map(Steal::After).ok_or("too long".to_owned())
}
