//! How long a stream has been in a state, in one small word: every stream has one.
//!
//! Owns [`Since`] and no timer: who asks has the answer, and nobody is told.
#![forbid(unsafe_code)]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A moment, in milliseconds. They come round after 49 days: who asks just then takes an old one for a new
/// one.
#[derive(Clone, Copy)]
pub(crate) struct Since(u32);

impl Since {
    /// This moment.
    pub(super) fn now() -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Self(START.elapsed().as_millis() as u32)
    }

    /// The time since then, to a millisecond.
    pub(super) fn elapsed(self) -> Duration {
        Self::between(self, Self::now())
    }

    fn between(earlier: Self, later: Self) -> Duration {
        Duration::from_millis(later.0.wrapping_sub(earlier.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_a_moment_goes_on_where_the_milliseconds_come_round() {
        let before = Since(u32::MAX - 4);
        assert_eq!(Since::between(before, Since(5)), Duration::from_millis(10));
        assert_eq!(Since::between(Since(5), Since(5)), Duration::ZERO);
        let now = Since::now();
        assert!(now.elapsed() < Duration::from_secs(3600), "it is now that is asked for");
    }
}
