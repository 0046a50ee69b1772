//! Protocols whose servers only answer, each written once and served by both raw loops: the floor's
//! (`ring.rs`) and the epoll loop (`epoll.rs`). One core, for all of them. The floors whose answers are
//! the same bytes for everybody, or files, copy none and have loops of their own (`http/floor.rs`,
//! `files/floor.rs`).

mod epoll;
mod ring;

use std::io;
use std::net::TcpStream;

use super::http::listener;
use super::net::on_a_thread;
use crate::plan::Plan;

/// Bytes of the buffer into which a connection is read.
const BUFFER: usize = 4096;

/// What is spoken with a client.
pub(super) trait Protocol: Send + 'static {
    /// What is kept of one.
    type State;

    /// A client has come, over a socket that blocks for as long as this takes.
    ///
    /// # Errors
    /// It is not served. It has been told, or learns it by the end.
    fn begin(&mut self, socket: &mut TcpStream) -> io::Result<Self::State>;

    /// Takes in what has come and appends what is to be sent to `out`.
    ///
    /// # Errors
    /// The connection is to end.
    fn take(&mut self, state: &mut Self::State, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()>;
}

/// Serves from a raw ring until killed.
pub(super) fn from_ring(plan: &Plan, protocol: impl Protocol) -> io::Result<()> {
    let listener = listener(plan)?;
    on_a_thread(move || ring::serve(listener, protocol))
}

/// Serves from the epoll loop until killed.
pub(super) fn from_epoll(plan: &Plan, protocol: impl Protocol) -> io::Result<()> {
    let listener = listener(plan)?;
    on_a_thread(move || epoll::serve(&listener, protocol))
}
