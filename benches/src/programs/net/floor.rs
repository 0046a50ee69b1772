//! The floor of servers: a raw ring per core, multishot accepts and receives, the received buffer is the
//! one sent. It is as fast as this suite knows how to be with plain descriptors; `relay.rs` holds the loop
//! of echo and proxy. The source is below: one send per connection in the kernel at any time.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use io_uring::{cqueue, opcode, types};
use slab::Slab;

use super::{Job, PerCore, Seat, pattern, relay};
use crate::raw::{Lanes, Tag};

/// A raw ring per core.
pub(crate) struct Floor;

impl PerCore for Floor {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        let connections = seat.connections;
        let listener = seat.listen_near()?;
        match job {
            Job::Echo { buffer } => relay::run(listener, None, buffer, connections),
            Job::Proxy { upstream, buffer } => relay::run(listener, Some(upstream), buffer, 2 * connections),
            Job::Source => pour(&listener),
        }
    }
}

const ACCEPT: u8 = 0;
const SEND: u8 = 1;

/// A client of the source, and where in the pattern it is.
struct Client {
    socket: TcpStream,
    at: usize,
}

fn pour(listener: &TcpListener) -> io::Result<()> {
    let mut lanes = Lanes::new(256, 1024)?;
    let pattern = pattern();
    let mut clients: Slab<Client> = Slab::new();
    let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
    let accept = accept.user_data(Tag { kind: ACCEPT, index: 0 }.pack());
    // SAFETY: the listener outlives this loop, which ends with the process or an error that ends it.
    unsafe { lanes.push(&accept)? };
    loop {
        lanes.enter(1)?;
        while let Some(cqe) = lanes.reap() {
            let Tag { kind, index } = Tag::unpack(cqe.user_data());
            let index = match (kind, cqe.result()) {
                (ACCEPT, error) if error < 0 => return Err(io::Error::from_raw_os_error(-error)),
                (ACCEPT, fd) => {
                    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
                    let socket = unsafe { TcpStream::from_raw_fd(fd) };
                    if !cqueue::more(cqe.flags()) {
                        // SAFETY: as above.
                        unsafe { lanes.push(&accept)? };
                    }
                    clients.insert(Client { socket, at: 0 })
                }
                (_, n) if n <= 0 => {
                    clients.remove(index as usize);
                    continue;
                }
                (_, n) => {
                    let client = &mut clients[index as usize];
                    client.at = (client.at + n as usize) % pattern.len();
                    index as usize
                }
            };
            let rest = &pattern[clients[index].at..];
            let fd = types::Fd(clients[index].socket.as_raw_fd());
            let send = opcode::Send::new(fd, rest.as_ptr(), rest.len() as u32)
                .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                .build()
                .user_data(Tag { kind: SEND, index: index as u32 }.pack());
            // SAFETY: the pattern is never freed; the socket is dropped only when its one send has ended.
            unsafe { lanes.push(&send)? };
        }
    }
}
