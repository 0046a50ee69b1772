//! The raw loop of echo and proxy: every received buffer is sent on as it is, to the
//! connection itself (echo) or to its partner (proxy). It owns the connections' states and keeps each
//! direction in order, also through short sends, a starved pool and half-closes. It promises no fairness:
//! a reader that stops can hold the whole pool, which a server for strangers must not allow.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use io_uring::{cqueue, opcode, squeue, types};
use slab::Slab;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::raw::{BufPool, Lanes, Tag};

const SQ_ENTRIES: u32 = 1024;
const CQ_ENTRIES: u32 = 8192;
/// Bytes of a pool of short messages, at least and at most: in between each socket has a buffer, of which few
/// lines go through the cache.
const POOL: usize = 4 << 20;
const POOL_MAX: usize = 64 << 20;
/// From so many bytes on a message is long: the kernel takes buffers in turn, so all of a pool goes through
/// the cache, and few are faster than one for each socket (x 0.93 with 64 sockets, x 0.79 with 512). As many
/// as become ready at a time must be enough.
const LONG: usize = 32 << 10;
const LONG_BUFFERS: usize = 8;
const SOCKETS_PER_LONG: usize = 32;

const ACCEPT: u8 = 0;
const CONNECT: u8 = 1;
const RECV: u8 = 2;
const SEND: u8 = 3;

/// A received buffer on its way out.
struct Chunk {
    bid: u16,
    start: u32,
    end: u32,
}

/// One socket. `to` is the index of the socket that gets what this one receives.
struct End {
    socket: TcpStream,
    to: usize,
    /// The first is in the kernel while `sending`.
    out: VecDeque<Chunk>,
    sending: bool,
    /// A receive or a connect is in the kernel.
    armed: bool,
    /// The pool was empty; armed again once half of it is back.
    starved: bool,
    /// Nothing more will be received.
    eof: bool,
    /// Nothing more will be sent.
    shut: bool,
    /// Failed: what remains is to wait for the kernel.
    dead: bool,
}

impl End {
    fn new(socket: TcpStream, to: usize) -> End {
        End {
            socket,
            to,
            out: VecDeque::new(),
            sending: false,
            armed: false,
            starved: false,
            eof: false,
            shut: false,
            dead: false,
        }
    }

    fn is_over(&self) -> bool {
        self.eof && !self.armed && !self.starved && self.out.is_empty()
    }
}

struct Relay {
    lanes: Lanes,
    pool: BufPool,
    listener: TcpListener,
    upstream: Option<SockAddr>,
    ends: Slab<End>,
    starved: Vec<usize>,
}

/// Serves until killed: an echo without `upstream`, a proxy with it, for that many sockets as a rule.
pub(super) fn run(
    listener: TcpListener,
    upstream: Option<SocketAddr>,
    buffer: usize,
    sockets: usize,
) -> io::Result<()> {
    let lanes = Lanes::new(SQ_ENTRIES, CQ_ENTRIES)?;
    let of_short = (POOL / buffer).max((sockets + 1).next_power_of_two()).min(POOL_MAX / buffer);
    let of_long = (sockets / SOCKETS_PER_LONG).next_power_of_two().max(LONG_BUFFERS);
    let buffers = if buffer < LONG { of_short.min(1 << 15) } else { of_long };
    let pool = BufPool::new(&lanes, 0, buffers as u16, buffer as u32)?;
    let upstream = upstream.map(SockAddr::from);
    let mut relay =
        Relay { lanes, pool, listener, upstream, ends: Slab::with_capacity(1024), starved: Vec::new() };
    let result = relay.serve();
    // The kernel may still hold ops that name the address and the sockets.
    std::mem::forget(relay);
    result
}

impl Relay {
    fn serve(&mut self) -> io::Result<()> {
        self.accept()?;
        loop {
            self.pool.publish();
            self.lanes.enter(1)?;
            while let Some(cqe) = self.lanes.reap() {
                let Tag { kind, index } = Tag::unpack(cqe.user_data());
                match kind {
                    RECV => self.on_recv(index as usize, &cqe)?,
                    SEND => self.on_send(index as usize, cqe.result())?,
                    ACCEPT => self.on_accept(&cqe)?,
                    _ => self.on_connect(index as usize, cqe.result())?,
                }
            }
            if !self.starved.is_empty() && self.pool.is_half_full() {
                self.revive()?;
            }
        }
    }

    fn push(&mut self, entry: squeue::Entry, kind: u8, index: usize) -> io::Result<()> {
        let entry = entry.user_data(Tag { kind, index: index as u32 }.pack());
        // SAFETY: sockets stay in `ends` until their ops have ended, pool memory is never freed, listener
        // and upstream address live in `self`, which is never dropped.
        unsafe { self.lanes.push(&entry) }
    }

    fn fd(&self, index: usize) -> RawFd {
        self.ends[index].socket.as_raw_fd()
    }

    fn accept(&mut self) -> io::Result<()> {
        let fd = types::Fd(self.listener.as_raw_fd());
        self.push(opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build(), ACCEPT, 0)
    }

