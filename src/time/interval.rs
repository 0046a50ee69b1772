//! Ticks at a fixed period.
//!
//! Owns [`Interval`] and what it does about ticks that were missed. It keeps one timer and no thread: ticks
//! happen only while somebody asks for them.
#![forbid(unsafe_code)]

use super::sleep::{Sleep, sleep_until};
use super::{Duration, Instant};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A tick this late counts as missed. Less is the timer's resolution and the core's other work, and must
/// not make every tick of a busy core a missed one.
const LATENESS_MAX: Duration = Duration::from_millis(5);

/// Ticks now and then every `period`.
///
/// What happens when ticks are asked for late is said by [`MissedTickBehavior`].
///
/// ```
/// use ringwork::time::{interval, Duration, Instant};
///
/// #[ringwork::main]
/// async fn main() {
///     let start = Instant::now();
///     let mut ticks = interval(Duration::from_millis(5));
///     for _ in 0..3 {
///         ticks.tick().await; // the first at once
///     }
///     assert!(start.elapsed() >= Duration::from_millis(10));
/// }
/// ```
///
/// # Panics
/// If `period` is zero.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start` and then every `period`. See [`interval`].
///
/// ```
/// use ringwork::time::{interval_at, Duration, Instant};
///
/// #[ringwork::main]
/// async fn main() {
///     let start = Instant::now() + Duration::from_millis(5);
///     let mut ticks = interval_at(start, Duration::from_millis(5));
///     assert_eq!(ticks.tick().await, start);
/// }
/// ```
///
/// # Panics
/// If `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period that is not zero");
    Interval { sleep: sleep_until(start), period, missed: MissedTickBehavior::default() }
}

/// When the next tick is due after one that came late (by more than five milliseconds).
///
/// With a period of 20 ms and a tick that is asked for 50 ms late:
///
/// ```text
/// on time   |    1    |    2    |    3    |    4    |    5    |    6    |
/// Burst     |    1    |  late ········· 2 3 4  5    |    6    |             catches up
/// Delay     |    1    |  late ········· 2         |    3    |    4         counts from the late tick
/// Skip      |    1    |  late ········· 2    |    3    |    4    |         keeps to the grid
/// ```
///
/// ```
/// use ringwork::time::{interval, Duration, MissedTickBehavior};
///
/// let mut ticks = interval(Duration::from_millis(20));
/// ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
/// assert_eq!(ticks.missed_tick_behavior(), MissedTickBehavior::Skip);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// All missed ticks follow at once, until the interval has caught up: there are as many ticks as periods.
    #[default]
    Burst,
    /// The next tick is due one period after the late one was taken: ticks are closer than the period by no
    /// more than the five milliseconds that do not count as late.
    Delay,
    /// Missed ticks are left out: the next one is due at the next multiple of the period since the start.
    Skip,
}

impl MissedTickBehavior {
    /// When the tick after the one that was due at `due` and taken at `now` is due.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let late = now.saturating_duration_since(due);
        if late <= LATENESS_MAX {
            return due.saturating_add(period);
        }
        match self {
            Self::Burst => due.saturating_add(period),
            Self::Delay => now.saturating_add(period),
            Self::Skip => {
                let into_the_period = late.as_nanos() % period.as_nanos();
                // Less than the period, which is a `Duration`, and at least one nanosecond.
                let rest = period - nanoseconds(into_the_period);
                now.saturating_add(rest)
            }
        }
    }
}

/// The `Duration` of so many nanoseconds, all of which a `Duration` can hold.
fn nanoseconds(count: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let seconds = u64::try_from(count / SECOND).expect("part of a `Duration`");
    Duration::new(seconds, (count % SECOND) as u32)
}

/// Ticks at a fixed period; made by [`interval`] and [`interval_at`].
///
/// It is `Send`, `Sync` and `Unpin`, and can be dropped on any thread.
#[must_use = "an interval ticks only when it is asked to: see `tick`"]
#[derive(Debug)]
pub struct Interval {
    /// Its deadline is the next tick.
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick and returns when it was due.
    ///
    /// Dropping the future loses no tick: the next call waits for the same one.
    ///
    /// ```
    /// use ringwork::time::{interval_at, Duration, Instant};
    ///
    /// #[ringwork::main]
    /// async fn main() {
    ///     let (start, period) = (Instant::now(), Duration::from_millis(1));
    ///     let mut ticks = interval_at(start, period);
    ///     assert_eq!(ticks.tick().await, start);
    ///     assert_eq!(ticks.tick().await, start + period);
    /// }
    /// ```
    ///
    /// # Panics
    /// As [`Sleep`] when there is no runtime in reach.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// [`Interval::tick`] for those who poll by hand. The task is woken for the last poll's waker.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.sleep.deadline();
        let now = Instant::now();
        self.sleep.set_deadline_from(self.missed.next(due, now, self.period), now);
        Poll::Ready(due)
    }

    /// Puts the next tick one period from now.
    ///
    /// ```
    /// use ringwork::time::{interval, Duration, Instant};
    ///
    /// #[ringwork::main]
    /// async fn main() {
    ///     let mut ticks = interval(Duration::from_millis(2));
    ///     ticks.tick().await;
    ///     let reset = Instant::now();
    ///     ticks.reset();
    ///     assert!(ticks.tick().await >= reset + Duration::from_millis(2));
    /// }
    /// ```
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Puts the next tick now; the one after it follows one period later.
    pub fn reset_immediately(&mut self) {
        self.reset_at(Instant::now());
    }

    /// Puts the next tick `after` from now; the one after it follows one period later.
    pub fn reset_after(&mut self, after: Duration) {
        self.reset_at(Instant::now().saturating_add(after));
    }

    /// Puts the next tick at `deadline`; the one after it follows one period later.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.sleep.set_deadline(deadline);
    }

    /// The time from tick to tick.
    ///
    /// ```
    /// use ringwork::time::{interval, Duration};
    ///
    /// assert_eq!(interval(Duration::from_secs(1)).period(), Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What is done about missed ticks.
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what is done about missed ticks, from the next late tick on.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(20);

    fn next_after(behavior: MissedTickBehavior, late: Duration) -> Duration {
        let due = Instant::now();
        behavior.next(due, due + late, PERIOD) - due
    }

    #[test]
    fn a_tick_that_is_hardly_late_changes_nothing() {
        for behavior in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            assert_eq!(next_after(behavior, Duration::ZERO), PERIOD);
            assert_eq!(next_after(behavior, LATENESS_MAX), PERIOD);
        }
    }

    #[test]
    fn burst_catches_up_delay_counts_anew_and_skip_keeps_to_the_grid() {
        let late = Duration::from_millis(50);
        assert_eq!(next_after(MissedTickBehavior::Burst, late), PERIOD);
        assert_eq!(next_after(MissedTickBehavior::Delay, late), late + PERIOD);
        assert_eq!(next_after(MissedTickBehavior::Skip, late), 3 * PERIOD);
        assert_eq!(next_after(MissedTickBehavior::Skip, 3 * PERIOD), 4 * PERIOD);
    }

    #[test]
    fn a_period_too_long_for_the_clock_is_as_good_as_never() {
        let due = Instant::now();
        for behavior in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            let next = behavior.next(due, due + 2 * LATENESS_MAX, Duration::MAX);
            assert!(next - due > Duration::from_secs(365 * 24 * 3600));
        }
    }

    #[test]
    #[should_panic(expected = "a period that is not zero")]
    fn a_period_of_zero_is_refused() {
        let _interval = interval(Duration::ZERO);
    }
}
