//! Echo and source as hand-written epoll loops, which show what an epoll runtime could reach at best. The
//! echo is level triggered, with one shared buffer and a second one for what a slow reader leaves behind.
//! The source is edge triggered: it sends until a socket takes no more. The proxy is in `pair.rs`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use nix::sys::epoll::EpollFlags;

use super::pair::{Copying, Proxy};
use super::ready::{self, Server, Turn, Watch};
use super::{Job, PerCore, Seat, pattern};

/// An epoll loop per core.
pub(crate) struct EpollLoop;

impl PerCore for EpollLoop {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        match job {
            Job::Echo { buffer } => ready::run(seat, &mut Echo { buffer: vec![0; buffer] }),
            Job::Proxy { upstream, buffer } => {
                ready::run(seat, &mut Proxy::<Copying>::new(upstream, vec![0; buffer]))
            }
            Job::Source => ready::run(seat, &mut Source { pattern: pattern() }),
        }
    }
}

struct Echo {
    buffer: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    unsent: Vec<u8>,
}

impl Server for Echo {
    type Connection = Connection;

    fn begin(&mut self, socket: TcpStream, watch: Watch<'_>) -> io::Result<Connection> {
        watch.add(&socket, 0, EpollFlags::EPOLLIN)?;
        Ok(Connection { socket, unsent: Vec::new() })
    }

    /// Reads once and sends it back; the end of the stream ends the connection.
    fn turn(&mut self, c: &mut Connection, watch: Watch<'_>) -> io::Result<Turn> {
        if c.unsent.is_empty() {
            let n = match c.socket.read(&mut self.buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Turn::Waits),
                Ok(0) => return Ok(Turn::Ended),
                result => result?,
            };
            let sent = send(&mut c.socket, &self.buffer[..n])?;
            if sent < n {
                c.unsent.extend_from_slice(&self.buffer[sent..n]);
                watch.change(&c.socket, 0, EpollFlags::EPOLLOUT)?;
            }
        } else {
            let sent = send(&mut c.socket, &c.unsent)?;
            c.unsent.drain(..sent);
            if c.unsent.is_empty() {
                watch.change(&c.socket, 0, EpollFlags::EPOLLIN)?;
            }
        }
        Ok(Turn::Waits)
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

struct Source {
    pattern: Vec<u8>,
}

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
            let rest = &self.pattern[client.at..];
            let sent = send(&mut client.socket, rest)?;
            client.at = (client.at + sent) % self.pattern.len();
            // What is not taken whole has filled the socket.
            if sent < rest.len() {
                return Ok(Turn::Waits);
            }
        }
        Ok(Turn::Over)
    }
}
