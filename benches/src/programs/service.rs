//! Servers that answer requests, over the epoll loop (`net/ready.rs`): level triggered, one call of the
//! service for each event. It owns what could not be sent at once: until that has gone the connection waits
//! for room, and nothing of it is read. What a connection says and hears is the service's.

use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::epoll::EpollFlags;
use socket2::SockRef;

use super::net::ready::{self, Server, Turn, Watch};

/// What is served over each connection.
pub(super) trait Service {
    /// What is kept of one.
    type State;

    /// A client has come, over a socket that does not block.
    ///
    /// # Errors
    /// It is not served.
    fn begin(&mut self, socket: &mut TcpStream) -> io::Result<Self::State>;

    /// Does what can be done now, and says what has to happen before there is more. It is called when
    /// something has come, and when there is room again after a send found none.
    ///
    /// # Errors
    /// If the connection has ended or is to end.
    fn serve(&mut self, stream: &mut Stream, state: &mut Self::State) -> io::Result<Next>;
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Something comes in.
    Readable,
    /// The socket has room.
    Writable,
}

impl Next {
    fn flags(self) -> EpollFlags {
        match self {
            Next::Readable => EpollFlags::EPOLLIN,
            Next::Writable => EpollFlags::EPOLLOUT,
        }
    }
}

/// A socket, and what it had no room for.
pub(super) struct Stream {
    socket: TcpStream,
    unsent: Vec<u8>,
}

impl Stream {
    /// Reads once; none if there is nothing. The end of the stream is an error: nobody waits for an answer.
    pub(super) fn receive<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match self.socket.read(buffer) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => Ok(Some(&buffer[..n])),
            Err(e) => Err(e),
        }
    }

    /// Sends `bytes` and keeps what there is no room for; all that was kept before has gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<Next> {
        self.send_with(bytes, 0)
    }

    /// The same for bytes that more follow at once: no packet goes for them alone.
    pub(super) fn send_before_more(&mut self, bytes: &[u8]) -> io::Result<Next> {
        self.send_with(bytes, libc::MSG_MORE)
    }

    fn send_with(&mut self, bytes: &[u8], flags: i32) -> io::Result<Next> {
        debug_assert!(self.unsent.is_empty(), "the loop calls nobody before");
        let sent = send_some(&self.socket, bytes, flags)?;
        if sent == bytes.len() {
            return Ok(Next::Readable);
        }
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(Next::Writable)
    }

    /// Sends what was kept, as far as there is room now.
    fn flush(&mut self) -> io::Result<Next> {
        if self.unsent.is_empty() {
            return Ok(Next::Readable);
        }
        let sent = send_some(&self.socket, &self.unsent, 0)?;
        self.unsent.drain(..sent);
        Ok(if self.unsent.is_empty() { Next::Readable } else { Next::Writable })
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// How many bytes the socket takes now.
fn send_some(socket: &TcpStream, bytes: &[u8], flags: i32) -> io::Result<usize> {
    match SockRef::from(socket).send_with_flags(bytes, flags | libc::MSG_NOSIGNAL) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Serves what comes to `listener`, until killed or until the loop itself fails.
pub(super) fn serve<S: Service>(listener: &TcpListener, service: S) -> io::Result<()> {
    ready::run(listener, &mut Serving(service))
}

/// A connection of a service.
pub(super) struct Connection<S> {
    stream: Stream,
    state: S,
    /// What the kernel was asked to tell of.
    next: Next,
}

/// A service as a server of the epoll loop.
struct Serving<S>(S);

impl<S: Service> Server for Serving<S> {
    type Connection = Connection<S::State>;

    fn begin(&mut self, mut socket: TcpStream, watch: Watch<'_>) -> io::Result<Self::Connection> {
        let (state, next) = (self.0.begin(&mut socket)?, Next::Readable);
        watch.add(&socket, 0, next.flags())?;
        Ok(Connection { stream: Stream { socket, unsent: Vec::new() }, state, next })
    }

    /// Serves the connection, of which there is news, and asks for the news that it needs next.
    fn turn(&mut self, connection: &mut Self::Connection, watch: Watch<'_>) -> io::Result<Turn> {
        let Connection { stream, state, next } = connection;
        let now = match stream.flush()? {
            Next::Writable => Next::Writable,
            Next::Readable => self.0.serve(stream, state)?,
        };
        if now != *next {
            watch.change(&stream.socket, 0, now.flags())?;
            *next = now;
        }
        Ok(Turn::Waits)
    }
}
