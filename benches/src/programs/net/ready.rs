//! The loop of the servers that wait with `epoll(7)`, one per core. It accepts, keeps what a server knows of
//! each connection under a key, and when all events of a wait are noted, gives each connection that has one
//! a turn. An error ends its connection and nothing else. What is read and written is the server's, and
//! whether its events are level or edge triggered.

use std::io;
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use super::accept_waiting;
use crate::raw::note_wait;

/// Data of the listener's events; those of a socket carry its connection and which of its two it is.
const LISTENER: u64 = u64::MAX;
/// Sockets of a connection, at most.
const SOCKETS: u64 = 2;
/// Events of one wait, at most.
const EVENTS: usize = 1024;

/// What a turn of a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There may be more to do: the next turn needs no event.
    Over,
    /// An event will say when there is.
    Waits,
    /// Nothing is left to do.
    Ended,
}

/// What is done with connections.
pub(crate) trait Server {
    /// What is known of one.
    type Connection;

    /// A connection has come; its sockets, which do not block, are to be registered.
    fn begin(&mut self, client: TcpStream, watch: Watch<'_>) -> io::Result<Self::Connection>;

    /// One of its sockets is ready.
    fn note(_connection: &mut Self::Connection, _socket: usize, _ready: EpollFlags) {}

    /// Does what there is to do now.
    fn turn(&mut self, connection: &mut Self::Connection, watch: Watch<'_>) -> io::Result<Turn>;
}

/// Where the sockets of one connection are registered.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    epoll: &'a Epoll,
    key: usize,
}

impl Watch<'_> {
    /// Registers a socket of the connection, by its number, for the events of `flags`.
    pub(crate) fn add(self, socket: &impl AsFd, number: usize, flags: EpollFlags) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(flags, self.data(number)))?)
    }

    /// Registers it for other events.
    pub(crate) fn change(self, socket: &impl AsFd, number: usize, flags: EpollFlags) -> io::Result<()> {
        Ok(self.epoll.modify(socket, &mut EpollEvent::new(flags, self.data(number)))?)
    }

    fn data(self, number: usize) -> u64 {
        self.key as u64 * SOCKETS + number as u64
    }
}

struct Slot<C> {
    connection: C,
    /// Its turn will come without another event.
    queued: bool,
}

/// Serves the connections that come to `listener` until killed.
pub(crate) fn run<S: Server>(listener: &TcpListener, server: &mut S) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut slots: Slab<Slot<S::Connection>> = Slab::new();
    let mut events = vec![EpollEvent::empty(); EVENTS];
    // Connections whose turn it is, and those that had not come to an end when their turn was over.
    let (mut to_do, mut unfinished) = (Vec::new(), Vec::new());
    loop {
        note_wait();
        let patience = if unfinished.is_empty() { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        let count = match epoll.wait(&mut events, patience) {
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        mem::swap(&mut to_do, &mut unfinished);
        // None is removed in here, so that no event is taken for one of a later connection.
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept(listener, &epoll, &mut slots, server)?;
                continue;
            }
            let (key, number) = ((event.data() / SOCKETS) as usize, (event.data() % SOCKETS) as usize);
            let slot = &mut slots[key];
            S::note(&mut slot.connection, number, event.events());
            if !mem::replace(&mut slot.queued, true) {
                to_do.push(key);
            }
        }
        for key in to_do.drain(..) {
            let slot = &mut slots[key];
            match server.turn(&mut slot.connection, Watch { epoll: &epoll, key }) {
                Ok(Turn::Over) => unfinished.push(key),
                Ok(Turn::Waits) => slot.queued = false,
                Ok(Turn::Ended) | Err(_) => drop(slots.remove(key)),
            }
        }
    }
}

fn accept<S: Server>(
    listener: &TcpListener,
    epoll: &Epoll,
    slots: &mut Slab<Slot<S::Connection>>,
    server: &mut S,
) -> io::Result<()> {
    while let Some(client) = accept_waiting(listener)? {
        // The client of one that cannot be served learns it by the end.
        if let Ok(connection) = server.begin(client, Watch { epoll, key: slots.vacant_key() }) {
            slots.insert(Slot { connection, queued: false });
        }
    }
    Ok(())
}
