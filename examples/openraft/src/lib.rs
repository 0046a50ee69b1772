//! openraft on ringwork: the adapter, and what the replicated key-value store `raft_kv` is made of.
//!
//! Owns five parts, each usable without those after it: [`runtime`] is all that openraft asks of an async
//! runtime; [`log`] is a Raft log in a file, acknowledged when it is on the device; [`state`] is the map that
//! the log builds, with its snapshots; [`net`] is how nodes and clients speak; [`Node`] puts them together.
//!
//! It is not a database: the whole map and the log since the last snapshot are held in memory, and whoever
//! reaches a node's address may read and write.
#![forbid(unsafe_code)]

mod files;
mod kv;
mod leadership;
pub mod log;
pub mod net;
mod node;
pub mod runtime;
pub mod state;

pub use kv::{MAX_COMMAND, Put, TypeConfig};
pub use leadership::{LeaderChanges, Leadership};
pub use node::{Node, NodeOptions, Raft};
