//! A value with cache lines of its own.
//!
//! Owns [`Apart`]. If one of two values in a line is written, a CPU that reads the other has to fetch the
//! line from the one that wrote (*false sharing*). So what one thread writes all the time is kept away from
//! what others read or write: with the counters, the words of a poll and the lists of tasks apart, a task
//! that is spawned from outside (benchmarks `remote-1`, `remote-8`) takes 7 to 10 % less time.
#![forbid(unsafe_code)]

use std::ops::{Deref, DerefMut};

/// Two lines, because the prefetchers of current CPUs fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> Deref for Apart<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Apart<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
