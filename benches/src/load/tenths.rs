//! The tail of latencies in open loop, by tenths of a turn.
//!
//! Owns [`Tenths`] and what it makes of them: the median of what the tenths have as their 99th percentile.
//! The virtual CPUs of some machines stand still for some ms now and then. One such pause decides the 99th
//! percentile of a turn of 300 ms, whoever the peer is, but spoils one or two tenths only; a server that
//! stops all the time spoils most. An answer belongs to the tenth in which it comes. All memory is there
//! before the turn begins, and sums are made after it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::meter::latencies;
use crate::stats::median;

const TENTHS: usize = 10;

pub(super) struct Tenths {
    latencies: [Histogram<u64>; TENTHS],
    full: usize,
    /// How long one is.
    each: Duration,
}

impl Tenths {
    /// Of a turn of this length.
    pub(super) fn of(time: Duration) -> Self {
        let written = |_| {
            let mut latencies = latencies();
            // So that its pages are there.
            latencies.reset();
            latencies
        };
        Self { latencies: std::array::from_fn(written), full: 0, each: time / TENTHS as u32 }
    }

    /// Whether the turn that began at `start` goes on at `now`. At the end of a tenth what `latency` has is
    /// kept as that one's, and it is empty again.
    pub(super) fn go_on(&mut self, start: Instant, now: Instant, latency: &mut Histogram<u64>) -> bool {
        while self.full < TENTHS && now >= start + self.each * (self.full as u32 + 1) {
            std::mem::swap(&mut self.latencies[self.full], latency);
            self.full += 1;
        }
        self.full < TENTHS
    }

    /// In nanoseconds. A tenth without an answer is as bad as it is long.
    pub(super) fn p99(&self) -> f64 {
        let each = self.each.as_nanos() as u64;
        let p99 =
            |tenth: &Histogram<u64>| if tenth.is_empty() { each } else { tenth.value_at_quantile(0.99) };
        median(self.latencies.iter().map(|tenth| p99(tenth) as f64))
    }

    /// All latencies of the turn.
    pub(super) fn sum(self) -> Histogram<u64> {
        let mut sum = latencies();
        self.latencies.iter().for_each(|tenth| sum.add(tenth).expect("the same bounds"));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(100);

    /// A turn in whose tenths each answer took so many microseconds; none came where there is no number.
    fn turn(micros: [Option<u64>; TENTHS]) -> Tenths {
        let (mut tenths, mut latency, start) = (Tenths::of(TIME), latencies(), Instant::now());
        for (at, micros) in (1..).zip(micros) {
            if let Some(micros) = micros {
                latency.record_n(micros * 1_000, 1_000).unwrap();
            }
            assert_eq!(tenths.go_on(start, start + TIME / 10 * at, &mut latency), at < 10);
            assert!(latency.is_empty());
        }
        tenths
    }

    fn is_about(nanos: f64, micros: f64) -> bool {
        (nanos / 1e3 / micros - 1.0).abs() < 0.01
    }

    #[test]
    fn a_pause_spoils_a_tenth_and_not_the_turn() {
        let mut micros = [Some(100); TENTHS];
        (micros[3], micros[4]) = (None, Some(9_000));
        let tenths = turn(micros);
        assert!(is_about(tenths.p99(), 100.0), "{}", tenths.p99());
        let sum = tenths.sum();
        assert_eq!(sum.len(), 9_000);
        assert!(is_about(sum.value_at_quantile(0.99) as f64, 9_000.0));
    }

    #[test]
    fn a_server_that_is_silent_most_of_the_time_does_not_look_fast() {
        let silent = turn(std::array::from_fn(|at| (at % 3 == 0).then_some(100)));
        assert!(is_about(silent.p99(), 10_000.0), "{}", silent.p99());
    }

    #[test]
    fn a_long_wait_for_the_next_look_ends_all_tenths_that_are_over() {
        let (mut tenths, mut latency, start) = (Tenths::of(TIME), latencies(), Instant::now());
        latency.record(5_000).unwrap();
        assert!(tenths.go_on(start, start + TIME / 2, &mut latency));
        assert_eq!(tenths.full, 5);
        assert!(!tenths.go_on(start, start + TIME, &mut latency));
        assert_eq!(tenths.sum().len(), 1);
    }
}
