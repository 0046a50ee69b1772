//! The other floor of a proxy that carries bytes in bulk: an edge-triggered epoll loop that moves them from
//! socket to socket through a pipe with `splice(2)` and copies nothing. A pipe takes more only when it is
//! empty, because a full one answers like an empty socket. It connects to the upstream where it stands, which
//! few and long connections do not notice, and it knows no urgent bytes.

use std::io::{self, ErrorKind, PipeReader, PipeWriter};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use super::{Job, PerCore, Seat, accept_waiting};
use crate::raw::note_wait;

/// Data of the listener's events; those of a socket carry its pair and which of the two it is.
const LISTENER: u64 = u64::MAX;
/// Asked of a socket at once: more than a pipe holds.
const PIECE: usize = 1 << 20;
/// Pieces in one turn of a pair, whose socket may never be empty: then it is the others' turn.
const PIECES: usize = 16;

/// An epoll loop per core.
pub(crate) struct Splicing;

impl PerCore for Splicing {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        let Job::Proxy { upstream, .. } = job else {
            return Err(io::Error::other("the floor that splices is a proxy and nothing else"));
        };
        let listener = seat.listen_near()?;
        listener.set_nonblocking(true)?;
        run(&listener, upstream)
    }
}

/// From one socket of a pair to the other.
struct Way {
    pipe: (PipeReader, PipeWriter),
    /// Bytes in the pipe.
    held: usize,
    ended: bool,
    /// The end has been passed on.
    shut: bool,
}

impl Way {
    fn new() -> io::Result<Way> {
        Ok(Way { pipe: io::pipe()?, held: 0, ended: false, shut: false })
    }
}

/// A client and its upstream; `ways[at]` begins at `sockets[at]`.
struct Pair {
    sockets: [TcpStream; 2],
    /// Not known to be empty, and not known to be full.
    readable: [bool; 2],
    writable: [bool; 2],
    ways: [Way; 2],
}

fn run(listener: &TcpListener, upstream: SocketAddr) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut pairs: Slab<Pair> = Slab::new();
    let mut events = vec![EpollEvent::empty(); 1024];
    // Pairs that have something to do, and those that had not come to an end when their turn was over.
    let (mut to_do, mut unfinished) = (Vec::new(), Vec::new());
    loop {
        note_wait();
        let patience = if unfinished.is_empty() { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        let count = match epoll.wait(&mut events, patience) {
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        std::mem::swap(&mut to_do, &mut unfinished);
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept(listener, upstream, &epoll, &mut pairs)?;
                continue;
            }
            let (index, at) = ((event.data() / 2) as usize, (event.data() % 2) as usize);
            let broken = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
            let Some(pair) = pairs.get_mut(index) else { continue };
            pair.readable[at] |= event.events().intersects(EpollFlags::EPOLLIN | broken);
            pair.writable[at] |= event.events().intersects(EpollFlags::EPOLLOUT | broken);
            to_do.push(index);
        }
        for index in to_do.drain(..) {
            match pairs.get_mut(index).map(serve) {
                Some(Ok(Turn::Over)) => unfinished.push(index),
                Some(Ok(Turn::Waits)) | None => {}
                Some(Ok(Turn::Ended) | Err(_)) => drop(pairs.remove(index)),
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    upstream: SocketAddr,
    epoll: &Epoll,
    pairs: &mut Slab<Pair>,
) -> io::Result<()> {
    while let Some(client) = accept_waiting(listener)? {
        // The client of an upstream that refuses learns it by the end.
        let Ok(server) = TcpStream::connect(upstream) else { continue };
        server.set_nodelay(true)?;
        server.set_nonblocking(true)?;
        let ways = [Way::new()?, Way::new()?];
        let sockets = [client, server];
        let index = pairs.vacant_key();
        for (at, socket) in sockets.iter().enumerate() {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            epoll.add(socket, EpollEvent::new(flags, (2 * index + at) as u64))?;
        }
        pairs.insert(Pair { sockets, readable: [false; 2], writable: [false; 2], ways });
    }
    Ok(())
}

/// What a turn of a pair, or of one of its ways, came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There may be more to do.
    Over,
    /// An event will say when there is.
    Waits,
    /// Both ends have been passed on, or that of this way.
    Ended,
}

fn serve(pair: &mut Pair) -> io::Result<Turn> {
    let turns = [pass(pair, 0)?, pass(pair, 1)?];
    if turns.contains(&Turn::Over) {
        return Ok(Turn::Over);
    }
    Ok(if turns == [Turn::Ended; 2] { Turn::Ended } else { Turn::Waits })
}

/// Moves what there is from the socket at `from` to the other one.
fn pass(pair: &mut Pair, from: usize) -> io::Result<Turn> {
    let to = 1 - from;
    let Pair { sockets, readable, writable, ways } = pair;
    let way = &mut ways[from];
    for _ in 0..PIECES {
        if way.held == 0 {
            if way.ended {
                if !way.shut {
                    way.shut = true;
                    // It fails if the peer is gone already, and then there is nobody to tell.
                    let _ = sockets[to].shutdown(Shutdown::Write);
                }
                return Ok(Turn::Ended);
            }
            if !readable[from] {
                return Ok(Turn::Waits);
            }
            match splice(&sockets[from], &way.pipe.1, PIECE) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => readable[from] = false,
                Ok(0) => way.ended = true,
                filled => way.held = filled?,
            }
        } else {
            if !writable[to] {
                return Ok(Turn::Waits);
            }
            match splice(&way.pipe.0, &sockets[to], way.held) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => writable[to] = false,
                drained => way.held -= drained?,
            }
        }
    }
    Ok(Turn::Over)
}

fn splice(from: &impl AsFd, to: &impl AsFd, len: usize) -> io::Result<usize> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: both descriptors are open for as long as they are borrowed, and the call takes no memory of
    // ours.
    let moved = unsafe { libc::splice(from, null_mut(), to, null_mut(), len, flags) };
    Ok(Errno::result(moved)? as usize)
}
