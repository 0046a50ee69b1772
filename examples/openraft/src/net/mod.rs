//! How nodes and clients speak: frames of JSON over ringwork's streams.
//!
//! | file | what |
//! |---|---|
//! | `frame` | a message on a stream |
//! | `message` | what is said |
//! | `peer` | openraft's way to another node |
//! | `server` | a node's answers |
//! | `client` | who asks for values |
//!
//! A connection carries one request at a time. There is no authentication: the network must be trusted.
#![forbid(unsafe_code)]

mod client;
mod frame;
mod message;
mod peer;
mod server;

pub use client::{Client, initialize, status};
pub use message::Status;
pub(crate) use peer::Peers;
pub(crate) use server::Desk;
