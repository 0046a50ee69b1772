//! `TlsStream`.
#![forbid(unsafe_code)]

use super::error;
use super::parts::{Parts, take_apart};
use super::recv::{Recv, RecvPooled};
use super::send::{Send, SendAll, SendVectored, send_close};
use super::session::Session;
use super::state::Inner;
use crate::buf::{self, IoBuf, IoBufMut};
use crate::net::{self, TcpStream};
use crate::sys::fork;
use socket2::SockRef;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An encrypted TCP connection, made by [`Acceptor::accept`](super::Acceptor::accept) or
/// [`Connector::connect`](super::Connector::connect).
///
/// Its calls to receive, `send`, `send_all`, `send_vectored` and `shutdown_write` are as those of
/// [`TcpStream`]: `Send + Sync`, `&self`, owned buffers, each direction ordered and one task receiving while
/// another sends, which share it in an [`Arc`]. `send_off`, `peek`, `forward_to`, `send_file` and halves it
/// does not have. Dropping a receive loses no byte. Dropping a send that has begun
/// does not stop it: the message leaves whole. Dropping the stream cancels what is in flight, but for what
/// the traits of `compat` have taken, and closes the socket without a word, which the peer
/// takes for truncation: end with [`TlsStream::shutdown_write`].
///
/// ```no_run
/// use ringwork::tls::TlsStream;
///
/// # async fn ask(stream: &TlsStream) -> std::io::Result<()> {
/// stream.send_all("question\n").await.0?;
/// let (n, answer) = stream.recv(Vec::with_capacity(4096)).await;
/// println!("{} bytes: {answer:?}", n?);
/// stream.shutdown_write().await
/// # }
/// ```
pub struct TlsStream {
    inner: Arc<Inner>,
}

impl TlsStream {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// For those who poll it (poll.rs) and who take it apart (parts.rs).
    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Receives once, behind what the buffer holds; `Ok(0)` is the end that the peer announced (or a buffer
    /// of no capacity). A `Vec` is appended to, so give one `with_capacity`; an array is overwritten.
    ///
    /// Gives what is decrypted and waits only if that is nothing. If the future is dropped, what had
    /// arrived stays with the stream.
    ///
    /// # Errors
    /// - [`io::ErrorKind::UnexpectedEof`] if the connection ends without the peer having announced it: what
    ///   was received may be only the beginning.
    /// - [`io::ErrorKind::InvalidData`] with a `rustls::Error` in it if the peer breaks the protocol or
    ///   sends an alert, which the error names. Both of these come again with every receive.
    /// - The socket's, for example ECONNRESET; each is reported once.
    /// - [`io::ErrorKind::InvalidInput`] if the buffer is full, as `vec![0; n]` is.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Recv<'_, B> {
        Recv::new(&self.inner, buf)
    }

    /// Receives until the buffer is full.
    ///
    /// Not cancel-safe: bytes received before the future is dropped are gone with the buffer.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] also if the stream ends before, announced or not; as
    /// [`TlsStream::recv`].
    pub async fn recv_exact<B: IoBufMut>(&self, buf: B) -> (io::Result<()>, B) {
        if let Some(answer) = buf::without_room(&buf) {
            return (answer.map(drop), buf);
        }
        let (mut at, end) = (buf.fill_from(), buf.capacity());
        let mut buf = buf;
        while at < end {
            let (received, part) = self.recv(buf.slice_mut(at..end)).await;
            buf = part.into_inner();
            match received {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
                Ok(n) => at += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Receives into a buffer the runtime picks when data is there; an empty one is the end that the peer
    /// announced.
    ///
    /// An idle connection that waits here holds no buffer. The plaintext is in the buffer its ciphertext
    /// came in, unless it did not fit beside that of a record begun earlier.
    ///
    /// # Errors
    /// As [`TlsStream::recv`].
    pub fn recv_pooled(&self) -> RecvPooled<'_> {
        RecvPooled::new(&self.inner)
    }

    /// Sends the whole buffer as one message of the lane; the number is its length.
    ///
    /// Dropping the future while it waits for its turn sends nothing; afterwards the message leaves whole.
    /// The rest of a message above 64 KiB goes on in a task of its own then, and only if the runtime ends
    /// before that task is the message cut, after which every send fails.
    ///
    /// # Errors
    /// - [`io::ErrorKind::BrokenPipe`] after [`TlsStream::shutdown_write`], or after a message was cut.
    /// - [`io::ErrorKind::InvalidData`] after a protocol error.
    /// - The socket's. They, too, leave the stream cut.
    pub fn send<B: IoBuf>(&self, buf: B) -> Send<'_, B> {
        Send::new(&self.inner, buf)
    }

    /// Sends the whole buffer or fails.
    ///
    /// # Errors
    /// As [`TlsStream::send`].
    pub fn send_all<B: IoBuf>(&self, buf: B) -> SendAll<'_, B> {
        SendAll::new(&self.inner, buf)
    }

