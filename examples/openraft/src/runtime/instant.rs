//! ringwork's instant under openraft's trait.
//!
//! A type of its own only because neither the trait nor the type is of this package. Not `std`'s instant,
//! which openraft knows already: where a test has stopped ringwork's clock, Raft must go by that.
#![forbid(unsafe_code)]

use ringwork::time::{Duration, Instant};
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// A point in time of ringwork's clock.
///
/// ```
/// use openraft::Instant as _;
/// use ringwork_openraft::runtime::RingworkInstant;
/// use std::time::Duration;
///
/// let now = RingworkInstant::now();
/// assert_eq!((now + Duration::from_secs(1)) - now, Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingworkInstant(Instant);

impl From<RingworkInstant> for Instant {
    fn from(instant: RingworkInstant) -> Self {
        instant.0
    }
}

impl openraft::Instant for RingworkInstant {
    fn now() -> Self {
        Self(Instant::now())
    }
}

impl Add<Duration> for RingworkInstant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl AddAssign<Duration> for RingworkInstant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for RingworkInstant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0 - duration)
    }
}

impl SubAssign<Duration> for RingworkInstant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

impl Sub for RingworkInstant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0 - earlier.0
    }
}
