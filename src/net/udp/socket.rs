//! `UdpSocket`: making, binding, connecting, and its calls.
#![forbid(unsafe_code)]

use super::receive::{Kept, Recv, RecvDatagram, RecvFrom};
use super::send::Send;
use crate::buf::{IoBuf, IoBufMut};
use crate::net::addr::{ToSocketAddrs, resolve};
use crate::net::turn::{Lists, Receivers, Word};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a socket and its cells share.
pub(super) struct Shared {
    fd: OwnedFd,
    /// The order of receivers. Whoever has the turn may have a receive in flight.
    receiving: Word,
    lists: Lists,
    kept: Mutex<Option<Kept>>,
}

impl Shared {
    /// The socket's number, for an SQE or a system call made while `self` is held.
    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The order of receivers; senders have none.
    pub(super) fn turn(&self) -> Receivers<'_> {
        self.lists.of_receivers(&self.receiving)
    }

    /// What was received for a future that was gone. Held for a few instructions and a copy only.
    pub(super) fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A UDP socket.
///
/// `Send + Sync`; every method takes `&self`, and any number of tasks may receive and send at once. Receivers
/// get datagrams in the order in which they asked. Buffers are owned: they move into the call and come back
/// with the result. Each datagram is one call's: what its buffer has no room for is cut off and lost, which
/// [`recv_datagram`](Self::recv_datagram) tells.
///
/// # What a drop loses
/// - *A receive*: no datagram. One that had arrived for it goes to the next receive, as much of it as the
///   dropped call's buffer had room for. The same holds for an error that was to be reported.
/// - *A send*: perhaps its datagram. It leaves whole or not at all, and nobody is told which.
/// - *The socket*: what was kept like this, and what the kernel has. The port is free when the final
///   completions of dropped ops have been seen, a moment later.
///
/// # Errors that come later
/// A connected socket learns from ICMP that nobody listens at its peer. The kernel reports that as
/// ECONNREFUSED by one of the next calls, a receive or a send, once; the datagram of a send that reports it
/// was not sent.
///
/// ```
/// use ringwork::net::UdpSocket;
///
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.send_to("ping", server.local_addr()?).await.0?;
/// let (received, buf) = server.recv_from(Vec::with_capacity(1500)).await;
/// let (n, from) = received?;
/// assert_eq!((n, &buf[..], from), (4, &b"ping"[..], client.local_addr()?));
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket {
    pub(super) shared: Arc<Shared>,
}

impl UdpSocket {
    /// Binds the first of the addresses that can be bound; port 0 has the kernel pick one.
    ///
    /// For options that must be set before (`SO_REUSEPORT` and the like) make the socket with `socket2` and
    /// take it over by [`from_std`](Self::from_std).
    ///
    /// # Errors
    /// The last address's error: EADDRINUSE, EACCES, …; the name lookup's error.
    pub async fn bind(addresses: impl ToSocketAddrs) -> io::Result<Self> {
        let mut last = None;
        for address in resolve(addresses.lookup()).await? {
            match Self::bind_now(address) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a lookup never succeeds with no address"))
    }

    fn bind_now(address: SocketAddr) -> io::Result<Self> {
        // Blocking mode: ops wait in either one, but a RECVMSG or SENDMSG that has come to a helper thread
        // looks at it (kernel-notes/nonblocking-socket.md).
        let kind = Type::DGRAM.cloexec();
        let socket = Socket::new_raw(Domain::for_address(address), kind, Some(Protocol::UDP))?;
        socket.bind(&SockAddr::from(address))?;
        Ok(Self::adopt(socket.into()))
    }

    fn adopt(fd: OwnedFd) -> Self {
        Self {
            shared: Arc::new(Shared {
                fd,
                receiving: Word::default(),
                lists: Lists::default(),
                kept: Mutex::default(),
            }),
        }
    }

    /// Connects to the first of the addresses that can be: from then on [`send`](Self::send) goes there, and
    /// only datagrams from there arrive. Those of others that had arrived before are still received. Nothing
    /// is sent by this.
    ///
    /// ```
    /// use ringwork::net::UdpSocket;
    ///
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// let (one, other) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// one.connect(other.local_addr()?).await?;
    /// other.connect(one.local_addr()?).await?;
    /// one.send("hello").await.0?;
    /// let (n, buf) = other.recv(Vec::with_capacity(1500)).await;
    /// assert_eq!((n?, &buf[..]), (5, &b"hello"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The last address's error: ENETUNREACH, EAFNOSUPPORT, …; the name lookup's error.
    pub async fn connect(&self, addresses: impl ToSocketAddrs) -> io::Result<()> {
        let mut last = None;
        for address in resolve(addresses.lookup()).await? {
            match self.socket().connect(&SockAddr::from(address)) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a lookup never succeeds with no address"))
    }

    /// Receives one datagram behind what the buffer holds, and says who sent it. What there is no room for is
    /// lost.
    ///
    /// Dropping the future loses no datagram; see [`UdpSocket`]. Its `timeout` and `cancel` give the buffer
    /// back.
    ///
    /// # Errors
    /// The kernel's; ECONNREFUSED as [`UdpSocket`] says. [`io::ErrorKind::InvalidInput`] if the buffer is
    /// full, as `vec![0; n]` is: a `Vec` is appended to.
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> RecvFrom<'_, B> {
        RecvFrom::new(&self.shared, buf, false)
    }

    /// As [`recv_from`](Self::recv_from), without the sender: for connected sockets.
    ///
    /// # Errors
    /// As there.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Recv<'_, B> {
        Recv::new(&self.shared, buf, false)
    }

