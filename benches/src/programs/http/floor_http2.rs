//! The floor of HTTP/2: a raw ring that reads the frames of its clients, and answers every request with the
//! same header block and body. It decodes no header and keeps no windows: its answers are short and its
//! clients' windows wide. Answers to requests that came together leave together.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use io_uring::{cqueue, opcode, squeue, types};
use slab::Slab;

use super::{HELLO, listener};
use crate::frames::{self, Frame, PREFACE, Pieces};
use crate::plan::Plan;
use crate::programs::net::on_a_thread;
use crate::raw::{BufPool, Lanes, Tag};

const ACCEPT: u8 = 0;
const RECV: u8 = 1;
const SEND: u8 = 2;

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let listener = listener(plan)?;
    on_a_thread(move || {
        let lanes = Lanes::new(1024, 8192)?;
        let pool = BufPool::new(&lanes, 0, 1024, 4096)?;
        let mut floor = Floor { lanes, pool, listener, connections: Slab::new(), block: header_block() };
        let result = floor.serve();
        std::mem::forget(floor);
        result
    })
}

/// The header of each answer: the status from the static table, the fields as literals without a name in it.
fn header_block() -> Vec<u8> {
    let mut block = vec![frames::STATUS_200];
    let length = HELLO.len().to_string();
    for (name, value) in [("content-length", length.as_str()), ("date", "Thu, 01 Jan 1970 00:00:00 GMT")] {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

struct Connection {
    socket: TcpStream,
    /// Of the preface.
    greeted: usize,
    pieces: Pieces,
    /// What the kernel sends, if `sending`, and what goes next.
    out: Vec<u8>,
    next: Vec<u8>,
    armed: bool,
    sending: bool,
    gone: bool,
}

impl Connection {
    /// Takes in what has come and gathers the answers.
    fn take(&mut self, piece: &[u8], block: &[u8]) {
        let greeting = piece.len().min(PREFACE.len() - self.greeted);
        self.greeted += greeting;
        let next = &mut self.next;
        let fed = self.pieces.feed(&piece[greeting..], |frame| {
            answer(frame, block, next);
            Ok::<(), std::convert::Infallible>(())
        });
        let Ok(()) = fed;
    }
}

fn answer(frame: Frame<'_>, block: &[u8], out: &mut Vec<u8>) {
    match frame.kind {
        frames::SETTINGS if !frame.is_ack() => {
            frames::put(out, frames::SETTINGS, 0, 0, &[]);
            frames::put(out, frames::SETTINGS, frames::ACK, 0, &[]);
        }
        frames::PING if !frame.is_ack() => {
            frames::put(out, frames::PING, frames::ACK, 0, frame.payload);
        }
        _ if frame.ends_stream() => {
            frames::put(out, frames::HEADERS, frames::END_HEADERS, frame.stream, block);
            frames::put(out, frames::DATA, frames::END_STREAM, frame.stream, HELLO.as_bytes());
        }
        _ => {}
    }
}

struct Floor {
    lanes: Lanes,
    pool: BufPool,
    listener: TcpListener,
    connections: Slab<Connection>,
    block: Vec<u8>,
}

impl Floor {
    fn serve(&mut self) -> io::Result<()> {
        self.accept()?;
        loop {
            self.pool.publish();
            self.lanes.enter(1)?;
            while let Some(cqe) = self.lanes.reap() {
                let Tag { kind, index } = Tag::unpack(cqe.user_data());
                match kind {
                    ACCEPT => self.on_accept(&cqe)?,
                    RECV => self.on_recv(index as usize, &cqe)?,
                    _ => self.on_sent(index as usize, cqe.result())?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let fd = types::Fd(self.listener.as_raw_fd());
        self.push(opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build(), ACCEPT, 0)
    }

    fn on_accept(&mut self, cqe: &cqueue::Entry) -> io::Result<()> {
        if !cqueue::more(cqe.flags()) {
            self.accept()?;
        }
        if cqe.result() < 0 {
            return Err(io::Error::from_raw_os_error(-cqe.result()));
        }
        // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
        let socket = unsafe { TcpStream::from_raw_fd(cqe.result()) };
        let (pieces, out, next) = (Pieces::default(), Vec::new(), Vec::new());
        let (armed, sending, gone) = (false, false, false);
        let index = self.connections.insert(Connection {
            socket,
            greeted: 0,
            pieces,
            out,
            next,
            armed,
            sending,
            gone,
        });
        self.arm(index)
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.connections[index].armed = true;
        let fd = types::Fd(self.connections[index].socket.as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, self.pool.group()).build(), RECV, index)
    }

    fn on_recv(&mut self, index: usize, cqe: &cqueue::Entry) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.armed = cqueue::more(cqe.flags());
        if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
            self.pool.taken();
            connection.take(self.pool.bytes(bid, cqe.result().max(0) as usize), &self.block);
            self.pool.give_back(bid);
            self.send(index)?;
        }
        let connection = &mut self.connections[index];
        match cqe.result() {
            n if n <= 0 && n != -libc::ENOBUFS => {
                connection.gone = true;
                self.settle(index);
                Ok(())
            }
            _ if !connection.armed => self.arm(index),
            _ => Ok(()),
        }
    }

    /// Sends what has been gathered, unless a send is under way.
    fn send(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        if connection.sending || connection.next.is_empty() || connection.gone {
            return Ok(());
        }
        connection.sending = true;
        connection.out.clear();
        std::mem::swap(&mut connection.out, &mut connection.next);
        let (fd, out) = (types::Fd(connection.socket.as_raw_fd()), &connection.out);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let send = opcode::Send::new(fd, out.as_ptr(), out.len() as u32).flags(flags).build();
        self.push(send, SEND, index)
    }

    fn on_sent(&mut self, index: usize, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.sending = false;
        if result != connection.out.len() as i32 && !connection.gone {
            // What was cut would be waited for in vain: the end of the connection says so.
            let _ = connection.socket.shutdown(std::net::Shutdown::Both);
            return Ok(());
        }
        self.send(index)?;
        self.settle(index);
        Ok(())
    }

    /// Forgets a connection that has ended and has nothing in the kernel.
    fn settle(&mut self, index: usize) {
        let connection = &self.connections[index];
        if connection.gone && !connection.armed && !connection.sending {
            self.connections.remove(index);
        }
    }

    fn push(&mut self, entry: squeue::Entry, kind: u8, index: usize) -> io::Result<()> {
        let entry = entry.user_data(Tag { kind, index: index as u32 }.pack());
        // SAFETY: a connection, with its socket and what it sends, stays until its ops have ended, and `out`
        // is not touched while it is sent; pool and listener live in `self`, which is never dropped.
        unsafe { self.lanes.push(&entry) }
    }
}
