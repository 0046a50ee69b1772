//! A protocol on a raw ring: multishot receives into provided buffers, read where they came in. A connection
//! has one send in the kernel; answers that come up meanwhile go together with the next one.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use io_uring::{cqueue, opcode, squeue, types};
use slab::Slab;

use super::{BUFFER, Protocol};
use crate::raw::{BufPool, Lanes, Tag};

const ACCEPT: u8 = 0;
const RECV: u8 = 1;
const SEND: u8 = 2;

/// Serves what comes to `listener` until killed.
pub(super) fn serve(listener: TcpListener, protocol: impl Protocol) -> io::Result<()> {
    let lanes = Lanes::new(1024, 8192)?;
    let pool = BufPool::new(&lanes, 0, 1024, BUFFER as u32)?;
    let mut ring = Ring { lanes, pool, listener, protocol, connections: Slab::new() };
    let result = ring.serve();
    // The kernel may still hold ops that name what connections send.
    std::mem::forget(ring);
    result
}

struct Connection<S> {
    socket: TcpStream,
    state: S,
    /// What the kernel sends, if `sending`, and what goes next.
    out: Vec<u8>,
    next: Vec<u8>,
    /// A receive is in the kernel.
    armed: bool,
    sending: bool,
    gone: bool,
}

struct Ring<P: Protocol> {
    lanes: Lanes,
    pool: BufPool,
    listener: TcpListener,
    protocol: P,
    connections: Slab<Connection<P::State>>,
}

impl<P: Protocol> Ring<P> {
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
        let mut socket = match cqe.result() {
            // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
            fd if fd >= 0 => unsafe { TcpStream::from_raw_fd(fd) },
            error if error == -libc::ECONNABORTED => return Ok(()),
            error => return Err(io::Error::from_raw_os_error(-error)),
        };
        let Ok(state) = self.protocol.begin(&mut socket) else { return Ok(()) };
        let (out, next) = (Vec::new(), Vec::new());
        let (armed, sending, gone) = (false, false, false);
        let connection = Connection { socket, state, out, next, armed, sending, gone };
        let index = self.connections.insert(connection);
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
            let piece = self.pool.bytes(bid, cqe.result().max(0) as usize);
            let Connection { socket, state, next, .. } = connection;
            if self.protocol.take(state, piece, next).is_err() {
                // The rest of a broken connection is not looked at: its end comes as a completion.
                let _ = socket.shutdown(Shutdown::Both);
            }
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

    /// Sends the answers that there are, unless a send is under way.
    fn send(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        if connection.sending || connection.next.is_empty() {
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
        if result == connection.out.len() as i32 {
            self.send(index)?;
        } else {
            // What was cut would be waited for in vain: the end of the connection says so.
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
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
