//! `UnixStream`: connecting, pairs, addresses and credentials. The calls that all streams have are in
//! `net/connected.rs`.
//!
//! A connect is no op: it is done on the spot or finds the backlog full, and of the latter the kernel tells
//! no end but by blocking. An op would wait on a helper thread of the ring's, and the few that there are
//! would soon all wait for one listener; so it is tried again by the clock.
#![forbid(unsafe_code)]

use super::addr::{from_kernel, of_path, to_kernel};
use super::{SocketAddr, UCred};
use crate::base::coop;
use crate::buf::{IoBuf, IoBufMut};
use crate::io::FileSource;
use crate::net::connected::stream_calls;
use crate::net::ops::assert_reach;
use crate::net::receive::{Recv, RecvPooled};
use crate::net::send::{Send, SendAll, SendVectored};
use crate::net::shared::Handle;
use crate::net::{Connected, OwnedRecvHalf, OwnedSendHalf, RecvHalf, SendHalf};
use crate::sys::fork;
use crate::time::nap;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

/// A connected Unix stream socket.
///
/// Order, buffers, drops and the shapes of its calls are those of a [`TcpStream`](super::super::TcpStream):
/// `Send + Sync`, every method takes `&self`, dropping a receive loses no byte, dropping a send does not stop
/// it, dropping the last handle cancels what is in flight and closes the socket.
///
/// Two things are different below. There is no reset: if a runtime goes down before the bytes that were
/// written through the traits of `compat` are out, the peer reads the end of the stream
/// behind what it got. And nothing but the peer limits how long such bytes of a dropped stream wait: until it
/// reads them or closes, or the runtime goes down.
///
/// ```
/// use ringwork::net::{UnixListener, UnixStream};
///
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("ringwork-doc-stream-{}", std::process::id()));
/// # let _ = std::fs::remove_file(&path);
/// let listener = UnixListener::bind(&path)?;
/// let client = UnixStream::connect(&path).await?;
/// let (server, _) = listener.accept().await?;
/// client.send_all("hello").await.0?;
/// let (n, buf) = server.recv(Vec::with_capacity(64)).await;
/// assert_eq!((n?, &buf[..]), (5, &b"hello"[..]));
/// # std::fs::remove_file(&path)
/// # }
/// ```
pub struct UnixStream {
    handle: Handle,
}

stream_calls!(UnixStream, std::os::unix::net::UnixStream);

/// How long a connect that finds a full backlog waits before it tries again: at first, and at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A blocking-mode, close-on-exec stream socket (net/connect.rs says why blocking).
pub(super) fn socket() -> io::Result<Socket> {
    Socket::new_raw(Domain::UNIX, Type::STREAM.cloexec(), None)
}

/// Connects as soon as the backlog has room; the socket does not block.
async fn connect_once_there_is_room(socket: &Socket, address: &SockAddr) -> io::Result<()> {
    let mut pause = SHORTEST_PAUSE;
    while let Err(error) = socket.connect(address) {
        match error.kind() {
            io::ErrorKind::WouldBlock => nap(pause).await?,
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

impl UnixStream {
    /// Connects to the socket at a path; one that begins with a zero byte is an abstract name (`unix(7)`).
    ///
    /// While the backlog of the listener is full it is tried again, at least every 20 ms. Dropping the future
    /// abandons the attempt and closes its socket.
    ///
    /// # Errors
    /// ENOENT, ECONNREFUSED if nobody listens there, EACCES; [`io::ErrorKind::InvalidInput`] for a path that
    /// is empty or longer than 107 bytes.
    ///
    /// # Panics
    /// On a thread that is no core and has entered no runtime, also where it need not wait.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::connect_at(of_path(path.as_ref())?).await
    }

    /// Connects to an address, for example to an abstract name.
    ///
    /// ```
    /// use ringwork::net::{UnixListener, UnixStream, unix::SocketAddr};
    /// use std::os::linux::net::SocketAddrExt;
    ///
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// let address = SocketAddr::from_abstract_name(format!("ringwork-doc-{}", std::process::id()))?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let client = UnixStream::connect_addr(&address).await?;
    /// assert_eq!(client.peer_addr()?.as_abstract_name(), address.as_abstract_name());
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    /// As there.
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        Self::connect_at(to_kernel(address)?).await
    }

    async fn connect_at(address: SockAddr) -> io::Result<Self> {
        assert_reach();
        let forks = fork::count();
        let socket = socket()?;
        socket.set_nonblocking(true)?;
        let connected = connect_once_there_is_room(&socket, &address).await;
        // Who tries until somebody listens gives way to who is to.
        coop::consume_budget().await;
        connected?;
        socket.set_nonblocking(false)?;
        Ok(Self::from_handle(Handle::known_since(forks, socket.into(), None)))
    }

    /// Two streams that are connected to each other and have no name.
    ///
    /// ```
    /// use ringwork::net::UnixStream;
    ///
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// let (one, other) = UnixStream::pair()?;
    /// one.send_all("hello").await.0?;
    /// assert_eq!(&other.recv_pooled().await?[..], b"hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// EMFILE; the kernel's.
    pub fn pair() -> io::Result<(Self, Self)> {
        let forks = fork::count();
        let (one, other) = std::os::unix::net::UnixStream::pair()?;
        Ok([one, other].map(|end| Self::from_handle(Handle::known_since(forks, end.into(), None))).into())
    }

    /// Who is at the other end, as it was when the connection was made; see [`UCred`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of_peer(self.shared().fd())
    }

    /// The address of the peer. That of one that connected is mostly unnamed; one that is bound to a path of
    /// 108 bytes, which [`SocketAddr`] cannot hold, counts as unnamed.
    ///
    /// # Errors
    /// ENOTCONN if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        from_kernel(&self.socket().peer_addr()?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        from_kernel(&self.socket().local_addr()?)
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixStream");
        debug.field("fd", &self.shared().fd());
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.finish()
    }
}
