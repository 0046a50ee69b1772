//! The same as the floor in a hand-written epoll loop: level triggered, one buffer, and an answer that is
//! sent as soon as it is asked for. What an epoll runtime could reach at best.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{ends_request, ready_answer};
use crate::plan::Plan;
use crate::programs::net::{accept_waiting, on_each_core};
use crate::raw::note_wait;

/// Data of the listener's events; those of a connection carry its descriptor.
const LISTENER: u64 = u64::MAX;

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let answer = ready_answer(plan)?;
    on_each_core(plan, move |seat| {
        let listener = seat.listen_near()?;
        listener.set_nonblocking(true)?;
        serve(&listener, &answer)
    })
}

fn serve(listener: &TcpListener, answer: &[u8]) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut buffer = vec![0; 4096];
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
            if slot.as_mut().is_some_and(|socket| reply(socket, answer, &mut buffer).is_err()) {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, epoll: &Epoll, connections: &mut Vec<Option<TcpStream>>) -> io::Result<()> {
    while let Some(socket) = accept_waiting(listener)? {
        let key = socket.as_raw_fd() as usize;
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, key as u64))?;
        if connections.len() <= key {
            connections.resize_with(key + 1, || None);
        }
        connections[key] = Some(socket);
    }
    Ok(())
}

/// Reads once and answers a request; an error, or the end of the stream, ends the connection. A client with
/// one request under way leaves room for its answer.
fn reply(socket: &mut TcpStream, answer: &[u8], buffer: &mut [u8]) -> io::Result<()> {
    match socket.read(buffer) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(n) if ends_request(&buffer[..n]) => socket.write_all(answer),
        result => result.map(drop),
    }
}
