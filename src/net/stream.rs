//! `TcpStream`: connecting, addresses and options. The calls that all streams have are in connected.rs.
#![forbid(unsafe_code)]

use super::Connected;
use super::addr::{ToSocketAddrs, resolve};
use super::connect::connect;
use super::connected::stream_calls;
use super::receive::{Recv, RecvPooled};
use super::send::{Send, SendAll, SendVectored};
use super::shared::Handle;
use super::split::{OwnedRecvHalf, OwnedSendHalf, RecvHalf, SendHalf};
use super::ttl;
use crate::buf::{IoBuf, IoBufMut};
use crate::io::FileSource;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// A TCP connection.
///
/// `Send + Sync`; every method takes `&self`, so one task may receive while another sends. Each direction is
/// ordered: a second receiver waits behind the first, a second sender behind the first. Buffers are owned:
/// they move into the call and come back with the result.
///
/// Dropping a receive loses no byte, but for [`recv_exact`](Self::recv_exact), which keeps what it has in its
/// buffer. Dropping a send does not stop it: a message that has begun leaves whole. One that still waits
/// behind other sends has not begun, and does not leave; nobody is told which it was. Dropping the last
/// handle cancels what is in flight, so a message may be cut then (what [`send_off`](Self::send_off) has
/// taken still leaves), and closes the socket.
///
/// ```
/// use ringwork::net::{TcpListener, TcpStream};
///
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, _) = listener.accept().await?;
/// client.send_all("hello").await.0?;
/// let (n, buf) = server.recv(Vec::with_capacity(64)).await;
/// assert_eq!((n?, &buf[..]), (5, &b"hello"[..]));
/// // Looking at what comes next.
/// client.send_all("world").await.0?;
/// assert_eq!(server.peek([0u8; 3]).await.1, *b"wor");
/// assert_eq!(server.recv([0u8; 5]).await.1, *b"world");
/// // An answer that is not waited for.
/// server.send_off("bye").await?;
/// assert_eq!(&*client.recv_pooled().await?, b"bye");
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    handle: Handle,
}

stream_calls!(TcpStream, std::net::TcpStream);

impl TcpStream {
    /// Connects to the first of the addresses that answers.
    ///
    /// Dropping the future abandons the attempt and closes its socket.
    ///
    /// # Errors
    /// The last address's error; the name lookup's error.
    pub async fn connect(addresses: impl ToSocketAddrs) -> io::Result<Self> {
        let mut last = None;
        for address in resolve(addresses.lookup()).await? {
            match connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a lookup never succeeds with no address"))
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// ENOTCONN if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Sends small messages at once instead of gathering them (`TCP_NODELAY`, `tcp(7)`).
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket().set_tcp_nodelay(nodelay)
    }

    /// Whether small messages are sent at once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket().tcp_nodelay()
    }

    /// What a close does with unsent bytes (`SO_LINGER`, `socket(7)`): zero sends a reset. Another time, of
    /// whole seconds, is how long the close waits for the peer, which is for whoever takes the socket out of
    /// the runtime: the drop of a stream waits for nobody, and what its socket has leaves behind it. That is
    /// so with a time set here, and with one that a socket had in [`from_std`](Self::from_std); one that was
    /// set by other means, or that comes from a listener, makes the thread wait that drops the stream.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.shared().set_linger(linger)
    }

    /// What a close does with unsent bytes; see [`TcpStream::set_linger`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket().linger()
    }

    /// Sends probes on an idle connection (`SO_KEEPALIVE`).
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        self.socket().set_keepalive(keepalive)
    }

    /// The time to live of sent packets: over IPv6 their hop limit.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = ringwork::net::TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_ttl(1)?;
    /// assert_eq!(stream.ttl()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The kernel's: EINVAL for 0 and for more than 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        ttl::set_ttl(&self.socket(), ttl)
    }

    /// The time to live of sent packets; see [`TcpStream::set_ttl`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn ttl(&self) -> io::Result<u32> {
        ttl::ttl(&self.socket())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        debug.field("fd", &self.shared().fd());
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.finish()
    }
}
