//! The stream of a connection, with notes on what has been written and not flushed.
//!
//! Owns nothing but the notes: every call goes to the stream that the handshake made.
#![forbid(unsafe_code)]

use super::progress::Progress;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a server speaks HTTP on: the stream, behind a wrapper that notes whether the client takes what it is
/// sent. Who has upgraded a connection can get at the stream.
///
/// ```
/// use hyper::upgrade::Upgraded;
/// use hyper_util::server::conn::auto::upgrade::downcast;
/// use ringwork::compat::tower::ServedIo;
/// use ringwork::net::TcpStream;
///
/// /// The stream, and what was read and belongs to the new protocol.
/// fn stream(upgraded: Upgraded) -> Option<(TcpStream, Vec<u8>)> {
///     let parts = downcast::<ServedIo<TcpStream>>(upgraded).ok()?;
///     Some((parts.io.into_inner(), parts.read_buf.to_vec()))
/// }
/// ```
pub struct ServedIo<Io> {
    io: Io,
    progress: Arc<Progress>,
}

impl<Io> ServedIo<Io> {
    pub(super) fn new(io: Io, progress: Arc<Progress>) -> Self {
        Self { io, progress }
    }

    /// The stream itself.
    #[must_use]
    pub fn into_inner(self) -> Io {
        self.io
    }
}

impl<Io: Read + Unpin> Read for ServedIo<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<Io: Write + Unpin> Write for ServedIo<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.progress.writes();
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.progress.writes();
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() {
            self.progress.has_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.shuts_down();
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<Io: fmt::Debug> fmt::Debug for ServedIo<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServedIo").field(&self.io).finish()
    }
}
