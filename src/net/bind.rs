//! `TcpListener` and how it is bound.
#![forbid(unsafe_code)]

use super::TcpStream;
use super::addr::{ToSocketAddrs, resolve};
use super::beside::Beside;
use super::connect::socket_for;
use super::gate::Gate;
use super::listener::{Accept, Shared};
use super::permit::Permits;
use super::refusals::Hook;
use super::rest::Rest;
use super::waiting::Ticket;
use crate::task::yield_now;
use socket2::{SockAddr, SockRef};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// Connections that may wait in the kernel before they are accepted; the kernel cuts it to
/// `net.core.somaxconn`.
pub(super) const BACKLOG: u32 = 4096;
/// Connections that a drain takes before it lets others run.
const DRAIN_BATCH: usize = 64;

/// How to listen.
///
/// ```
/// use ringwork::net::ListenOptions;
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let listener = ListenOptions::new().backlog(128).max_connections(1000).bind("127.0.0.1:0").await?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `bind`"]
pub struct ListenOptions {
    backlog: u32,
    reuse_port: bool,
    max_connections: Option<usize>,
    on_accept_error: Hook,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ListenOptions {
    /// A backlog of 4,096, one socket per port, no limit of connections.
    pub const fn new() -> Self {
        Self { backlog: BACKLOG, reuse_port: false, max_connections: None, on_accept_error: Hook::NONE }
    }

    /// How many connections may wait in the kernel.
    pub const fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Lets several sockets share the port; the kernel spreads connections over them (`SO_REUSEPORT`,
    /// `socket(7)`).
    pub const fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Accepts no more than this many connections at a time; the rest wait in the kernel, and are reset if
    /// they still do when the listener closes, also at the end of a server. A connection counts until its
    /// socket closes or leaves the runtime (`into_std`, `release`).
    ///
    /// That is of one listener. A server has one for each core, unless it balances by the least loaded:
    /// [`Serve::options`](crate::Serve::options).
    pub const fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = Some(most);
        self
    }

    /// Calls `tell` each time accepting pauses because the system has no room for one more socket: no
    /// descriptor is left (ENFILE, EMFILE), or no memory (ENOBUFS, ENOMEM). Without a limit of connections it
    /// pauses as well, with EMFILE, after each connection that leaves fewer than 16 descriptors to the rest
    /// of the process. Clients wait in the kernel meanwhile, and accepting is tried again after 50 ms, so it
    /// may be called twenty times a second by each listener, for as long as that lasts. That a
    /// limit of connections is reached is not told. Clones share it. It is called in the task that accepts
    /// and must not block; a panic in it goes nowhere.
    ///
    /// Without it, the pauses are counted in
    /// [`CoreMetrics::accept_pauses`](crate::CoreMetrics::accept_pauses), and `tracing` gets a warning of the
    /// target `ringwork::accept`, at most every 10 s for each listener.
    ///
    /// ```
    /// use ringwork::net::ListenOptions;
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// let options = ListenOptions::new().on_accept_error(|error| {
    ///     eprintln!("no room for a new connection: {error}; `ulimit -n` raises the limit of open files");
    /// });
    /// let server = ringwork::Serve::new("127.0.0.1:0".parse().unwrap())
    ///     .options(options)
    ///     .start(|stream, _peer| async move { drop(stream.send_all("hello\n").await) })
    ///     .await?;
    /// # assert!(server.stop(std::time::Duration::from_secs(1)).await);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_accept_error(mut self, tell: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        self.on_accept_error = Hook::new(tell);
        self
    }

    /// Binds the first of the addresses that can be bound.
    ///
    /// # Errors
    /// The last address's error: EADDRINUSE, EACCES, …
    pub async fn bind(&self, addresses: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let mut last = None;
        for address in resolve(addresses.lookup()).await? {
            match self.bind_now(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a lookup never succeeds with no address"))
    }

    /// Binds an address that needs no lookup.
    ///
    /// # Errors
    /// As [`ListenOptions::bind`].
    pub(crate) fn bind_now(&self, address: SocketAddr) -> io::Result<TcpListener> {
        self.bind_with(address, self.permits(1))
    }

    /// The limit of connections, if there is one, for so many listeners together.
    pub(crate) fn permits(&self, listeners: usize) -> Option<Arc<Permits>> {
        self.max_connections.map(|most| Permits::new(most, listeners))
    }

    /// As [`bind_now`](Self::bind_now), under a limit that other listeners are under, too.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn bind_with(
        &self,
        address: SocketAddr,
        permits: Option<Arc<Permits>>,
    ) -> io::Result<TcpListener> {
        let socket = socket_for(address)?;
        socket.set_reuse_address(true)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&SockAddr::from(address))?;
        socket.listen(self.backlog.min(i32::MAX as u32) as i32)?;
        // Who tries without a place of his own must not have to wait (together.rs).
        socket.set_nonblocking(permits.as_ref().is_some_and(|permits| permits.are_shared()))?;
        Ok(self.adopt(OwnedFd::from(socket), permits, true))
    }

