//! When somebody was last called: a word that who calls writes and who waits reads.
//!
//! Owns [`Call`], by which a wait is judged (`base::spin`). It is no way to wake anybody, and what it is set
//! for comes by another way, which orders it: the word alone promises nothing about other memory.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time of the last call.
#[derive(Debug)]
pub(crate) struct Call {
    made: Instant,
    /// Nanoseconds since `made`, and one; 0 for no call.
    at: AtomicU64,
}

impl Call {
    /// Nobody has called.
    pub(crate) fn new() -> Self {
        Self { made: Instant::now(), at: AtomicU64::new(0) }
    }

    /// Who calls: now.
    pub(crate) fn set(&self) {
        let nanos = u64::try_from(self.made.elapsed().as_nanos()).unwrap_or(u64::MAX - 1);
        self.at.store(nanos + 1, Ordering::Relaxed);
    }

    /// Who waits: forgets the last call.
    pub(crate) fn clear(&self) {
        self.at.store(0, Ordering::Relaxed);
    }

    /// Whether somebody has called since the last [`clear`](Self::clear).
    pub(crate) fn is_set(&self) -> bool {
        self.at.load(Ordering::Relaxed) != 0
    }

    /// When that was.
    pub(crate) fn at(&self) -> Option<Instant> {
        let nanos = self.at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.made + Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_when_it_was_until_it_is_forgotten() {
        let call = Call::new();
        assert!(!call.is_set() && call.at().is_none());
        let before = Instant::now();
        call.set();
        let at = call.at().unwrap();
        assert!(call.is_set() && before <= at && at <= Instant::now());
        call.clear();
        assert!(!call.is_set() && call.at().is_none());
    }
}
