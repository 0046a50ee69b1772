//! The key-value server in both raw loops: the protocol, to which the map belongs.

use std::io;
use std::net::TcpStream;

use super::store::{Map, Unread};
use crate::plan::Plan;
use crate::programs::answers::{self, Protocol};

/// On a raw ring.
pub(crate) fn ring(plan: &Plan) -> io::Result<()> {
    answers::from_ring(plan, Store::default())
}

/// In an epoll loop.
pub(crate) fn epoll(plan: &Plan) -> io::Result<()> {
    answers::from_epoll(plan, Store::default())
}

#[derive(Default)]
struct Store(Map);

impl Protocol for Store {
    type State = Unread;

    fn begin(&mut self, _: &mut TcpStream) -> io::Result<Unread> {
        Ok(Unread::default())
    }

    fn take(&mut self, unread: &mut Unread, piece: &[u8], replies: &mut Vec<u8>) -> io::Result<()> {
        unread.take(piece, &mut self.0, replies)
    }
}
