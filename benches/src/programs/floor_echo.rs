//! The floor of the echo workloads: one raw ring, multishot accept and receive, the received buffer is
//! the one sent. It is as fast as this suite knows how to be with plain descriptors; `relay.rs` holds the
//! loop.

use std::io;
use std::net::SocketAddr;

use super::{listen, relay};

/// Echoes until killed.
pub(crate) fn run(address: SocketAddr) -> io::Result<()> {
    relay::run(listen(address)?, None)
}
