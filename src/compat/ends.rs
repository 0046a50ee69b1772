//! Which stream a stream or a half of one receives from and sends on.
#![forbid(unsafe_code)]

use crate::net::{OwnedRecvHalf, OwnedSendHalf, RecvHalf, SendHalf, TcpStream};

/// What receives: a stream, or its receiving half.
pub(super) trait Receives {
    /// The stream it receives from.
    fn receives_from(&self) -> &TcpStream;
}

/// What sends: a stream, or its sending half.
pub(super) trait Sends {
    /// The stream it sends on.
    fn sends_on(&self) -> &TcpStream;
}

impl Receives for TcpStream {
    fn receives_from(&self) -> &TcpStream {
        self
    }
}

impl Sends for TcpStream {
    fn sends_on(&self) -> &TcpStream {
        self
    }
}

impl Receives for RecvHalf<'_> {
    fn receives_from(&self) -> &TcpStream {
        self.stream()
    }
}

impl Sends for SendHalf<'_> {
    fn sends_on(&self) -> &TcpStream {
        self.stream()
    }
}

impl Receives for OwnedRecvHalf {
    fn receives_from(&self) -> &TcpStream {
        self.stream()
    }
}

impl Sends for OwnedSendHalf {
    fn sends_on(&self) -> &TcpStream {
        self.stream()
    }
}
