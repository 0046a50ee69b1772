//! Echo and source as hand-written epoll loops, which show what an epoll runtime could reach at best. The
//! echo is level triggered, with one buffer for all. The source is edge triggered: it sends until a socket
//! takes no more. The proxy is in `pair.rs`.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;

use nix::sys::epoll::EpollFlags;

use super::pair::{Copying, Proxy};
use super::ready::{self, Server, Turn, Watch};
use super::{Job, PerCore, Seat, pattern};
use crate::programs::service::{self, Next, Service, Stream};

/// An epoll loop per core.
pub(crate) struct EpollLoop;

impl PerCore for EpollLoop {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        let listener = seat.listen_near()?;
        match job {
            Job::Echo { buffer } => service::serve(&listener, Echo { buffer: vec![0; buffer] }),
            Job::Proxy { upstream, buffer } => {
                ready::run(&listener, &mut Proxy::<Copying>::new(upstream, vec![0; buffer]))
            }
            Job::Source => ready::run(&listener, &mut Source),
        }
    }
}

struct Echo {
    buffer: Vec<u8>,
}

impl Service for Echo {
    type State = ();

    fn begin(&mut self, _: &mut TcpStream) -> io::Result<()> {
        Ok(())
    }

    /// Reads once and sends it back.
    fn serve(&mut self, stream: &mut Stream, _: &mut ()) -> io::Result<Next> {
        match stream.receive(&mut self.buffer)? {
            Some(bytes) => stream.send(bytes),
            None => Ok(Next::Readable),
        }
    }
}

fn send(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Sends in one turn of a client, whose socket may never be full: then it is the others' turn.
const SENDS: usize = 16;

struct Source;

/// A client of the source, and where in the pattern it is.
struct Client {
    socket: TcpStream,
    at: usize,
}

impl Server for Source {
    type Connection = Client;

    fn begin(&mut self, socket: TcpStream, watch: Watch<'_>) -> io::Result<Client> {
        watch.add(&socket, 0, EpollFlags::EPOLLOUT | EpollFlags::EPOLLET)?;
        Ok(Client { socket, at: 0 })
    }

    fn turn(&mut self, client: &mut Client, _watch: Watch<'_>) -> io::Result<Turn> {
        for _ in 0..SENDS {
            let rest = &pattern()[client.at..];
            let sent = send(&mut client.socket, rest)?;
            client.at = (client.at + sent) % pattern().len();
            // What is not taken whole has filled the socket.
            if sent < rest.len() {
                return Ok(Turn::Waits);
            }
        }
        Ok(Turn::Over)
    }
}
