//! A protocol in the epoll loop: one buffer for all connections, read where it came in, and one send for all
//! answers to what came in together.

use std::io;
use std::net::{TcpListener, TcpStream};

use super::{BUFFER, Protocol};
use crate::programs::service::{self, Next, Service, Stream};

/// Serves what comes to `listener` until killed.
pub(super) fn serve(listener: &TcpListener, protocol: impl Protocol) -> io::Result<()> {
    service::serve(listener, Answering { protocol, buffer: vec![0; BUFFER], answers: Vec::new() })
}

struct Answering<P> {
    protocol: P,
    buffer: Vec<u8>,
    answers: Vec<u8>,
}

impl<P: Protocol> Service for Answering<P> {
    type State = P::State;

    fn begin(&mut self, socket: &mut TcpStream) -> io::Result<P::State> {
        socket.set_nonblocking(false)?;
        let state = self.protocol.begin(socket)?;
        socket.set_nonblocking(true)?;
        Ok(state)
    }

    fn serve(&mut self, stream: &mut Stream, state: &mut P::State) -> io::Result<Next> {
        let Some(piece) = stream.receive(&mut self.buffer)? else { return Ok(Next::Readable) };
        self.answers.clear();
        self.protocol.take(state, piece, &mut self.answers)?;
        if self.answers.is_empty() { Ok(Next::Readable) } else { stream.send(&self.answers) }
    }
}