    /// As [`recv_from`](Self::recv_from), and says how long the datagram was.
    ///
    /// ```
    /// use ringwork::net::UdpSocket;
    ///
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// let (one, other) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// one.send_to("hello", other.local_addr()?).await.0?;
    /// let (datagram, buf) = other.recv_datagram([0u8; 3]).await;
    /// let datagram = datagram?;
    /// assert!(datagram.is_cut());
    /// assert_eq!((datagram.len, datagram.whole, &buf), (3, 5, b"hel"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn recv_datagram<B: IoBufMut>(&self, buf: B) -> RecvDatagram<'_, B> {
        RecvDatagram::new(&self.shared, buf, false)
    }

    /// Waits for a datagram, as receives in their order, and copies it without taking it: the next receive
    /// gets it again.
    ///
    /// # Errors
    /// As [`recv_from`](Self::recv_from).
    pub fn peek_from<B: IoBufMut>(&self, buf: B) -> RecvFrom<'_, B> {
        RecvFrom::new(&self.shared, buf, true)
    }

    /// Sends the buffer as one datagram to an address, and waits while the socket's buffer is full. The
    /// number is that of all its bytes.
    ///
    /// Names are looked up by [`lookup_host`](crate::net::lookup_host). Dropping the future may or may not
    /// take the datagram back.
    ///
    /// # Errors
    /// EMSGSIZE if it is too long for one datagram, EACCES for a broadcast that was not allowed
    /// ([`set_broadcast`](Self::set_broadcast)), ENETUNREACH, …; ECONNREFUSED as [`UdpSocket`] says.
    pub fn send_to<B: IoBuf>(&self, buf: B, to: SocketAddr) -> Send<'_, B> {
        Send::new(&self.shared, buf, Some(to))
    }

    /// As [`send_to`](Self::send_to), to the peer that the socket is connected to.
    ///
    /// # Errors
    /// EDESTADDRREQ if there is none; as there.
    pub fn send<B: IoBuf>(&self, buf: B) -> Send<'_, B> {
        Send::new(&self.shared, buf, None)
    }

    /// Takes a bound std socket over; it is put into blocking mode, in which an op waits also where
    /// it has come to a helper thread (kernel-notes/nonblocking-socket.md).
    ///
    /// # Errors
    /// If the mode cannot be changed. [`io::ErrorKind::InvalidInput`] if it is none of datagrams over IP: std
    /// makes its type of any descriptor.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        let kind = SockRef::from(&socket);
        let is_over_ip = [Domain::IPV4, Domain::IPV6].contains(&kind.domain()?);
        if !is_over_ip || kind.r#type()? != Type::DGRAM {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this is no socket of datagrams over IP",
            ));
        }
        socket.set_nonblocking(false)?;
        Ok(Self::adopt(socket.into()))
    }

    /// The socket as a std socket, if no dropped receive is still in flight and nothing is kept of one; it is
    /// in blocking mode.
    ///
    /// # Errors
    /// Gives the socket back otherwise: receive what there is, or wait a moment.
    pub fn into_std(self) -> Result<std::net::UdpSocket, Self> {
        if !self.shared.turn().is_free() || self.shared.kept().is_some() {
            return Err(self);
        }
        // The duplicate outlives the cell that may just be being freed.
        match self.shared.fd.try_clone() {
            Ok(fd) => Ok(fd.into()),
            Err(_) => Err(self),
        }
    }

    pub(super) fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.fd()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UdpSocket");
        debug.field("fd", &self.as_raw_fd()).field("addr", &self.local_addr().ok());
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.finish()
    }
}
