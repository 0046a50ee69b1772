//! A point in time of the monotonic clock.
//!
//! Owns the one type that the public side of this room takes and gives. It is a `std::time::Instant` and
//! nothing more; it is a type of its own because the present may be another than the system's (`clock.rs`).
#![forbid(unsafe_code)]

use super::clock;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

/// A deadline that is no deadline: thirty years, which every clock can still represent. A timer is set for no
/// longer: where a clock that stands jumps there, it does so in some fifteen turns of its core.
pub(crate) const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// A point in time of the monotonic clock, for deadlines and for measuring.
///
/// The same as [`std::time::Instant`], and converts from and to it at no cost. Only the present may differ:
/// where a test has stopped the clock ([`pause`](super::pause)), it is what that clock says.
///
/// ```
/// use ringwork::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let deadline = start + Duration::from_millis(5);
/// assert_eq!(deadline - start, Duration::from_millis(5));
/// assert_eq!(start - deadline, Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    std: std::time::Instant,
}

impl Instant {
    /// The present, by the clock of the runtime this thread is in.
    ///
    /// ```
    /// use ringwork::time::Instant;
    ///
    /// assert!(Instant::now() <= Instant::now());
    /// ```
    #[must_use]
    pub fn now() -> Self {
        Self::from_std(clock::now())
    }

    /// The same point in time as `std`.
    ///
    /// ```
    /// let std = std::time::Instant::now();
    /// assert_eq!(ringwork::time::Instant::from_std(std).into_std(), std);
    /// ```
    #[must_use]
    pub fn from_std(std: std::time::Instant) -> Self {
        Self { std }
    }

    /// The same point in time as the standard library has it.
    #[must_use]
    pub fn into_std(self) -> std::time::Instant {
        self.std
    }

    /// How long `earlier` was before this; zero if it was not.
    ///
    /// ```
    /// use ringwork::time::{Duration, Instant};
    ///
    /// let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
    /// assert!(later.duration_since(now) >= Duration::from_secs(1));
    /// assert_eq!(now.duration_since(later), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn duration_since(&self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }

    /// How long `earlier` was before this; `None` if it was after it.
    #[must_use]
    pub fn checked_duration_since(&self, earlier: Self) -> Option<Duration> {
        self.std.checked_duration_since(earlier.std)
    }

    /// How long `earlier` was before this; zero if it was not.
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.std.saturating_duration_since(earlier.std)
    }

    /// How long ago this was; zero if it is still to come.
    ///
    /// ```
    /// use ringwork::time::{Duration, Instant};
    ///
    /// assert_eq!((Instant::now() + Duration::from_secs(60)).elapsed(), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    /// The point in time `duration` later, if the clock can represent it.
    ///
    /// ```
    /// use ringwork::time::{Duration, Instant};
    ///
    /// assert_eq!(Instant::now().checked_add(Duration::MAX), None);
    /// ```
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.std.checked_add(duration).map(Self::from_std)
    }

    /// The point in time `duration` earlier, if the clock can represent it.
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Self> {
        self.std.checked_sub(duration).map(Self::from_std)
    }

    /// The point in time `duration` later; if the clock cannot represent it, one that is as good as never.
    pub(super) fn saturating_add(self, duration: Duration) -> Self {
        self.checked_add(duration).unwrap_or_else(Self::far_future)
    }

    #[cold]
    fn far_future() -> Self {
        let (now, mut ahead) = (Self::now(), FAR_FUTURE);
        // A clock of tests may have been advanced to within that of its end.
        loop {
            if let Some(far) = now.checked_add(ahead) {
                return far;
            }
            ahead /= 2;
        }
    }
}

impl From<std::time::Instant> for Instant {
    fn from(std: std::time::Instant) -> Self {
        Self::from_std(std)
    }
}

impl From<Instant> for std::time::Instant {
    fn from(instant: Instant) -> Self {
        instant.into_std()
    }
}

/// # Panics
/// If the clock cannot represent the sum; see [`Instant::checked_add`].
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_std(self.std + duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Zero if the right side is the later one.
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// # Panics
/// If the clock cannot represent the difference; see [`Instant::checked_sub`].
impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self::from_std(self.std - duration)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std.fmt(f)
    }
}
