//! A proxy in an epoll loop: a client and its upstream, and how bytes come from either to the other. Both
//! sockets are registered once, edge triggered, for everything; whether they may be read and written is
//! remembered here. A source is read only if the other side takes bytes and nothing waits for it, an end is
//! passed on behind all that came before it, and an error of one of the sockets ends both. Urgent bytes are
//! not known. How bytes are carried is a [`Way`]'s: copied through a buffer here, spliced in `splice.rs`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use nix::sys::epoll::EpollFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::ready::{Server, Turn, Watch};

/// Pieces in one turn of a way, whose source may never be empty: then it is the others' turn.
const PIECES: usize = 8;

/// How bytes come from one socket to the other.
pub(super) trait Way: Sized {
    /// What all ways of a core use in turn.
    type Shared;

    fn new() -> io::Result<Self>;

    /// Whether all that was read has been written.
    fn is_empty(&self) -> bool;

    /// Reads a piece and writes it, or what `to` takes of it; whether `from` has ended instead.
    fn carry(&mut self, from: &mut End, to: &mut End, shared: &mut Self::Shared) -> io::Result<bool>;

    /// Writes what was left behind, or what `to` takes of it.
    fn flush(&mut self, to: &mut End) -> io::Result<()>;
}

/// One of the two sockets.
pub(super) struct End {
    pub(super) socket: TcpStream,
    /// Not known to be empty, and not known to be full.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Behind what can be read now stands the end.
    ending: bool,
}

impl End {
    fn register(socket: TcpStream, number: usize, watch: Watch<'_>) -> io::Result<End> {
        let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP;
        watch.add(&socket, number, events | EpollFlags::EPOLLET)?;
        Ok(End { socket, readable: false, writable: false, ending: false })
    }
}

/// From one socket to the other.
struct Half<W> {
    way: W,
    /// Nothing more will be read.
    ended: bool,
    /// The end has been passed on.
    shut: bool,
}

impl<W: Way> Half<W> {
    fn new() -> io::Result<Half<W>> {
        Ok(Half { way: W::new()?, ended: false, shut: false })
    }

    /// Moves what there is.
    fn pass(&mut self, from: &mut End, to: &mut End, shared: &mut W::Shared) -> io::Result<Turn> {
        for _ in 0..PIECES {
            if self.ended && self.way.is_empty() {
                if !self.shut {
                    self.shut = true;
                    // It fails if the peer is gone already, and then there is nobody to tell.
                    let _ = to.socket.shutdown(Shutdown::Write);
                }
                return Ok(Turn::Ended);
            }
            if !to.writable {
                return Ok(Turn::Waits);
            }
            if !self.way.is_empty() {
                self.way.flush(to)?;
            } else if from.readable {
                self.ended = self.way.carry(from, to, shared)?;
            } else {
                return Ok(Turn::Waits);
            }
        }
        Ok(Turn::Over)
    }
}

/// A client and its upstream; `halves[at]` begins at `ends[at]`.
pub(super) struct Pair<W> {
    ends: [End; 2],
    halves: [Half<W>; 2],
    broken: bool,
}

/// The server.
pub(super) struct Proxy<W: Way> {
    upstream: SocketAddr,
    shared: W::Shared,
}

impl<W: Way> Proxy<W> {
    pub(super) fn new(upstream: SocketAddr, shared: W::Shared) -> Proxy<W> {
        Proxy { upstream, shared }
    }
}

impl<W: Way> Server for Proxy<W> {
    type Connection = Pair<W>;

    fn begin(&mut self, client: TcpStream, watch: Watch<'_>) -> io::Result<Pair<W>> {
        let server = connect(self.upstream)?;
        let halves = [Half::new()?, Half::new()?];
        let ends = [End::register(client, 0, watch)?, End::register(server, 1, watch)?];
        Ok(Pair { ends, halves, broken: false })
    }

    fn note(pair: &mut Pair<W>, at: usize, ready: EpollFlags) {
        let end = &mut pair.ends[at];
        end.readable |= ready.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP);
        end.writable |= ready.intersects(EpollFlags::EPOLLOUT | EpollFlags::EPOLLHUP);
        end.ending |= ready.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP);
        pair.broken |= ready.contains(EpollFlags::EPOLLERR);
    }

    fn turn(&mut self, pair: &mut Pair<W>, _watch: Watch<'_>) -> io::Result<Turn> {
        if pair.broken {
            return Ok(Turn::Ended);
        }
        let Pair { ends: [client, server], halves: [there, back], .. } = pair;
        let turns =
            [there.pass(client, server, &mut self.shared)?, back.pass(server, client, &mut self.shared)?];
        if turns.contains(&Turn::Over) {
            return Ok(Turn::Over);
        }
        Ok(if turns == [Turn::Ended; 2] { Turn::Ended } else { Turn::Waits })
    }
}

/// A connection that is being made: it may be written when it is there, and has an error if it fails.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => Ok(socket.into()),
    }
}

/// What a call has moved; nothing, and `can` is over, if it would have to wait.
pub(super) fn unless_blocked(result: io::Result<usize>, can: &mut bool) -> io::Result<Option<usize>> {
    match result {
        Err(e) if e.kind() == ErrorKind::WouldBlock => {
            *can = false;
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// Through the one buffer of the core: what is read is written at once, from there.
pub(super) struct Copying {
    /// What the other side did not take, and how much of it has been written since.
    unsent: Vec<u8>,
    written: usize,
}

impl Way for Copying {
    type Shared = Vec<u8>;

    fn new() -> io::Result<Copying> {
        Ok(Copying { unsent: Vec::new(), written: 0 })
    }

    fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    fn carry(&mut self, from: &mut End, to: &mut End, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let Some(n) = unless_blocked(from.socket.read(buffer), &mut from.readable)? else { return Ok(false) };
        // What does not fill the buffer was all there was; what comes later, the end as well, has an event.
        from.readable = n == buffer.len() || from.ending;
        let sent = unless_blocked(to.socket.write(&buffer[..n]), &mut to.writable)?.unwrap_or(0);
        if sent < n {
            to.writable = false;
            self.unsent.extend_from_slice(&buffer[sent..n]);
        }
        Ok(n == 0)
    }

    fn flush(&mut self, to: &mut End) -> io::Result<()> {
        let rest = &self.unsent[self.written..];
        let sent = unless_blocked(to.socket.write(rest), &mut to.writable)?.unwrap_or(0);
        to.writable = sent == rest.len();
        self.written += sent;
        if to.writable {
            self.unsent.clear();
            self.written = 0;
        }
        Ok(())
    }
}
