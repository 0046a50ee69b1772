//! The handle to a running HTTP server.
//!
//! Owns the order of its end: no more connections, the requests in flight, the deadline, the cut.
#![forbid(unsafe_code)]

use super::ending::{Ending, Stage};
use crate::time::timeout;
use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long connections that were told to go at once are waited for. Only one that is being polled just then,
/// by a handler that blocks its core, takes any time.
const CUT_TIME: Duration = Duration::from_secs(1);

/// An HTTP server on every core. Dropping it does not stop it.
///
/// ```
/// use ringwork::compat::tower::Server;
/// use std::time::Duration;
///
/// async fn restart(server: Server) {
///     let cut = server.stop(Duration::from_secs(10)).await;
///     println!("{cut} connections did not end in time");
/// }
/// ```
#[must_use = "a server goes on until it is stopped; keep it to stop it"]
pub struct Server {
    server: crate::serve::Server,
    ending: Arc<Ending>,
}

impl Server {
    pub(super) fn new(server: crate::serve::Server, ending: Arc<Ending>) -> Self {
        Self { server, ending }
    }

    /// The address served.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Connections that speak HTTP now, or are about to. One of HTTP/1 that was upgraded is not among them.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// The same for each core, by where the connections were placed.
    pub fn connections_per_core(&self) -> Vec<usize> {
        self.server.connections_per_core()
    }

    /// Stops accepting, lets the requests in flight end and closes connections that have none; what has not
    /// ended when `patience` is over is cut. Returns how many connections that were: 0 if all requests have
    /// been answered.
    ///
    /// HTTP/1 clients read `connection: close` in their last answer, HTTP/2 clients get a GOAWAY. Connections
    /// that the kernel had accepted before are served too, as far as [`crate::Server::stop`] takes them, and
    /// [`handshake`](super::Serve::handshake)s under way are waited for. A connection whose handler blocks
    /// its core cannot be cut: it counts, and is left behind after a second. An upgraded connection of HTTP/1
    /// belongs to whoever upgraded it: it is neither waited for nor cut. An upgraded stream of HTTP/2 is part
    /// of its connection: it is waited for, and is cut with it.
    ///
    /// Dropped once it has been polled and before it is done, it leaves the server to end by itself: no
    /// connection is accepted, requests in flight are answered, nothing is cut.
    pub async fn stop(mut self, patience: Duration) -> usize {
        self.tell(Stage::End);
        if timeout(patience, self.server.ended()).await.is_ok() {
            return 0;
        }
        self.tell(Stage::Cut);
        match timeout(CUT_TIME, self.server.ended()).await {
            Ok(()) => self.ending.cut(),
            Err(_) => self.ending.cut() + self.connections(),
        }
    }

    /// Serves until the sockets break. Dropped before, it stops accepting.
    pub(super) async fn run(self) -> io::Result<()> {
        Running(Some(self)).until(pin!(pending())).await
    }

    /// Serves until `signal` is ready or the sockets break, then stops. Dropped before, it stops accepting.
    pub(super) async fn run_until(
        self,
        signal: Pin<&mut impl Future<Output = ()>>,
        patience: Duration,
    ) -> io::Result<usize> {
        let mut running = Running(Some(self));
        running.until(signal).await?;
        match running.0.take() {
            Some(server) => Ok(server.stop(patience).await),
            None => Ok(0),
        }
    }

    fn tell(&self, stage: Stage) {
        // In this order: who is refused knows that what others send from now on is answered as their last.
        self.ending.tell(stage);
        self.server.stop_accepting();
    }
}

/// A server that ends when nobody waits for it.
struct Running(Option<Server>);

impl Running {
    async fn until(&mut self, mut signal: Pin<&mut impl Future<Output = ()>>) -> io::Result<()> {
        let Some(Server { server, .. }) = &mut self.0 else { return Ok(()) };
        let mut accepting = pin!(server.accepting());
        poll_fn(|cx| match signal.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => accepting.as_mut().poll(cx),
        })
        .await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = &self.0 {
            server.tell(Stage::End);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)
    }
}
