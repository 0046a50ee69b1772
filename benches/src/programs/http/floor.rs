//! The floor of HTTP/1.1: a raw ring that reads no request, but answers each with the same bytes, which all
//! sends share. A request is taken for whole when a piece ends with an empty line, as the load generator
//! sends it: one under way per connection.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use io_uring::{cqueue, opcode, squeue, types};
use slab::Slab;

use super::{ends_request, ready_answer};
use crate::plan::Plan;
use crate::programs::net::on_each_core;
use crate::raw::{BufPool, Lanes, Tag};

const ACCEPT: u8 = 0;
const RECV: u8 = 1;
const SEND: u8 = 2;

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    // Never freed, for sends may be under way whatever happens here.
    let answer: &'static [u8] = ready_answer(plan)?.leak();
    on_each_core(plan, move |seat| {
        let lanes = Lanes::new(1024, 8192)?;
        let pool = BufPool::new(&lanes, 0, 1024, 4096)?;
        let mut floor =
            Floor { lanes, pool, listener: seat.listen_near()?, answer, connections: Slab::new() };
        let result = floor.serve();
        std::mem::forget(floor);
        result
    })
}

struct Connection {
    socket: TcpStream,
    /// A receive is in the kernel.
    armed: bool,
    /// A send is in the kernel.
    sending: bool,
    gone: bool,
}

struct Floor {
    lanes: Lanes,
    pool: BufPool,
    listener: TcpListener,
    answer: &'static [u8],
    connections: Slab<Connection>,
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
                    _ => self.on_sent(index as usize, cqe.result()),
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
        let index = self.connections.insert(Connection { socket, armed: false, sending: false, gone: false });
        self.arm(index)
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.connections[index].armed = true;
        let fd = types::Fd(self.connections[index].socket.as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, self.pool.group()).build(), RECV, index)
    }

    fn on_recv(&mut self, index: usize, cqe: &cqueue::Entry) -> io::Result<()> {
        self.connections[index].armed = cqueue::more(cqe.flags());
        if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
            self.pool.taken();
            let is_request = ends_request(self.pool.bytes(bid, cqe.result().max(0) as usize));
            self.pool.give_back(bid);
            if is_request {
                self.answer(index)?;
            }
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

    fn answer(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.sending = true;
        let fd = types::Fd(connection.socket.as_raw_fd());
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let send = opcode::Send::new(fd, self.answer.as_ptr(), self.answer.len() as u32).flags(flags).build();
        self.push(send, SEND, index)
    }

    fn on_sent(&mut self, index: usize, result: i32) {
        let connection = &mut self.connections[index];
        connection.sending = false;
        // An answer that was cut would be waited for in vain: the end of the connection says so.
        if result != self.answer.len() as i32 && !connection.gone {
            let _ = connection.socket.shutdown(std::net::Shutdown::Both);
        }
        self.settle(index);
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
        // SAFETY: a connection stays until its ops have ended; answer and pool are never freed, and the
        // listener lives in `self`, which is never dropped.
        unsafe { self.lanes.push(&entry) }
    }
}
