//! Whose turn it is when both queues of a core have something: the local one or the one of `Send` tasks.
//!
//! Owns one decision, and is pure. Short polls alternate. Polls that are long enough to be timed one by one
//! (beat.rs) count by their time, so that tasks of 5 µs do not wait for one of 50 µs each time; but neither
//! queue gets more than [`IN_A_ROW`] polls while the other waits.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Polls that one queue may have in a row while the other waits.
pub(super) const IN_A_ROW: u8 = 8;
/// How far one queue may be ahead of the other before that decides.
const SLACK: i64 = 10_000;
/// No queue owes the other more than this, whatever one poll of it took.
const DEBT_MAX: i64 = 500_000;

/// A queue of tasks that are to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Local,
    Send,
}

/// What the queues have had of late.
#[derive(Debug)]
pub(super) struct Turns {
    last: Queue,
    in_a_row: u8,
    /// Nanoseconds by which the local queue is ahead.
    ahead: i64,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { last: Queue::Send, in_a_row: 0, ahead: 0 }
    }

    /// Only `queue` has something: nobody is owed anything.
    #[inline]
    pub(super) fn alone(&mut self, queue: Queue) -> Queue {
        *self = Self { last: queue, in_a_row: 1, ahead: 0 };
        queue
    }

    /// Both have something: which is next.
    pub(super) fn next(&mut self) -> Queue {
        let other = if self.last == Queue::Local { Queue::Send } else { Queue::Local };
        let next = match self.ahead {
            _ if self.in_a_row >= IN_A_ROW => other,
            ahead if ahead >= SLACK => Queue::Send,
            ahead if ahead <= -SLACK => Queue::Local,
            _ => other,
        };
        self.counts(next);
        next
    }

    /// `queue` is next, in its turn or out of it.
    pub(super) fn counts(&mut self, queue: Queue) {
        self.in_a_row = if queue == self.last { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = queue;
    }

    /// The last poll took this long.
    #[inline]
    pub(super) fn took(&mut self, time: Duration) {
        let time = i64::try_from(time.as_nanos()).unwrap_or(DEBT_MAX).min(DEBT_MAX);
        let ahead = if self.last == Queue::Local { self.ahead + time } else { self.ahead - time };
        self.ahead = ahead.clamp(-DEBT_MAX, DEBT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 1,000 polls are local, if those of each queue take this many microseconds.
    fn local_of(local: u64, send: u64) -> usize {
        let mut turns = Turns::new();
        let mut step = || {
            let next = turns.next();
            turns.took(Duration::from_micros(if next == Queue::Local { local } else { send }));
            next == Queue::Local
        };
        (0..1_000).filter(|_| step()).count()
    }

    #[test]
    fn polls_of_one_length_alternate() {
        assert_eq!(local_of(0, 0), 500);
        assert_eq!(local_of(50, 50), 500);
    }

    #[test]
    fn short_polls_get_as_much_time_as_long_ones() {
        assert!((820..=850).contains(&local_of(10, 50)), "{}", local_of(10, 50));
        assert!((150..=180).contains(&local_of(50, 10)), "{}", local_of(50, 10));
    }

    #[test]
    fn no_queue_waits_for_more_than_so_many_polls() {
        let share = 1_000 / (usize::from(IN_A_ROW) + 1);
        assert!(local_of(5_000, 1) >= share && 1_000 - local_of(1, 5_000) >= share);
        let mut turns = Turns::new();
        turns.next();
        turns.took(Duration::from_secs(1));
        let first = turns.last;
        let polls = (0..100).take_while(|_| turns.next() != first).count();
        assert_eq!(polls, usize::from(IN_A_ROW));
    }

    #[test]
    fn a_poll_out_of_turn_is_the_turn_of_its_queue_and_its_time_counts() {
        let mut turns = Turns::new();
        assert_eq!(turns.next(), Queue::Local);
        turns.counts(Queue::Send);
        assert_eq!(turns.next(), Queue::Local);
        turns.counts(Queue::Send);
        turns.took(Duration::from_micros(35));
        let mut after = std::iter::from_fn(|| {
            let next = turns.next();
            turns.took(Duration::from_micros(10));
            Some(next)
        });
        assert!(after.by_ref().take(3).all(|queue| queue == Queue::Local));
        assert_eq!(after.next(), Some(Queue::Send));
    }

    #[test]
    fn a_queue_that_was_alone_owes_nothing() {
        let mut turns = Turns::new();
        for _ in 0..10 {
            turns.alone(Queue::Local);
            turns.took(Duration::from_millis(1));
        }
        turns.alone(Queue::Local);
        assert_eq!((turns.next(), turns.next()), (Queue::Send, Queue::Local));
    }
}
