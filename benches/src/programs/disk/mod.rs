//! Programs that read a file: random blocks from the page cache, a fixed number in flight.

pub(super) mod floor;
pub(super) mod pread;
#[cfg(feature = "ringwork")]
pub(super) mod ringwork;
pub(super) mod tokio;
