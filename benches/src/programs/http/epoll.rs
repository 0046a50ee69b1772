//! The same as the floor in a hand-written epoll loop: one buffer, and an answer that is sent as soon as it
//! is asked for. What an epoll runtime could reach at best.

use std::io;
use std::net::TcpStream;

use super::{ends_request, ready_answer};
use crate::plan::Plan;
use crate::programs::net::on_each_core;
use crate::programs::service::{self, Next, Service, Stream};

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let answer = ready_answer(plan)?;
    on_each_core(plan, move |seat| {
        let listener = seat.listen_near()?;
        service::serve(&listener, Hello { answer: answer.clone(), buffer: vec![0; 4096] })
    })
}

struct Hello {
    answer: Vec<u8>,
    buffer: Vec<u8>,
}

impl Service for Hello {
    type State = ();

    fn begin(&mut self, _: &mut TcpStream) -> io::Result<()> {
        Ok(())
    }

    /// Reads once and answers a request.
    fn serve(&mut self, stream: &mut Stream, _: &mut ()) -> io::Result<Next> {
        match stream.receive(&mut self.buffer)? {
            Some(request) if ends_request(request) => stream.send(&self.answer),
            _ => Ok(Next::Readable),
        }
    }
}
