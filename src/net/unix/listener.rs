//! `UnixListener`.
#![forbid(unsafe_code)]

use super::addr::{from_kernel, of_path, to_kernel};
use super::stream::socket;
use super::{SocketAddr, UnixStream};
use crate::net::bind::BACKLOG;
use crate::net::listener::{Accept, Shared};
use crate::net::refusals::Hook;
use socket2::{SockAddr, SockRef};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

/// A Unix socket that accepts connections.
///
/// `Send + Sync`; several tasks may accept from one. Dropping it cancels the accept in flight and closes the
/// socket: nobody connects to it any more. Connections that were accepted and not claimed are closed, and so
/// are those in the kernel's backlog. A child that was forked with the socket accepts no more. Not so if
/// somebody may have another descriptor of it, because it was adopted or its own was shown (`as_fd`,
/// `as_raw_fd`): it then goes on listening for them, but for what an accept in flight takes before it is
/// cancelled, a moment later.
///
/// Its path stays in the file system when it is dropped, and a path that is there cannot be bound again:
/// remove it before or after. An abstract name is free when the accept in flight has ended, a moment later.
///
/// ```
/// use ringwork::net::{UnixListener, UnixStream};
///
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("ringwork-doc-listener-{}", std::process::id()));
/// # let _ = std::fs::remove_file(&path);
/// let listener = UnixListener::bind(&path)?;
/// let client = UnixStream::connect(&path).await?;
/// let (server, peer) = listener.accept().await?;
/// assert!(peer.is_unnamed());
/// assert_eq!(server.local_addr()?.as_pathname(), Some(&*path));
/// # drop(client);
/// # std::fs::remove_file(&path)
/// # }
/// ```
pub struct UnixListener {
    shared: Arc<Shared>,
}

impl UnixListener {
    /// Binds a path, which must not be there yet, and listens; the backlog is 4,096, cut by the kernel to
    /// `net.core.somaxconn`. A path that begins with a zero byte is an abstract name (`unix(7)`).
    ///
    /// # Errors
    /// EADDRINUSE if the path is there, ENOENT, EACCES; [`io::ErrorKind::InvalidInput`] for a path that is
    /// empty or longer than 107 bytes.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::bind_at(&of_path(path.as_ref())?)
    }

    /// Binds an address, for example an abstract name; see
    /// [`UnixStream::connect_addr`] for an example.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        Self::bind_at(&to_kernel(address)?)
    }

    fn bind_at(address: &SockAddr) -> io::Result<Self> {
        let socket = socket()?;
        socket.bind(address)?;
        socket.listen(BACKLOG as i32)?;
        Ok(Self::adopt(socket.into(), true))
    }

    fn adopt(fd: OwnedFd, ours: bool) -> Self {
        Self { shared: Arc::new(Shared::new(fd, None, Hook::NONE, ours)) }
    }

    /// Takes a listening std socket over; it is put into blocking mode. Accepts wait in either one
    /// (kernel-notes/nonblocking-socket.md).
    ///
    /// # Errors
    /// If the mode cannot be changed.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(false)?;
        Ok(Self::adopt(listener.into(), false))
    }

    /// The next connection and its peer's address, as of [`UnixStream::peer_addr`].
    ///
    /// Cancel-safe: a connection that was accepted for a dropped future goes to the next accept. When the
    /// process runs out of descriptors, accepting pauses and goes on; that is not an error.
    ///
    /// # Errors
    /// The socket's own.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let stream = self.accept_stream().await?;
        let peer = stream.peer_addr()?;
        Ok((stream, peer))
    }

    /// The next connection, without asking the kernel for its peer, which mostly has no name.
    pub fn accept_stream(&self) -> Accept<'_, UnixStream> {
        Accept::new(&self.shared)
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        from_kernel(&SockRef::from(&self.shared.fd).local_addr()?)
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.show()
    }
}

impl AsRawFd for UnixListener {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.show().as_raw_fd()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixListener")
            .field("fd", &self.shared.fd.as_raw_fd())
            .field("addr", &self.local_addr().ok())
            .finish()
    }
}
