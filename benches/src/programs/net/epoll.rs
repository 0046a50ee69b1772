//! The echo workload as a hand-written epoll loop: level triggered, one shared buffer, and a second one
//! for what a slow reader leaves behind. It shows what an epoll runtime could reach at best.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use nix::sys::epoll::EpollFlags;

use super::ready::{self, Server, Turn, Watch};
use super::{Job, PerCore, Seat};

/// An epoll loop per core.
pub(crate) struct EpollLoop;

impl PerCore for EpollLoop {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        let Job::Echo { buffer } = job else {
            return Err(io::Error::other("the hand-written epoll loop is an echo and nothing else"));
        };
        ready::run(seat, &mut Echo { buffer: vec![0; buffer] })
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