    /// Sends several buffers as one message, of which small ones share a record.
    ///
    /// # Errors
    /// As [`TlsStream::send`].
    pub fn send_vectored<B: IoBuf>(&self, bufs: Vec<B>) -> SendVectored<'_, B> {
        SendVectored::new(&self.inner, bufs)
    }

    /// Announces the end (close_notify) behind all sends before it and closes the send direction of the
    /// socket. Receiving goes on.
    ///
    /// If the future is dropped, call it again: it does what is left to do.
    ///
    /// # Errors
    /// ENOTCONN if the connection is gone; as [`TlsStream::send`].
    pub async fn shutdown_write(&self) -> io::Result<()> {
        send_close(&self.inner).await?;
        self.inner.tcp.shutdown_write().await
    }

    /// Changes the keys for what is sent from now on and asks the peer to change its own. TLS 1.3 does so
    /// by itself before a key has been used too often; call it to bound what a stolen key discloses.
    ///
    /// The message about it goes at once if the send lane is free, else behind what is in flight or with the
    /// next send.
    ///
    /// # Errors
    /// - [`io::ErrorKind::InvalidData`] for TLS 1.2, which has no such message, and after a protocol error.
    /// - [`io::ErrorKind::BrokenPipe`] after [`TlsStream::shutdown_write`], or after a message was cut.
    ///
    /// # Panics
    /// On a thread that is no core and has entered no runtime.
    pub fn update_keys(&self) -> io::Result<()> {
        // Before the keys change: the peer must hear of it.
        net::assert_reach();
        let result = {
            let mut state = self.inner.state();
            state.check_sendable()?;
            state.engine.new_keys().map_err(error::protocol)
        };
        self.inner.send_owed();
        result
    }

    /// What the handshake has agreed on: protocol, peer, version.
    pub fn session(&self) -> &Session {
        &self.inner.session
    }

    /// The connection underneath, for addresses and options. Receiving from it or sending on it breaks the
    /// encrypted stream.
    pub fn tcp(&self) -> &TcpStream {
        &self.inner.tcp
    }

    /// Takes the stream apart between two records, for somebody else to go on with the encryption: kTLS.
    /// See [`Parts`].
    ///
    /// Waits for sends before it and, if the peer is in the middle of a record, for the rest of that.
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// - [`io::ErrorKind::InvalidData`] if the configuration does not allow it
    ///   (`enable_secret_extraction`) or the peer has broken the protocol.
    /// - [`io::ErrorKind::UnexpectedEof`] if the connection ends in the middle of a record.
    /// - [`io::ErrorKind::BrokenPipe`] after [`TlsStream::shutdown_write`], or if a message was cut.
    /// - The socket's.
    pub async fn into_parts(self) -> io::Result<Parts> {
        take_apart(self).await
    }

    /// The stream without its handle, whose drop leaves the socket alone.
    pub(super) fn hand_over(self) -> Arc<Inner> {
        let inner = Arc::clone(&self.inner);
        inner.handed_over.store(true, Ordering::Relaxed);
        inner
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        // A long message that goes on without its future holds the stream too. It ends with the last
        // handle. In a child of fork the connection is the parent's.
        let goes_on = Arc::strong_count(&self.inner) > 1 && !self.inner.handed_over.load(Ordering::Relaxed);
        if goes_on && !fork::is_child() {
            // A connection that is gone already has nothing to close.
            let _ = SockRef::from(&self.inner.tcp).shutdown(Shutdown::Both);
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("tcp", &self.inner.tcp)
            .field("session", &self.inner.session)
            .finish()
    }
}
