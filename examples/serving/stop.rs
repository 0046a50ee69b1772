//! How a signal ends a server.
//!
//! Owns the listening for SIGINT and SIGTERM. What is done when they come is the program's.

use super::{cannot, complain};
use futures_util::future::{Either, select};
use ringwork::signal::Signal;
use std::pin::pin;

/// SIGINT and SIGTERM, listened for.
pub struct Stop {
    program: &'static str,
    signals: Signal,
}

impl Stop {
    /// Listens from here on: make it before the server says that it is there.
    ///
    /// # Errors
    /// One line for stderr.
    pub fn new(program: &'static str) -> Result<Self, String> {
        let signals = Signal::new(&[libc::SIGINT, libc::SIGTERM]);
        signals.map(|signals| Self { program, signals }).map_err(|error| cannot("listen for signals", &error))
    }

    /// Waits until somebody wants the server to end, and says that it is ending and how to hurry it.
    ///
    /// # Errors
    /// One line for stderr.
    pub async fn asked(&self) -> Result<(), String> {
        self.signals.recv().await.map_err(|error| format!("cannot wait for signals: {error}"))?;
        complain(self.program, "stopping once clients are done; a second signal stops it at once");
        Ok(())
    }

    /// Waits for the orderly end. `None` if somebody asks once more and will not wait for it, which is said.
    pub async fn or_at_once<T>(&self, orderly: impl Future<Output = T>) -> Option<T> {
        match select(pin!(orderly), pin!(self.signals.recv())).await {
            Either::Left((ended, _)) => Some(ended),
            // Without signals nobody can ask.
            Either::Right((Err(_), orderly)) => Some(orderly.await),
            Either::Right((Ok(()), _)) => {
                complain(self.program, "stopping at once: whoever is still connected is cut off");
                None
            }
        }
    }
}
