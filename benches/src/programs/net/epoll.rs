//! The echo workload as a hand-written epoll loop: level triggered, one shared buffer, and a second one
//! for what a slow reader leaves behind. It shows what an epoll runtime could reach at best.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{Job, PerCore, Seat, accept_waiting};
use crate::raw::note_wait;

/// Data of the listener's events; those of a connection carry its descriptor.
const LISTENER: u64 = u64::MAX;

struct Connection {
    socket: TcpStream,
    unsent: Vec<u8>,
}

/// An epoll loop per core.
pub(crate) struct EpollLoop;

impl PerCore for EpollLoop {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        let Job::Echo { buffer } = job else {
            return Err(io::Error::other("the hand-written epoll loop is an echo and nothing else"));
        };
        let listener = seat.listen_near()?;
        listener.set_nonblocking(true)?;
        run(&listener, buffer)
    }
}

fn run(listener: &TcpListener, buffer: usize) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut buffer = vec![0; buffer];
    loop {
        note_wait();
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            result => result?,
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept(listener, &epoll, &mut connections)?;
                continue;
            }
            let slot = &mut connections[event.data() as usize];
            let Some(connection) = slot else { continue };
            if serve(connection, &epoll, event, &mut buffer).is_err() {
                *slot = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    while let Some(socket) = accept_waiting(listener)? {
        let key = socket.as_raw_fd() as usize;
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, key as u64))?;
        if connections.len() <= key {
            connections.resize_with(key + 1, || None);
        }
        connections[key] = Some(Connection { socket, unsent: Vec::new() });
    }
    Ok(())
}

/// Reads once and sends it back; an error, or the end of the stream, ends the connection.
fn serve(c: &mut Connection, epoll: &Epoll, event: &EpollEvent, buffer: &mut [u8]) -> io::Result<()> {
    let mut pending = std::mem::take(&mut c.unsent);
    if pending.is_empty() {
        let n = match c.socket.read(buffer) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            result => result?,
        };
        let sent = send(&mut c.socket, &buffer[..n])?;
        if sent == n {
            return Ok(());
        }
        pending.extend_from_slice(&buffer[sent..n]);
        epoll.modify(&c.socket, &mut EpollEvent::new(EpollFlags::EPOLLOUT, event.data()))?;
    } else {
        let sent = send(&mut c.socket, &pending)?;
        pending.drain(..sent);
        if pending.is_empty() {
            epoll.modify(&c.socket, &mut EpollEvent::new(EpollFlags::EPOLLIN, event.data()))?;
        }
    }
    c.unsent = pending;
    Ok(())
}

fn send(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
