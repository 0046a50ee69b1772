//! How a signal ends a server.
//!
//! Owns the listening for SIGINT and SIGTERM, and what counts as asking once more. What is done then is the
//! program's.

use super::{cannot, complain};
use futures_util::future::{Either, select};
use ringwork::signal::Signal;
use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

/// For so long the same signal once more is the same request: who ends a program by a wrapper may send one to
/// the program and one to its group, as `timeout(1)` does.
const SAME_REQUEST: Duration = Duration::from_millis(200);

/// A signal that has come.
#[derive(Clone, Copy, Debug)]
struct Asked {
    signal: i32,
    at: Instant,
}

impl Asked {
    /// Whether what comes later asks for no more than this.
    fn is_repeated_by(self, later: Asked) -> bool {
        self.signal == later.signal && later.at.saturating_duration_since(self.at) < SAME_REQUEST
    }
}

/// SIGINT and SIGTERM, listened for.
pub struct Stop {
    program: &'static str,
    interrupt: Signal,
    terminate: Signal,
    first: Cell<Option<Asked>>,
}

impl Stop {
    /// Listens from here on: make it before the server says that it is there.
    ///
    /// # Errors
    /// One line for stderr.
    pub fn new(program: &'static str) -> Result<Self, String> {
        let listen = |signal| Signal::new(&[signal]).map_err(|error| cannot("listen for signals", &error));
        let (interrupt, terminate) = (listen(libc::SIGINT)?, listen(libc::SIGTERM)?);
        Ok(Self { program, interrupt, terminate, first: Cell::new(None) })
    }

    /// Waits until somebody wants the server to end, and says that it is ending, how long clients have for
    /// what they are at, if there is a limit for that alone, and how to hurry it.
    ///
    /// # Errors
    /// One line for stderr.
    pub async fn asked(&self, grace: Option<Duration>) -> Result<(), String> {
        let asked = self.next().await.map_err(|error| format!("cannot wait for signals: {error}"))?;
        self.first.set(Some(asked));
        let most = grace.map_or_else(String::new, |grace| format!(", after {grace:?} at most"));
        let line = format_args!("stopping once clients are done{most}; a second signal stops it at once");
        complain(self.program, line);
        Ok(())
    }

    /// Waits for the orderly end. `None` if somebody asks once more and will not wait for it, which is said.
    pub async fn or_at_once<T>(&self, orderly: impl Future<Output = T>) -> Option<T> {
        match select(pin!(orderly), pin!(self.asked_again())).await {
            Either::Left((ended, _)) => Some(ended),
            // Without signals nobody can ask.
            Either::Right((Err(_), orderly)) => Some(orderly.await),
            Either::Right((Ok(()), _)) => {
                complain(self.program, "stopping at once: whoever is still connected is cut off");
                None
            }
        }
    }

    async fn asked_again(&self) -> io::Result<()> {
        loop {
            let asked = self.next().await?;
            if !self.first.get().is_some_and(|first| first.is_repeated_by(asked)) {
                return Ok(());
            }
        }
    }

    async fn next(&self) -> io::Result<Asked> {
        let (interrupt, terminate) = (pin!(self.interrupt.recv()), pin!(self.terminate.recv()));
        let (signal, came) = match select(interrupt, terminate).await {
            Either::Left((came, _)) => (libc::SIGINT, came),
            Either::Right((came, _)) => (libc::SIGTERM, came),
        };
        came.map(|()| Asked { signal, at: Instant::now() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_signal_again_is_a_second_request_only_after_a_while() {
        let at = Instant::now();
        let first = Asked { signal: libc::SIGTERM, at };
        let after = |millis| Asked { signal: libc::SIGTERM, at: at + Duration::from_millis(millis) };
        assert!(first.is_repeated_by(after(0)) && first.is_repeated_by(after(199)));
        assert!(!first.is_repeated_by(after(200)) && !first.is_repeated_by(after(60_000)));
    }

    #[test]
    fn another_signal_is_a_second_request_at_once() {
        let at = Instant::now();
        let [first, second] = [libc::SIGTERM, libc::SIGINT].map(|signal| Asked { signal, at });
        assert!(!first.is_repeated_by(second) && !second.is_repeated_by(first));
    }
}
