//! The key-value server in a hand-written epoll loop: one buffer for all connections, commands read where
//! they came in, and one send for all that came in together.

use std::io;

use super::BUFFER;
use super::store::{Map, Unread};
use crate::plan::Plan;
use crate::programs::http::listener;
use crate::programs::net::on_a_thread;
use crate::programs::service::{self, Next, Service, Stream};

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let listener = listener(plan)?;
    on_a_thread(move || {
        let store = Store { map: Map::default(), buffer: vec![0; BUFFER], replies: Vec::new() };
        service::serve(&listener, store)
    })
}

struct Store {
    map: Map,
    buffer: Vec<u8>,
    replies: Vec<u8>,
}

impl Service for Store {
    type State = Unread;

    fn serve(&mut self, stream: &mut Stream, unread: &mut Unread) -> io::Result<Next> {
        let Some(piece) = stream.receive(&mut self.buffer)? else { return Ok(Next::Readable) };
        self.replies.clear();
        unread.take(piece, &mut self.map, &mut self.replies)?;
        if self.replies.is_empty() { Ok(Next::Readable) } else { stream.send(&self.replies) }
    }
}
