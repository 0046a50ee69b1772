//! `TcpStream`.
#![forbid(unsafe_code)]

use super::addr::{ToSocketAddrs, resolve};
use super::connect::connect;
use super::file;
use super::poll_write;
use super::receive::{Recv, RecvPooled};
use super::send::{Send, SendAll, SendVectored};
use super::shared::{Handle, Shared};
use super::split::{OwnedRecvHalf, OwnedSendHalf, RecvHalf, SendHalf};
use super::turn::SendTurn;
use crate::buf::{IoBuf, IoBufMut, Slice};
use crate::io::FileSource;
use socket2::SockRef;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A TCP connection.
///
/// `Send + Sync`; every method takes `&self`, so one task may receive while another sends. Each direction is
/// ordered: a second receiver waits behind the first, a second sender behind the first. Buffers are owned:
/// they move into the call and come back with the result.
///
/// Dropping a receive loses no byte. Dropping a send does not stop it: the message leaves whole. Dropping the
/// last handle cancels what is in flight and closes the socket.
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
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    handle: Handle,
}

impl TcpStream {
    pub(crate) fn from_handle(handle: Handle) -> Self {
        Self { handle }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.handle.shared()
    }

    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

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

    /// Receives once, behind what the buffer holds; `Ok(0)` is the end of the stream (or a buffer without
    /// room).
    ///
    /// Bytes that a pooled receive has read ahead come first. If the future is dropped, bytes that had
    /// arrived stay with the stream.
    ///
    /// # Errors
    /// The kernel's, for example ECONNRESET; each is reported once.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Recv<'_, B> {
        Recv::new(self.shared(), buf)
    }

    /// Receives until the buffer is full.
    ///
    /// Not cancel-safe: bytes received before the future is dropped are gone with the buffer.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the stream ends before; as [`TcpStream::recv`].
    pub async fn recv_exact<B: IoBufMut>(&self, buf: B) -> (io::Result<()>, B) {
        let begin = buf.fill_from();
        let end = buf.capacity();
        let (mut buf, mut at) = (buf, begin);
        while at < end {
            let (received, part): (io::Result<usize>, Slice<B>) = self.recv(buf.slice_mut(at..end)).await;
            buf = part.into_inner();
            match received {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
                Ok(n) => at += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Receives into a buffer the runtime picks when data is there; an empty one is the end of the stream.
    ///
    /// An idle connection that waits here holds no buffer. The buffer can be sent as it is.
    ///
    /// # Errors
    /// As [`TcpStream::recv`].
    pub fn recv_pooled(&self) -> RecvPooled<'_> {
        RecvPooled::new(self.shared())
    }

    /// Sends the whole buffer as one message of the lane; the number is short only if an error or a cancel
    /// cut it.
    ///
    /// # Errors
    /// The kernel's, for example EPIPE or ECONNRESET. SIGPIPE is not raised.
    pub fn send<B: IoBuf>(&self, buf: B) -> Send<'_, B> {
        Send::new(self.shared(), buf)
    }

    /// Sends the whole buffer or fails.
    ///
    /// # Errors
    /// [`io::ErrorKind::WriteZero`] if only a part could be sent; as [`TcpStream::send`].
    pub fn send_all<B: IoBuf>(&self, buf: B) -> SendAll<'_, B> {
        SendAll::new(self.shared(), buf)
    }

    /// Sends several buffers as one message (at most 1,024 of them in one call).
    ///
    /// # Errors
    /// As [`TcpStream::send`].
    pub fn send_vectored<B: IoBuf>(&self, bufs: Vec<B>) -> SendVectored<'_, B> {
        SendVectored::new(self.shared(), bufs)
    }

    /// Sends `len` bytes of a file from `offset`; the number is short if the file ends before.
    ///
    /// Other sends wait until all of it is out. Dropping the future stops it within a piece; how much was
    /// sent is then unknown to the caller.
    ///
    /// # Errors
    /// The file's and the socket's.
    pub async fn send_file(&self, file: &impl FileSource, offset: u64, len: u64) -> io::Result<u64> {
        file::send_file(self.shared(), file.descriptor(), offset, len).await
    }

    /// Closes the send direction behind all sends before it; the peer reads the end of the stream.
    ///
    /// # Errors
    /// ENOTCONN if the connection is gone.
    pub async fn shutdown_write(&self) -> io::Result<()> {
        let _turn = SendTurn::take(self.shared()).await;
        self.socket().shutdown(Shutdown::Write)
    }

    /// Two halves that borrow the stream.
    pub fn split(&self) -> (RecvHalf<'_>, SendHalf<'_>) {
        (RecvHalf::new(self), SendHalf::new(self))
    }

    /// Two halves that own the stream; dropping the send half closes the send direction.
    pub fn into_split(self) -> (OwnedRecvHalf, OwnedSendHalf) {
        let other = Self { handle: self.handle.clone() };
        (OwnedRecvHalf::new(self), OwnedSendHalf::new(other))
    }

    /// Whether the stream may receive ahead of what is asked for (the default).
    ///
    /// With `false`, receives are one-shot and take no more than the buffer given has room for: for
    /// handshakes, protocol upgrades and handing the socket on. Bytes already read ahead still come first.
    pub fn read_ahead(&self, ahead: bool) {
        self.shared().recv().set_one_shot_only(!ahead);
    }

    /// Takes the socket out of the runtime: ends the receive in flight, waits for its final completion and
    /// for sends before this call, and hands over the descriptor and the bytes received and not read.
    ///
    /// # Errors
    /// - What became of bytes written through the traits of [`compat`](crate::compat), if no call was told.
    ///   The connection is closed then.
    /// - EMFILE if other handles keep the descriptor in use and it cannot be duplicated.
    pub async fn release(self) -> io::Result<(OwnedFd, Vec<u8>)> {
        let shared = Arc::clone(self.shared());
        let turn = SendTurn::take(&shared).await;
        poll_fn(|cx| {
            let (disarmed, replaced) = shared.recv().poll_disarmed(cx.waker());
            drop(replaced);
            if disarmed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let failure = poll_write::take_failure(&shared);
        drop(turn);
        if let Some(failure) = failure {
            return Err(failure);
        }
        let unread = shared.recv().unread();
        drop(self);
        let fd = match shared.try_into_fd() {
            Ok(fd) => fd,
            // A cell that is just being freed still holds the stream.
            Err(shared) => shared.duplicate()?,
        };
        Ok((fd, unread))
    }

    /// The socket as a std stream, if nothing is in flight, armed, unread or untold; it is in blocking mode.
    ///
    /// # Errors
    /// Gives the stream back otherwise: use [`TcpStream::release`].
    pub fn into_std(self) -> Result<std::net::TcpStream, Self> {
        let shared = Arc::clone(self.shared());
        let is_settled = shared.send_turn.is_free() && !poll_write::is_unsettled(&shared);
        if !self.handle.is_only() || !shared.recv().is_idle() || !is_settled {
            return Err(self);
        }
        // The duplicate outlives the cell that may just be being freed.
        match shared.duplicate() {
            Ok(fd) => Ok(fd.into()),
            Err(_) => Err(self),
        }
    }

    /// Takes a connected std stream over; it is put into blocking mode, which ring ops need.
    ///
    /// # Errors
    /// If the mode cannot be changed.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self::from_handle(Handle::new(stream.into(), None)))
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

    /// What a close does with unsent bytes (`SO_LINGER`, `socket(7)`); zero sends a reset.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket().set_linger(linger)
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

    /// The time to live of sent packets.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket().set_ttl_v4(ttl)
    }

    /// The time to live of sent packets; see [`TcpStream::set_ttl`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket().ttl_v4()
    }

    /// The error pending on the socket, which is cleared (`SO_ERROR`).
    ///
    /// # Errors
    /// The kernel's.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared().as_fd()
    }
}

impl AsRawFd for TcpStream {
    /// The number, for options and diagnostics. Reading or writing it behind the runtime's back breaks the
    /// order of the stream; see [`TcpStream::release`].
    fn as_raw_fd(&self) -> RawFd {
        self.shared().fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        debug.field("fd", &self.as_raw_fd());
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.finish()
    }
}
