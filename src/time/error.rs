//! What can go wrong with time: a deadline passes.
//!
//! Owns the error of [`timeout`](super::timeout). A runtime that is missing or gone is misuse, and panics
//! instead.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;

/// The deadline of a [`timeout`](super::timeout) passed before its future was ready.
///
/// ```
/// use ringwork::time::{timeout, Duration};
///
/// #[ringwork::main]
/// async fn main() {
///     let late = timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
///     let error: std::io::Error = late.unwrap_err().into();
///     assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed {}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed before the future was ready")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}
