//! What goes wrong in TLS, as I/O errors.
#![forbid(unsafe_code)]

use rustls::Error;
use std::io;

/// A protocol error or an alert from the peer. The cause can be had back with
/// `error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>())`; its text names the alert.
pub(super) fn protocol(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The peer closed the connection and had not said that it would.
pub(super) fn truncated(when: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, when)
}

/// The send direction is closed, or a message was cut and no other can follow.
pub(super) fn not_sendable(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, why)
}
