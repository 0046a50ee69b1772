//! What a client sends, on its way to the upstream, and since when the upstream keeps us waiting.
//!
//! An upstream may answer when it has read everything, however long that takes the client. So its time counts
//! from the last piece that it took; and one that has taken all that there is yet waits for the client.
#![forbid(unsafe_code)]

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use ringwork::time::{Instant, sleep_until};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// Who is to move next, and since when.
#[derive(Clone, Copy, Debug)]
struct Turn {
    is_clients: bool,
    since: Instant,
    /// The client has broken off, or what it sends is not HTTP.
    is_broken: bool,
}

impl Turn {
    fn now(is_clients: bool, is_broken: bool) -> Self {
        Self { is_clients, since: Instant::now(), is_broken }
    }
}

/// The body of a request to the upstream.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    turn: Arc<Mutex<Turn>>,
}

/// Watches one.
pub(crate) struct Watch(Arc<Mutex<Turn>>);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// The client has stopped sending.
    Client,
    /// The upstream has stopped reading, or does not answer.
    Upstream,
}

impl Upload {
    pub(crate) fn new(body: Incoming) -> (Self, Watch) {
        // It is connected to first.
        let turn = Arc::new(Mutex::new(Turn::now(false, false)));
        (Self { body, turn: Arc::clone(&turn) }, Watch(turn))
    }
}

impl Watch {
    fn turn(&self) -> Turn {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the body has failed on the client's side: then that there is no answer is no fault of the
    /// upstream.
    pub(crate) fn is_broken(&self) -> bool {
        self.turn().is_broken
    }

    /// The answer, unless whoever is to move does nothing for so long.
    pub(crate) async fn answer<A>(
        &self,
        patience: Duration,
        answer: impl Future<Output = A>,
    ) -> Result<A, Late> {
        let mut answer = pin!(answer);
        loop {
            let turn = self.turn();
            let mut over = pin!(sleep_until(turn.since + patience));
            let first = poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => over.as_mut().poll(cx).map(|()| None),
            });
            if let Some(answer) = first.await {
                return Ok(answer);
            }
            // Something may have been taken meanwhile.
            let now = self.turn();
            if now.since == turn.since {
                return Err(if now.is_clients { Late::Client } else { Late::Upstream });
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked again and again for the same piece, the client has had its time since the first time.
        if !(turn.is_clients && frame.is_pending()) {
            let is_broken = turn.is_broken || matches!(frame, Poll::Ready(Some(Err(_))));
            *turn = Turn::now(frame.is_pending(), is_broken);
        }
        drop(turn);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwork::runtime::Builder;
    use ringwork::time::sleep;
    use std::future::pending;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Watches an upload that does as `moves` say: who is to move next, after how many seconds.
    fn watched(moves: &[(bool, u64)], answers: bool) -> Result<(), Late> {
        let runtime = Builder::new().start_paused(true).build().unwrap();
        let moves = moves.to_vec();
        runtime.run_main(move || async move {
            let turn = Arc::new(Mutex::new(Turn::now(false, false)));
            let watch = Watch(Arc::clone(&turn));
            watch
                .answer(PATIENCE, async move {
                    for (is_clients, seconds) in moves {
                        sleep(Duration::from_secs(seconds)).await;
                        *turn.lock().unwrap() = Turn::now(is_clients, false);
                    }
                    if !answers {
                        pending::<()>().await;
                    }
                })
                .await
        })
    }

    #[test]
    fn a_long_upload_that_goes_on_is_no_fault_of_the_upstream() {
        assert_eq!(watched(&[(true, 1), (false, 29), (true, 29), (false, 29)], true), Ok(()));
        assert_eq!(watched(&[(false, 20), (true, 20), (false, 20)], false), Err(Late::Upstream));
        assert_eq!(watched(&[], false), Err(Late::Upstream));
    }

    #[test]
    fn a_client_that_stops_sending_is_told_so() {
        assert_eq!(watched(&[(true, 1)], false), Err(Late::Client));
    }
}
