//! What a make-service is shown of a connection.
#![forbid(unsafe_code)]

use crate::net::TcpStream;
use std::net::SocketAddr;

/// A connection for which a service is to be made: the argument of a make-service.
///
/// `Io` is what the handshake made of the stream ([`Serve::handshake`](super::Serve::handshake)): with TLS,
/// the certificate of the client can be read from it.
///
/// ```
/// use ringwork::compat::tower::IncomingStream;
///
/// fn who(incoming: &IncomingStream<'_>) -> String {
///     incoming.remote_addr().to_string()
/// }
/// ```
#[derive(Debug)]
pub struct IncomingStream<'a, Io = TcpStream> {
    io: &'a Io,
    remote_addr: SocketAddr,
}

impl<'a, Io> IncomingStream<'a, Io> {
    pub(super) fn new(io: &'a Io, remote_addr: SocketAddr) -> Self {
        Self { io, remote_addr }
    }

    /// The connection. HTTP has not begun on it.
    #[must_use]
    pub fn io(&self) -> &'a Io {
        self.io
    }

    /// The client's address.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote_addr
    }
}
