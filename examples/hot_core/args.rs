//! The command line.

use lexopt::prelude::{Long, Short, ValueExt};
use ringwork::runtime::Steal;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Each task keeps a number until the end: some hundred megabytes for all.
const TASKS_MAX: usize = 10_000_000;
/// One second: the core is stuck in each of them.
const WORK_US_MAX: usize = 1_000_000;
/// Both ends are in this process, and a client can have no more ports.
const CONNECTIONS_MAX: usize = 25_000;
const CORES_MAX: usize = 1_024;

pub(crate) const USAGE: &str = "\
usage: hot_core [--tasks N] [--work-us U] [--steal WHEN] [--balanced] [--io] [--connections N] [--cores N]
  --tasks N         tasks, or requests with --io (20000)
  --work-us U       CPU that each burns, in microseconds (50)
  --steal WHEN      never, or how long a core idles before tasks move to it, sooner if many wait for long:
                    200us, 1ms (200us)
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
                Long("tasks") => args.tasks = count(&mut parser, "--tasks", 1..=TASKS_MAX)?,
                Long("work-us") => {
                    let micros = count(&mut parser, "--work-us", 0..=WORK_US_MAX)?;
                    args.work = Duration::from_micros(micros as u64);
                }
                Long("steal") => args.steal = parser.value()?.parse_with(steal)?,
                Long("balanced") => args.balanced = true,
                Long("io") => args.io = true,
                Long("connections") => {
                    args.connections = count(&mut parser, "--connections", 1..=CONNECTIONS_MAX)?;
                }
                Long("cores") => args.cores = Some(count(&mut parser, "--cores", 1..=CORES_MAX)?),
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        if args.io && args.balanced {
            return Err("--balanced does not go with --io: connections are accepted on core 0".into());
        }
        Ok(Some(args))
    }
}

/// Reads the number that `option` wants.
fn count(
    parser: &mut lexopt::Parser,
    option: &str,
    range: RangeInclusive<usize>,
) -> Result<usize, lexopt::Error> {
    let number = parser.value()?.to_str().and_then(|text| text.parse().ok());
    let number = number.filter(|number| range.contains(number));
    let (least, most) = (range.start(), range.end());
    number.ok_or_else(|| format!("{option} takes a whole number from {least} to {most}").into())
}

/// Reads `never`, `200us`, `1ms` or `1s`.
fn steal(text: &str) -> Result<Steal, String> {
    if text == "never" {
        return Ok(Steal::Never);
    }
    let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let micros = match unit {
        "us" => Some(1),
        "ms" => Some(1_000),
        "s" => Some(1_000_000),
        _ => None,
    };
    let number = text[..text.len() - unit.len()].parse::<u64>().ok();
    let micros = micros.zip(number).and_then(|(unit, number)| number.checked_mul(unit));
    let micros = micros.ok_or("--steal takes never, or a whole number with us, ms or s")?;
    Ok(Steal::After(Duration::from_micros(micros)))
}
