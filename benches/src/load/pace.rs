//! When a load generator sends, if it does not wait for answers: messages fall due at random, at a given
//! rate, whatever the server does. It promises that a message that found no idle connection is not forgotten,
//! and that its latency counts from when it should have left. Pure: time comes as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The shortest and the longest time between two ticks: not one time, lest it beat with a period of the
/// server's.
const TICK: (u64, u64) = (200_000, 600_000);

/// When messages leave that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rhythm {
    /// Each when it is due: for a generator that asks all the time, on a CPU of its own. Latency counts from
    /// the time it was due.
    Exact,
    /// In ticks, some hundred microseconds apart, for a generator that shares its CPU: a timer for each
    /// message would cost more than the message (on a virtual machine up to 20 µs). Latency counts from the
    /// tick.
    Ticks,
}

/// The messages of one generator.
pub(super) struct Pace {
    /// Nanoseconds between two messages, on average.
    gap: f64,
    rhythm: Rhythm,
    /// When the next message falls due; none once there are to be no more.
    next: Option<Instant>,
    connections: usize,
    idle: VecDeque<usize>,
    late: VecDeque<Instant>,
    random: u64,
}

impl Pace {
    /// `rate` messages a second from `now` on, over connections `0..connections`, all idle.
    pub(super) fn new(rate: f64, connections: usize, seed: u64, now: Instant, rhythm: Rhythm) -> Pace {
        Pace {
            gap: 1e9 / rate,
            rhythm,
            next: Some(now),
            connections,
            idle: (0..connections).collect(),
            late: VecDeque::new(),
            random: 0x2545_F491_4F6C_DD1D ^ seed << 32,
        }
    }

    /// The next connection over which a message leaves at `now`, and from when its latency counts; none once
    /// all that was due has left or waits for an answer.
    pub(super) fn due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        while let Some(due) = self.next.filter(|due| *due <= now) {
            let gap = -self.gap * self.unit().ln();
            self.next = Some(due + Duration::from_nanos(gap as u64));
            let since = if self.rhythm == Rhythm::Exact { due } else { now };
            match self.idle.pop_front() {
                Some(connection) => return Some((connection, since)),
                None => self.late.push_back(since),
            }
        }
        None
    }

    /// An answer has come over `connection`. If a message waits for one, it leaves there at once: from when
    /// its latency counts.
    pub(super) fn answered(&mut self, connection: usize) -> Option<Instant> {
        let late = self.late.pop_front();
        if late.is_none() {
            self.idle.push_back(connection);
        }
        late
    }

    /// No message falls due any more.
    pub(super) fn stop(&mut self) {
        self.next = None;
    }

    /// It was stopped, and all that was due has been answered.
    pub(super) fn is_done(&self) -> bool {
        self.next.is_none() && self.late.is_empty() && self.idle.len() == self.connections
    }

    /// Nothing is under way and nothing waits: silence is no sign of a dead server.
    pub(super) fn is_idle(&self) -> bool {
        self.late.is_empty() && self.idle.len() == self.connections
    }

    /// How long it is to the next tick.
    pub(super) fn pause(&mut self) -> Duration {
        let (shortest, longest) = TICK;
        Duration::from_nanos(shortest + ((longest - shortest) as f64 * self.unit()) as u64)
    }

    /// A number above 0 and up to 1.
    fn unit(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_whatever_the_ticks() {
        let begun = Instant::now();
        let mut pace = Pace::new(50_000.0, 8, 1, begun, Rhythm::Ticks);
        let (mut now, mut sent) = (begun, 0u32);
        while now < begun + Duration::from_secs(10) {
            while let Some((connection, _)) = pace.due(now) {
                sent += 1;
                assert_eq!(pace.answered(connection), None);
            }
            now += pace.pause();
        }
        assert!((490_000..510_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_message_without_a_connection_leaves_with_the_next_answer() {
        let begun = Instant::now();
        let mut pace = Pace::new(1000.0, 1, 1, begun, Rhythm::Ticks);
        let tick = begun + Duration::from_secs(1);
        assert_eq!(pace.due(tick).map(|(line, _)| line), Some(0));
        assert_eq!(pace.due(tick), None);
        assert_eq!(pace.answered(0), Some(tick));
    }

    #[test]
    fn a_message_that_leaves_late_counts_from_when_it_was_due() {
        let begun = Instant::now();
        let mut pace = Pace::new(1000.0, 2, 1, begun, Rhythm::Exact);
        let late = begun + Duration::from_secs(1);
        assert_eq!(pace.due(late), Some((0, begun)));
        let (_, second) = pace.due(late).expect("a thousand are due");
        assert!(begun < second && second < late);
        assert_eq!(pace.due(late), None, "both connections are taken");
        let third = pace.answered(0).expect("others wait");
        assert!(second < third && third < late);
    }

    #[test]
    fn a_stopped_pace_is_done_when_the_last_message_that_was_due_is_answered() {
        let begun = Instant::now();
        let mut pace = Pace::new(1000.0, 1, 1, begun, Rhythm::Ticks);
        let tick = begun + Duration::from_millis(20);
        assert_eq!(pace.due(tick).map(|(line, _)| line), Some(0));
        assert_eq!(pace.due(tick), None);
        pace.stop();
        assert_eq!(pace.due(tick + Duration::from_secs(1)), None);
        let mut answers = 0;
        while !pace.is_done() {
            pace.answered(0);
            answers += 1;
        }
        assert!(answers > 1, "one under way and those that were late");
    }
}
