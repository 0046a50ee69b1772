//! The background share: how much of a core's time its background tasks get while others wait.
//!
//! Owns one decision, and is pure: `now` is an argument. A background task runs whenever nothing else wants
//! to, one poll a turn, so that what the kernel has comes between any two of its polls. While other tasks
//! wait, the time it has taken is paid back: after a poll of length `d` the next is due [`SHARE`]` - 1` times
//! `d` later. Background tasks together thus get one part in [`SHARE`], however long their polls are.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// One part of the core's time in so many goes to background tasks while others wait.
pub(crate) const SHARE: u32 = 16;

/// When a core owes its background tasks a poll.
#[derive(Debug, Default)]
pub(super) struct Share {
    due: Option<Instant>,
}

impl Share {
    /// Whether a background task is to be polled although others wait.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| now >= due)
    }

    /// A background task was polled for this long, until `now`.
    pub(super) fn took(&mut self, time: Duration, now: Instant) {
        self.due = now.checked_add(time.saturating_mul(SHARE - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_polls_get_no_more_than_short_ones() {
        for millis in [1, 7] {
            let (poll, step) = (Duration::from_millis(millis), Duration::from_micros(100));
            let (mut share, start) = (Share::default(), Instant::now());
            let (mut now, mut spent) = (start, Duration::ZERO);
            while now - start < Duration::from_secs(10) {
                if share.is_due(now) {
                    now += poll;
                    spent += poll;
                    share.took(poll, now);
                } else {
                    now += step;
                }
            }
            let part = (now - start).as_secs_f64() / spent.as_secs_f64();
            assert!((f64::from(SHARE) - 1.0..f64::from(SHARE) + 2.0).contains(&part), "1 part in {part}");
        }
    }
}
