//! The clock of a program that measures itself: warm-up, measured time, end, and the line it prints. It
//! promises that all peers of a workload pay the same for being measured: one reading of the clock for each
//! batch of ops. It does no work of its own.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::counting;
use crate::sample::Sample;
use crate::usage::Usage;

/// How long a program warms up, and how long it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) warm: Duration,
    pub(crate) measure: Duration,
}

impl Times {
    /// The same with a warm-up of `at_least` that long, for a workload that takes so long to become steady.
    pub(crate) fn settled(self, at_least: Duration) -> Times {
        Times { warm: self.warm.max(at_least), ..self }
    }
}

/// What is read at either end of the measured time.
struct Mark {
    at: Instant,
    used: Usage,
    /// Allocations and live bytes.
    heap: Option<(u64, i64)>,
}

impl Mark {
    fn set(at: Instant) -> Mark {
        Mark { at, used: Usage::own(), heap: counting::reading() }
    }
}

/// What has been measured so far.
pub(crate) struct Meter {
    begins: Instant,
    measure: Duration,
    from: Option<Mark>,
    to: Option<Mark>,
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
            (None, _) if now >= self.begins => {
                self.from = Some(Mark::set(Instant::now()));
            }
            (None, _) => {}
            (Some(from), None) => {
                self.ops += ops;
                if let Some(begun) = begun {
                    self.latency.saturating_record((now - begun).as_nanos() as u64);
                }
                if now - from.at >= self.measure {
                    self.to = Some(Mark::set(now));
                    return false;
                }
            }
        }
        true
    }

    /// What the measured time came to.
    pub(crate) fn sample(&self) -> io::Result<Sample> {
        let (Some(from), Some(to)) = (&self.from, &self.to) else {
            return Err(io::Error::other("the program ended before its time"));
        };
        let mut sample = Sample::new(self.ops, to.at - from.at, to.used.since(&from.used), &self.latency);
        sample.allocations = to.heap.zip(from.heap).map(|((now, _), (then, _))| now - then);
        sample.heap_bytes = to.heap.map(|(_, live)| live);
        Ok(sample)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_is_made_longer_but_never_shorter() {
        let millis = Duration::from_millis;
        let times = Times { warm: millis(100), measure: millis(300) };
        for (at_least, warm) in [(0, 100), (99, 100), (800, 800)] {
            let settled = times.settled(millis(at_least));
            assert_eq!((settled.warm, settled.measure), (millis(warm), millis(300)));
        }
    }
}