    /// Takes a listening std socket over; it is put into blocking mode. Accepts wait in either one
    /// (kernel-notes/nonblocking-socket.md).
    ///
    /// # Errors
    /// If the mode cannot be changed.
    pub fn from_std(&self, listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(false)?;
        Ok(self.adopt(listener.into(), self.permits(1), false))
    }

    fn adopt(&self, fd: OwnedFd, permits: Option<Arc<Permits>>, ours: bool) -> TcpListener {
        TcpListener { shared: Arc::new(Shared::new(fd, permits, self.on_accept_error.clone(), ours)) }
    }
}

/// A socket that accepts TCP connections.
///
/// `Send + Sync`; several tasks may accept from one. Dropping it cancels the accept in flight and closes the
/// socket; connections that were accepted and not claimed are closed, those in the kernel's backlog are
/// reset. The port is free at once, and a child that was forked with the socket accepts no more. Not so if
/// somebody may have another descriptor of it, because it was adopted or its own was shown (`as_fd`,
/// `as_raw_fd`): it then goes on listening for them. What an accept in flight takes before it is cancelled, a
/// moment later, is closed all the same.
pub struct TcpListener {
    shared: Arc<Shared>,
}

impl TcpListener {
    /// Binds with the default options.
    ///
    /// # Errors
    /// EADDRINUSE if the port is taken; the kernel's.
    pub async fn bind(addresses: impl ToSocketAddrs) -> io::Result<Self> {
        ListenOptions::new().bind(addresses).await
    }

    /// Takes a listening std socket over, with the default options. See [`ListenOptions::from_std`].
    ///
    /// ```
    /// use ringwork::net::{TcpListener, TcpStream};
    ///
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::from_std(std::net::TcpListener::bind("127.0.0.1:0")?)?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(listener.accept().await?.1, client.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        ListenOptions::new().from_std(listener)
    }

    /// The next connection and its peer's address.
    ///
    /// Cancel-safe: a connection that was accepted for a dropped future goes to the next accept. When the
    /// process runs out of descriptors, accepting pauses and goes on; that is not an error, but may be told
    /// ([`ListenOptions::on_accept_error`]).
    ///
    /// # Errors
    /// The socket's own; a connection that died before it was accepted is skipped.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let stream = self.accept_stream().await?;
            // The peer may be gone already: then there is nobody to serve.
            if let Ok(peer) = stream.peer_addr() {
                return Ok((stream, peer));
            }
        }
    }

    /// The next connection, without asking the kernel for its peer.
    pub fn accept_stream(&self) -> Accept<'_> {
        Accept::new(&self.shared)
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket().local_addr()?;
        address.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Connections of this listener that are open now, if it has a limit.
    pub fn connections(&self) -> Option<usize> {
        self.shared.permits.as_ref().map(|permits| permits.live())
    }

    /// The socket, for options and questions of our own.
    pub(crate) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.shared.fd)
    }

    /// A hold on the listener for cores that accept from it while its own is stuck.
    pub(crate) fn beside(&self) -> Beside {
        Beside(Arc::clone(&self.shared))
    }

    /// Takes what the kernel has already accepted, as far as the limit of connections and the descriptors
    /// have room for it, so that closing the listener resets nobody else. Ends the accept in flight first.
    pub(crate) async fn drain(&self) -> io::Result<Vec<TcpStream>> {
        let mut ticket = Ticket::default();
        poll_fn(|cx| self.shared.poll_disarmed(&mut ticket, cx)).await;
        let (mut gate, mut streams) = (Gate::default(), Vec::new());
        // Under a limit each has its permit.
        while let Some(accepted) = self.shared.take_queued() {
            streams.push(gate.admit(accepted));
        }
        let mut rest = Rest::of(&self.shared)?;
        while let Some(stream) = rest.next(&self.shared, &mut gate) {
            streams.push(stream);
            if streams.len().is_multiple_of(DRAIN_BATCH) {
                yield_now().await;
            }
        }
        Ok(streams)
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.show()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.show().as_raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("fd", &self.shared.fd.as_raw_fd())
            .field("addr", &self.local_addr().ok())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use std::net::TcpStream as Std;

    #[test]
    fn a_drain_takes_all_that_a_full_backlog_holds() {
        // The kernel takes one more than the backlog.
        const FULL: usize = BACKLOG as usize + 1;
        let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let (_, files) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        if somaxconn.trim().parse::<u32>().unwrap() < BACKLOG || files < 3 * FULL as u64 {
            println!("not here: somaxconn is {}, {files} files may be open", somaxconn.trim());
            return;
        }
        setrlimit(Resource::RLIMIT_NOFILE, files, files).unwrap();
        let runtime = crate::runtime::Builder::new().cores(1).build().expect("a runtime starts");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..FULL).map(|_| Std::connect(address).unwrap()).collect();
        assert_eq!(listener.beside().waiting(), FULL);
        let streams = runtime.block_on(listener.drain()).unwrap();
        assert_eq!(streams.len(), clients.len());
    }
}
