//! Timers kept for use without an allocation.
//!
//! Owns [`Spare`], one per core: as many as were in use at once, because a burst is seldom the last one (a
//! timer that is set and dropped costs a third less with its memory at hand). What has not been needed for a
//! second goes, a part at each turn, down to a number that is always kept; so a core that was busy once does
//! not hold its memory for ever, also if it sleeps from then on ([`Spare::look_in`]). The wheel's memory is
//! not here, but the driver gives it back by the same measure.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// Always kept: enough for a core's worth of requests that are served at once, and not 40 KiB.
const KEPT: usize = 256;
/// How long a timer is kept that nobody needs.
pub(super) const UNNEEDED: Duration = Duration::from_secs(1);
/// Timers freed in one turn: some 50 µs.
const FREED: usize = 1024;

/// Timers that nobody refers to; what a timer is, is its user's business.
#[derive(Debug)]
pub(super) struct Spare<T> {
    timers: Vec<T>,
    /// The fewest there were since the last look: nobody has needed them.
    fewest: usize,
    look_at: Instant,
}

impl<T> Spare<T> {
    /// None.
    pub(super) fn new(now: Instant) -> Self {
        Self { timers: Vec::new(), fewest: 0, look_at: now }
    }

    /// One of them, the one kept last: it is the likeliest to be in the cache.
    #[inline]
    pub(super) fn take(&mut self) -> Option<T> {
        let timer = self.timers.pop();
        self.fewest = self.fewest.min(self.timers.len());
        timer
    }

    /// Keeps one.
    #[inline]
    pub(super) fn keep(&mut self, timer: T) {
        self.timers.push(timer);
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.timers.iter()
    }

    /// A turn begins: frees what has not been needed.
    #[inline]
    pub(super) fn turns(&mut self, now: Instant) {
        if self.has_surplus() && now >= self.look_at {
            self.free(now);
        }
    }

    fn free(&mut self, now: Instant) {
        let unneeded = self.fewest.saturating_sub(KEPT);
        let freed = unneeded.min(FREED);
        let left = self.timers.len() - freed;
        self.timers.truncate(left);
        self.fewest -= freed;
        if freed == unneeded {
            self.timers.shrink_to(4 * left.max(KEPT));
            self.fewest = left;
            self.look_at = now + UNNEEDED;
        }
    }

    /// Whether there are more than are always kept.
    #[inline]
    pub(super) fn has_surplus(&self) -> bool {
        self.timers.len() > KEPT
    }

    /// How long the core may sleep before it has to look here again.
    pub(super) fn look_in(&self, now: Instant) -> Option<Duration> {
        self.has_surplus().then(|| self.look_at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(timers: usize, now: Instant) -> Spare<usize> {
        let mut spare = Spare::new(now);
        (0..timers).for_each(|timer| spare.keep(timer));
        spare
    }

    #[test]
    fn what_a_burst_used_is_there_for_the_next_one_and_goes_when_there_is_none() {
        let start = Instant::now();
        let mut spare = with(10_000, start);
        // The first look: they have been kept since, so none was there throughout.
        spare.turns(start);
        assert_eq!(spare.timers.len(), 10_000);
        // A burst that needs all but a thousand.
        let taken: Vec<_> = (0..9_000).map(|_| spare.take().unwrap()).collect();
        taken.into_iter().for_each(|timer| spare.keep(timer));
        assert_eq!(spare.look_in(start), Some(UNNEEDED));
        spare.turns(start + UNNEEDED);
        assert_eq!(spare.timers.len(), 10_000 - (1_000 - KEPT));
        // None.
        let mut now = start + 2 * UNNEEDED;
        for left in (0..10).map(|turn| 10_000 - (1_000 - KEPT) - turn * FREED) {
            spare.turns(now);
            assert_eq!(spare.timers.len(), left.saturating_sub(FREED).max(KEPT));
        }
        now += UNNEEDED;
        spare.turns(now);
        assert_eq!((spare.timers.len(), spare.look_in(now)), (KEPT, None));
        assert!(spare.timers.capacity() <= 4 * KEPT);
    }

    #[test]
    fn while_it_frees_the_core_does_not_sleep() {
        let start = Instant::now();
        let mut spare = with(10_000, start);
        spare.turns(start);
        let later = start + UNNEEDED;
        assert_eq!(spare.look_in(later), Some(Duration::ZERO));
        spare.turns(later);
        assert_eq!(spare.look_in(later), Some(Duration::ZERO), "there are more");
    }

    #[test]
    fn few_are_kept_for_ever() {
        let start = Instant::now();
        let mut spare = with(KEPT, start);
        spare.turns(start + 10 * UNNEEDED);
        assert_eq!((spare.timers.len(), spare.look_in(start)), (KEPT, None));
    }
}
