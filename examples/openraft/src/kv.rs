//! What this store replicates, in openraft's terms.
#![forbid(unsafe_code)]

use crate::runtime::RingworkRuntime;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest command in bytes of JSON. Several hundred travel in one request between nodes, which must fit
/// into a frame.
pub const MAX_COMMAND: usize = 64 * 1024;
/// The most entries of one request between nodes.
pub(crate) const MAX_ENTRIES: u64 = 300;

openraft::declare_raft_types!(
    /// openraft's types for this store: one command, which answers nothing, on ringwork.
    pub TypeConfig: D = Put, R = (), AsyncRuntime = RingworkRuntime
);

/// The one command: this key has this value from now on.
///
/// Carrying it out twice in a row changes nothing, so whoever does not know whether it was carried out may
/// repeat it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Any text.
    pub key: String,
    /// Any text.
    pub value: String,
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} bytes", self.key, self.value.len())
    }
}
