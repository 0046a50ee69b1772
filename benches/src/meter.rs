//! The clock of a program that measures itself: warm-up, measured time, end, and the line it prints. It
//! promises that all peers of a workload pay the same for being measured: one reading of the clock for each
//! batch of ops. It does no work of its own.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::sample::Sample;
use crate::usage::Usage;

/// How long a program warms up, and how long it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) warm: Duration,
    pub(crate) measure: Duration,
}

/// What has been measured so far.
pub(crate) struct Meter {
    begins: Instant,
    measure: Duration,
    from: Option<(Instant, Usage)>,
    to: Option<(Instant, Usage)>,
    ops: u64,
    latency: Histogram<u64>,
}

impl Meter {
    pub(crate) fn new(times: Times) -> Meter {
        Meter {
            begins: Instant::now() + times.warm,
            measure: times.measure,
            from: None,
            to: None,
            ops: 0,
            latency: latencies(),
        }
    }

    /// Notes `ops` more, of which one, if that is known, began at `begun`. False once the time is over.
    pub(crate) fn tick(&mut self, ops: u64, begun: Option<Instant>) -> bool {
        let now = Instant::now();
        match (&self.from, &self.to) {
            (_, Some(_)) => return false,
            (None, _) if now >= self.begins => self.from = Some((Instant::now(), Usage::own())),
            (None, _) => {}
            (Some((start, _)), None) => {
                self.ops += ops;
                if let Some(begun) = begun {
                    self.latency.saturating_record((now - begun).as_nanos() as u64);
                }
                if now - *start >= self.measure {
                    self.to = Some((now, Usage::own()));
                    return false;
                }
            }
        }
        true
    }

    /// What the measured time came to.
    pub(crate) fn sample(&self) -> io::Result<Sample> {
        let (Some((start, before)), Some((end, after))) = (&self.from, &self.to) else {
            return Err(io::Error::other("the program ended before its time"));
        };
        Ok(Sample::new(self.ops, *end - *start, after.since(before), &self.latency))
    }

    /// Prints the measured time as one line of JSON, which the harness reads.
    pub(crate) fn print(&self) -> io::Result<()> {
        self.sample()?.print()
    }
}

/// A histogram of nanoseconds, empty.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds")
}
