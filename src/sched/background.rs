//! The background share: how much of a core's time its background tasks get while others wait.
//!
//! Owns one decision, and is pure: `now` is an argument. A background task runs whenever nothing else wants
//! to, one poll a turn, so that what the kernel has comes between any two of its polls. While other tasks
//! wait, the time it has taken is paid back: after a poll of length `d` the next is due [`SHARE`]` - 1` times
//! `d` later. Background tasks together thus get one part in [`SHARE`], however long their polls are. To `d`
//! belongs what it takes to hand over the ops that the poll has begun, for a good part of which the kernel
//! does the work there and then; what completes later is nobody's.
//!
//! However short a poll was, or however long what the core did after it, another task is polled before the
//! next one, if any waits.
//!
//! Under a clock that stands polls count and not time, so that two runs are the same: one poll in [`SHARE`]
//! is a background task's.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// One part of the core's time in so many goes to background tasks while others wait.
pub(crate) const SHARE: u32 = 16;

/// When a core owes its background tasks a poll.
#[derive(Debug, Default)]
pub(super) struct Share {
    due: Option<Instant>,
    /// Polls of other tasks that the core had made by the last one of a background task.
    others: u64,
}

impl Share {
    /// Whether a background task is to be polled although others wait, which have had `others` polls so far.
    pub(super) fn is_due(&self, others: u64, now: Instant) -> bool {
        others != self.others && self.due.is_none_or(|due| now >= due)
    }

    /// The same under a clock that stands.
    pub(super) fn is_due_by_count(&self, others: u64) -> bool {
        others - self.others >= u64::from(SHARE - 1)
    }

    /// A background task was polled for this long, until `now`.
    pub(super) fn took(&mut self, time: Duration, others: u64, now: Instant) {
        self.due = now.checked_add(time.saturating_mul(SHARE - 1));
        self.others = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In 10 s, the part of background polls of length `poll` beside others of length `other`, and whether
    /// one ever followed upon another.
    fn part_of(poll: Duration, other: Duration) -> (f64, bool) {
        let (mut share, start) = (Share::default(), Instant::now());
        let (mut now, mut spent, mut others) = (start, Duration::ZERO, 0);
        let (mut was_last, mut in_a_row) = (false, false);
        while !in_a_row && now - start < Duration::from_secs(10) {
            let is_due = share.is_due(others, now);
            in_a_row |= is_due && was_last;
            was_last = is_due;
            if is_due {
                now += poll;
                spent += poll;
                share.took(poll, others, now);
            } else {
                now += other;
                others += 1;
            }
        }
        (spent.as_secs_f64() / (now - start).as_secs_f64(), in_a_row)
    }

    #[test]
    fn long_polls_get_no_more_than_short_ones() {
        for millis in [1, 7] {
            let (part, _) = part_of(Duration::from_millis(millis), Duration::from_micros(100));
            let part = 1.0 / part;
            assert!((f64::from(SHARE) - 1.0..f64::from(SHARE) + 2.0).contains(&part), "1 part in {part}");
        }
    }

    #[test]
    fn between_two_polls_another_task_has_one_however_little_is_owed() {
        for micros in [0, 1, 60] {
            let (part, in_a_row) = part_of(Duration::from_micros(micros), Duration::from_millis(1));
            assert!(!in_a_row && part < 1.0 / f64::from(SHARE), "{micros} µs: {part}");
        }
    }

    #[test]
    fn by_count_one_poll_in_so_many_is_due_however_long_it_took() {
        let (mut share, now, mut others) = (Share::default(), Instant::now(), 0);
        let polls = (0..1_600).filter(|_| {
            let is_due = share.is_due_by_count(others);
            match is_due {
                true => share.took(Duration::from_secs(1), others, now),
                false => others += 1,
            }
            is_due
        });
        assert_eq!(polls.count(), 100);
    }
}
