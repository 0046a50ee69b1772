//! Where an op is on its way to the kernel and back.
//!
//! Owns the stations; a cell is at one of them (`cell.rs` says who moves it). It is not about who waits for
//! the result, nor about what the kernel makes of the op.
#![forbid(unsafe_code)]

/// Where an op is on its way. Home core only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flight {
    /// Not yet given to a ring; or just taken off the backlog, to be described.
    Fresh,
    /// Waits on the ring's backlog for room in the submission queue.
    Backlogged,
    /// Was cancelled while on the backlog: completes without having been submitted.
    Withdrawn,
    /// The kernel has it, or will at the next enter.
    Submitted,
    /// Its final CQE has been seen.
    Final,
}
