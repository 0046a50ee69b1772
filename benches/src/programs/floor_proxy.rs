//! The floor of the proxy workload: one raw ring, multishot receives on both sides, the received buffer
//! is the one sent on. `relay.rs` holds the loop.

use std::io;
use std::net::SocketAddr;

use super::{listen, relay};

/// Passes connections on to `upstream` until killed.
pub(crate) fn run(address: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    relay::run(listen(address)?, Some(upstream))
}