    fn on_accept(&mut self, cqe: &cqueue::Entry) -> io::Result<()> {
        if !cqueue::more(cqe.flags()) {
            self.accept()?;
        }
        match cqe.result() {
            fd if fd >= 0 => {
                // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
                let socket = unsafe { TcpStream::from_raw_fd(fd) };
                self.welcome(socket)
            }
            error if error == -libc::ECONNABORTED => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }

    fn welcome(&mut self, socket: TcpStream) -> io::Result<()> {
        let first = self.ends.vacant_key();
        self.ends.insert(End::new(socket, first));
        let Some((address, length)) = self.upstream.as_ref().map(|a| (a.as_ptr(), a.len())) else {
            return self.arm(first);
        };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        let second = self.ends.insert(End::new(socket.into(), first));
        self.ends[first].to = second;
        self.ends[second].armed = true;
        let fd = types::Fd(self.fd(second));
        self.push(opcode::Connect::new(fd, address.cast(), length).build(), CONNECT, second)
    }

    fn on_connect(&mut self, index: usize, result: i32) -> io::Result<()> {
        let client = self.ends[index].to;
        self.ends[index].armed = false;
        if result < 0 {
            self.ends[index].eof = true;
            self.ends[client].eof = true;
            self.settle(index);
            return Ok(());
        }
        self.arm(index)?;
        self.arm(client)
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.ends[index].armed = true;
        let fd = types::Fd(self.fd(index));
        self.push(opcode::RecvMulti::new(fd, self.pool.group()).build(), RECV, index)
    }

    fn on_recv(&mut self, index: usize, cqe: &cqueue::Entry) -> io::Result<()> {
        let more = cqueue::more(cqe.flags());
        let end = &mut self.ends[index];
        end.armed = more;
        let (to, dead) = (end.to, end.dead);
        if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
            self.pool.taken();
            if cqe.result() > 0 && !dead {
                let chunk = Chunk { bid, start: 0, end: cqe.result() as u32 };
                self.ends[to].out.push_back(chunk);
                if !self.ends[to].sending {
                    self.send_first(to)?;
                }
            } else {
                self.pool.give_back(bid);
            }
        }
        if more {
            return Ok(());
        }
        match cqe.result() {
            n if n > 0 && !dead => return self.arm(index),
            n if n == -libc::ENOBUFS && !dead => {
                self.ends[index].starved = true;
                self.starved.push(index);
                return Ok(());
            }
            n => {
                self.ends[index].eof = true;
                if n < 0 {
                    self.abort(index);
                }
            }
        }
        self.settle(index);
        Ok(())
    }

    fn send_first(&mut self, index: usize) -> io::Result<()> {
        let end = &mut self.ends[index];
        end.sending = true;
        let fd = types::Fd(end.socket.as_raw_fd());
        let Chunk { bid, start, end } = end.out[0];
        let from = self.pool.address(bid).wrapping_add(start as usize);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        self.push(opcode::Send::new(fd, from, end - start).flags(flags).build(), SEND, index)
    }

    fn on_send(&mut self, index: usize, result: i32) -> io::Result<()> {
        let end = &mut self.ends[index];
        end.sending = false;
        let chunk = &mut end.out[0];
        chunk.start += result.max(0) as u32;
        if result >= 0 && chunk.start < chunk.end && !end.dead {
            return self.send_first(index);
        }
        self.pool.give_back(chunk.bid);
        end.out.pop_front();
        let (from, is_last) = (end.to, end.out.is_empty());
        if result < 0 {
            self.abort(index);
        } else if !is_last {
            return self.send_first(index);
        }
        if self.ends[from].eof {
            self.settle(from);
        }
        Ok(())
    }

    /// Passes the end of `index`'s input on to its partner once everything before it is sent, and forgets
    /// both when neither has anything left in the kernel.
    fn settle(&mut self, index: usize) {
        let to = self.ends[index].to;
        let partner = &mut self.ends[to];
        if partner.out.is_empty() && !partner.shut {
            partner.shut = true;
            // It fails if the peer is gone already, and then there is nobody to tell.
            let _ = partner.socket.shutdown(Shutdown::Write);
        }
        if self.ends[index].is_over() && self.ends[to].is_over() {
            self.ends.remove(index);
            self.ends.try_remove(to);
        }
    }

    /// Gives a pair up after an error: both sockets end, which makes the kernel finish their ops.
    fn abort(&mut self, index: usize) {
        for index in [index, self.ends[index].to] {
            let end = &mut self.ends[index];
            end.dead = true;
            let _ = end.socket.shutdown(Shutdown::Both);
            // Receives of a socket that was never connected do not exist: nothing else would end it.
            end.eof |= !end.armed;
            let first_waiting = usize::from(end.sending);
            while end.out.len() > first_waiting {
                self.pool.give_back(end.out.pop_back().expect("longer than a length").bid);
            }
        }
    }

    fn revive(&mut self) -> io::Result<()> {
        self.pool.publish();
        for index in std::mem::take(&mut self.starved) {
            self.ends[index].starved = false;
            if self.ends[index].dead {
                self.ends[index].eof = true;
                self.settle(index);
            } else {
                self.arm(index)?;
            }
        }
        Ok(())
    }
}
