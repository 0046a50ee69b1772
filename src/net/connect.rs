//! Connecting.
#![forbid(unsafe_code)]

use super::shared::Handle;
use super::{Connected, TcpStream};
use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::sys::fork;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// The kernel reads the address from the cell until the final CQE; an orphan's socket is closed with it.
struct Connect {
    socket: Socket,
    address: SockAddr,
}

impl Operation for Connect {
    const OPCODE: u8 = opcode::CONNECT;
    type Output = io::Result<Socket>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        let mut sqe = Sqe::new(Self::OPCODE, self.socket.as_raw_fd());
        sqe = sqe.at(self.address.as_ptr().cast(), 0);
        // The length of a connect's address travels in the offset field (`io_uring_prep_connect(3)`).
        sqe.offset(u64::from(self.address.len()))
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(|_| self.socket)
    }
}

/// A blocking-mode, close-on-exec stream socket. Ops of a connection wait in either mode, but for a SENDMSG
/// on a helper thread (kernel-notes/nonblocking-socket.md); a connect in the other one was not tried.
pub(super) fn socket_for(address: SocketAddr) -> io::Result<Socket> {
    Socket::new_raw(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))
}

/// Connects a fresh socket.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let forks = fork::count();
    let socket = socket_for(address)?;
    let socket = Op::new(Connect { socket, address: address.into() }).await?;
    Ok(TcpStream::from_handle(Handle::known_since(forks, OwnedFd::from(socket), None)))
}
