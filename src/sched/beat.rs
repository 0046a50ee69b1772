//! How often the clock is read during a turn: seldom while polls are short, after each one while they are
//! long.
//!
//! Owns one decision, and is pure: times are arguments, counted since the turn began. A read costs some
//! 25 ns, which a task of 20 ns must not pay each time. The price is a bound: when polls suddenly become
//! long, up to [`MOST`] of them pass before that is seen; from then on the quantum is overrun by one poll at
//! most. Whoever must not depend on how long polls are may have a read after each: under a clock that
//! stands, which is noticed with a read.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Polls between two reads, at most.
const MOST: usize = 16;
/// Polls of this length are timed one by one.
const LONG: Duration = Duration::from_micros(10);

/// The reads of one turn.
#[derive(Debug)]
pub(super) struct Beat {
    last: Duration,
    polls: usize,
    gap: usize,
}

impl Beat {
    /// A turn begins. The first poll is timed, then the gaps grow.
    pub(super) fn new() -> Self {
        Self { last: Duration::ZERO, polls: 0, gap: 1 }
    }

    /// A poll has ended. True if the clock is to be read, and told to [`read`](Self::read).
    #[inline]
    pub(super) fn polled(&mut self) -> bool {
        self.polls += 1;
        self.polls >= self.gap
    }

    /// So much of the turn has passed. How long the last poll took, if it was timed alone; with what the loop
    /// did since the last read: the inbox before the first poll, a flush, a doorbell. `each`: the next poll
    /// is to be followed by a read, however short this one was.
    pub(super) fn read(&mut self, passed: Duration, each: bool) -> Option<Duration> {
        let time = passed.saturating_sub(self.last);
        let timed = (self.polls == 1).then_some(time);
        let were_long = time >= LONG * self.polls as u32;
        self.gap = if were_long || each { 1 } else { (self.gap * 2).min(MOST) };
        (self.last, self.polls) = (passed, 0);
        timed
    }

    /// Whether the last read was made after the last poll, or no poll has been made.
    #[inline]
    pub(super) fn has_just_read(&self) -> bool {
        self.polls == 0
    }

    /// Between a read and the next poll something else was done: it belongs to no poll. So much of the turn
    /// has passed now.
    pub(super) fn skip(&mut self, passed: Duration) {
        debug_assert_eq!(self.polls, 0, "broken invariant: polls that nobody has timed are forgotten");
        self.last = passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which polls of this length the clock is read.
    fn reads(beat: &mut Beat, each: Duration, count: usize) -> Vec<usize> {
        let mut passed = beat.last;
        let mut read = Vec::new();
        for poll in 1..=count {
            passed += each;
            if beat.polled() {
                beat.read(passed, false);
                read.push(poll);
            }
        }
        read
    }

    #[test]
    fn what_is_done_between_two_polls_is_part_of_neither() {
        let mut beat = Beat::new();
        assert!(beat.polled());
        assert_eq!(beat.read(Duration::from_micros(3), false), Some(Duration::from_micros(3)));
        assert!(beat.has_just_read());
        beat.skip(Duration::from_millis(1));
        assert!(!beat.polled() && beat.polled());
        assert_eq!(beat.read(Duration::from_micros(1_030), false), None);
        // 15 µs each: long.
        assert!(beat.polled());
        assert_eq!(beat.read(Duration::from_micros(1_050), false), Some(Duration::from_micros(20)));
    }

    #[test]
    fn short_polls_are_timed_in_growing_gaps_and_long_ones_each() {
        let mut beat = Beat::new();
        assert_eq!(reads(&mut beat, Duration::from_nanos(50), 31), [1, 3, 7, 15, 31]);
        // Seen after one gap, then each is timed.
        assert_eq!(reads(&mut beat, Duration::from_micros(50), 19), [16, 17, 18, 19]);
        assert_eq!(reads(&mut beat, Duration::from_nanos(50), 7), [1, 3, 7]);
    }
}
