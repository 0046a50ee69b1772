//! A value with cache lines of its own.
//!
//! Owns [`Apart`]. If one of two values in a line is written, a CPU that reads the other has to fetch the
//! line from the one that wrote (*false sharing*). So what is written all the time, by one thread or by
//! several, is kept away from what others read or write. It is no lock and orders nothing.
#![forbid(unsafe_code)]

use std::ops::Deref;

/// Keeps a value out of its neighbours' lines. Two lines, because the prefetchers of current CPUs fetch lines
/// in pairs.
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
