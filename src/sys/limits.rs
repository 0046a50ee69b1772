//! What the process may have: descriptors, locked memory.
#![forbid(unsafe_code)]

use nix::sys::resource::{Resource, getrlimit};

/// The soft limit of open descriptors.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// The soft limit of locked memory in bytes.
pub(crate) fn locked_memory() -> u64 {
    getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft)
}
