//! The handle to a running server.
//!
//! Owns how it is stopped and what it says about itself. It accepts nothing.
#![forbid(unsafe_code)]

use super::state::State;
use crate::task::JoinHandle;
use crate::time::timeout;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A server that serves on every core. Dropping it does not stop it.
#[must_use = "a server goes on until it is stopped; keep it to stop it"]
pub struct Server {
    pub(super) address: SocketAddr,
    pub(super) state: Arc<State>,
    pub(super) loops: Vec<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// The address served.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections that were accepted and whose handlers are not done.
    pub fn connections(&self) -> usize {
        self.state.total()
    }

    /// The same for each core, by where the connections were placed; a task that has moved to an idle core
    /// still counts where its connection was placed.
    pub fn connections_per_core(&self) -> Vec<usize> {
        self.state.connections()
    }

    /// Stops accepting, serves what the kernel had accepted, closes the listeners, and waits until all
    /// handlers are done or `patience` is over. Returns whether all were done.
    ///
    /// What is beyond the limit of connections
    /// ([`max_connections`](crate::net::ListenOptions::max_connections)), or would take the last 16
    /// descriptors, is not served but reset.
    ///
    /// A core that is stuck in a poll is waited for, but its listener does not stay open so long: another
    /// core serves what has come there and closes it, unless the runtime never steals.
    ///
    /// Dropped once it has been polled and before it is done, or out of patience, it leaves the server to end
    /// by itself: no connection is accepted any more, and those that live go on.
    pub async fn stop(mut self, patience: Duration) -> bool {
        timeout(patience, self.ended()).await.is_ok()
    }

    /// Tells the accept loops to end.
    #[cfg(feature = "tower")]
    pub(crate) fn stop_accepting(&self) {
        self.state.stop();
    }

    /// Tells the accept loops to end and waits until they and all handlers have. May be asked again when it
    /// was dropped before it was done.
    pub(crate) async fn ended(&mut self) {
        self.state.stop();
        while let Some(accepting) = self.loops.last_mut() {
            let _ = accepting.await;
            self.loops.pop();
        }
        self.state.idle().await;
    }

    /// Waits until the accept loops have ended, which they do only if their sockets break or the runtime goes
    /// down.
    #[cfg(feature = "tower")]
    pub(crate) async fn accepting(&mut self) -> io::Result<()> {
        while let Some(accepting) = self.loops.last_mut() {
            let ended = accepting.await;
            self.loops.pop();
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("connections", &self.connections())
            .finish()
    }
}
