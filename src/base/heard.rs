//! Whether a `tracing` subscriber may want to hear of tasks and ops.
//!
//! Owns the question that is asked before anything is made ready for an answer. Built with the feature
//! `tracing` only.
#![forbid(unsafe_code)]

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

/// Whether some subscriber takes events of level TRACE: one load of a word that hardly ever changes. Which
/// events it takes is a second question.
#[inline]
pub(crate) fn is_heard() -> bool {
    STATIC_MAX_LEVEL == LevelFilter::TRACE && LevelFilter::current() == LevelFilter::TRACE
}
