//! The floor of TLS: a raw ring with the cipher and nothing else. Handshakes are rustls's, one after the
//! other on a blocking socket, as the load generator does them: a client that keeps silent would stop it.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;

use io_uring::{cqueue, opcode, squeue, types};
use rustls::ServerConfig;
use slab::Slab;

use crate::plan::Plan;
use crate::programs::http::listener;
use crate::programs::net::on_a_thread;
use crate::raw::{BufPool, Lanes, Tag};
use crate::tls::{self, Records};

const ACCEPT: u8 = 0;
const RECV: u8 = 1;
const SEND: u8 = 2;

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let (listener, config) = (listener(plan)?, Arc::new(tls::server_config()?));
    on_a_thread(move || {
        let lanes = Lanes::new(1024, 8192)?;
        let pool = BufPool::new(&lanes, 0, 1024, 4096)?;
        let mut floor = Floor { lanes, pool, listener, config, connections: Slab::new() };
        let result = floor.serve();
        std::mem::forget(floor);
        result
    })
}

struct Connection {
    socket: TcpStream,
    records: Records,
    /// What the kernel sends, if `sending`, and what goes next.
    out: Vec<u8>,
    next: Vec<u8>,
    armed: bool,
    sending: bool,
    gone: bool,
}

impl Connection {
    /// Seals again what has come; false if that was no TLS.
    fn take(&mut self, piece: &[u8], plain: &mut Vec<u8>) -> bool {
        plain.clear();
        let opened = self.records.feed(piece, |opened| {
            plain.extend_from_slice(opened);
            Ok(())
        });
        if !plain.is_empty() {
            self.records.seal(plain, &mut self.next);
        }
        opened.is_ok()
    }
}

struct Floor {
    lanes: Lanes,
    pool: BufPool,
    listener: TcpListener,
    config: Arc<ServerConfig>,
    connections: Slab<Connection>,
}

impl Floor {
    fn serve(&mut self) -> io::Result<()> {
        let mut plain = Vec::new();
        self.accept()?;
        loop {
            self.pool.publish();
            self.lanes.enter(1)?;
            while let Some(cqe) = self.lanes.reap() {
                let Tag { kind, index } = Tag::unpack(cqe.user_data());
                match kind {
                    ACCEPT => self.on_accept(&cqe)?,
                    RECV => self.on_recv(index as usize, &cqe, &mut plain)?,
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
        let mut socket = unsafe { TcpStream::from_raw_fd(cqe.result()) };
        // A client that fails has been told by its alert or by the end.
        let Ok(records) = tls::accept(&self.config, &mut socket) else { return Ok(()) };
        let (out, next) = (Vec::new(), Vec::new());
        let (armed, sending, gone) = (false, false, false);
        let index = self.connections.insert(Connection { socket, records, out, next, armed, sending, gone });
        self.arm(index)
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.connections[index].armed = true;
        let fd = types::Fd(self.connections[index].socket.as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, self.pool.group()).build(), RECV, index)
    }

    fn on_recv(&mut self, index: usize, cqe: &cqueue::Entry, plain: &mut Vec<u8>) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.armed = cqueue::more(cqe.flags());
        if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
            self.pool.taken();
            if !connection.take(self.pool.bytes(bid, cqe.result().max(0) as usize), plain) {
                // The rest of a broken connection is not looked at: its end comes as a completion.
                let _ = connection.socket.shutdown(std::net::Shutdown::Both);
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

    /// Sends what has been sealed, unless a send is under way.
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
