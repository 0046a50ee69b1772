//! A UDP socket with the signatures of tokio's.
//!
//! Owns one buffer per call and a copy in each direction; what the calls mean is `net::udp`'s affair.
#![forbid(unsafe_code)]

use crate::buf::{IoBufMut, Slice};
use crate::net::{self, ToSocketAddrs, lookup_host};
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};

/// A [`net::UdpSocket`] whose calls borrow their buffers, as tokio's do: for programs that were written for
/// it.
///
/// Each receive allocates as much as it has room for, and each call copies once; the calls of the socket
/// inside, which take and give back a buffer, do neither. Its options, addresses and
/// [`recv_datagram`](net::UdpSocket::recv_datagram) are reached through it. Dropping a receive loses no
/// datagram, dropping a send perhaps its own: see there.
///
/// ```
/// use ringwork::compat::UdpSocket; // was tokio::net::UdpSocket
///
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind(("localhost", 0)).await?;
/// client.send_to(b"ping", server.local_addr()?).await?;
/// let mut buf = [0; 1500];
/// let (n, from) = server.recv_from(&mut buf).await?;
/// assert_eq!(&buf[..n], b"ping");
/// server.send_to(&buf[..n], from).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UdpSocket(net::UdpSocket);

impl UdpSocket {
    /// As [`net::UdpSocket::bind`].
    ///
    /// # Errors
    /// As there.
    pub async fn bind(addresses: impl ToSocketAddrs) -> io::Result<Self> {
        net::UdpSocket::bind(addresses).await.map(Self)
    }

    /// As [`net::UdpSocket::from_std`].
    ///
    /// # Errors
    /// As there.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        net::UdpSocket::from_std(socket).map(Self)
    }

    /// The socket with owned buffers.
    #[must_use]
    pub fn into_inner(self) -> net::UdpSocket {
        self.0
    }

    /// Receives one datagram and says who sent it. What there is no room for is lost.
    ///
    /// # Errors
    /// As [`net::UdpSocket::recv_from`].
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (received, bytes) = self.0.recv_from(room_for(buf)).await;
        received.inspect(|_| copy(&bytes, buf))
    }

    /// As [`recv_from`](Self::recv_from), without the sender.
    ///
    /// # Errors
    /// As [`net::UdpSocket::recv`].
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let (received, bytes) = self.0.recv(room_for(buf)).await;
        received.inspect(|_| copy(&bytes, buf))
    }

    /// Copies the next datagram without taking it.
    ///
    /// # Errors
    /// As [`net::UdpSocket::peek_from`].
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (received, bytes) = self.0.peek_from(room_for(buf)).await;
        received.inspect(|_| copy(&bytes, buf))
    }

    /// Sends the bytes as one datagram to the first of the addresses.
    ///
    /// # Errors
    /// As [`net::UdpSocket::send_to`]; the name lookup's.
    pub async fn send_to(&self, bytes: &[u8], to: impl ToSocketAddrs) -> io::Result<usize> {
        let to = lookup_host(to).await?.next().expect("a lookup never succeeds with no address");
        self.0.send_to(bytes.to_vec(), to).await.0
    }

    /// Sends the bytes as one datagram to the peer that the socket is connected to.
    ///
    /// # Errors
    /// As [`net::UdpSocket::send`].
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).await.0
    }
}

/// The socket with owned buffers: for its options and addresses.
impl Deref for UdpSocket {
    type Target = net::UdpSocket;

    fn deref(&self) -> &net::UdpSocket {
        &self.0
    }
}

impl From<net::UdpSocket> for UdpSocket {
    fn from(socket: net::UdpSocket) -> Self {
        Self(socket)
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A buffer with exactly the room that the caller's has: what of a datagram does not fit is lost, as it would
/// be there.
fn room_for(buf: &[u8]) -> Slice<Vec<u8>> {
    Vec::with_capacity(buf.len()).slice_mut(..buf.len())
}

fn copy(received: &[u8], into: &mut [u8]) {
    into[..received.len()].copy_from_slice(received);
}
