//! What a client sends, on its way to the upstream, and since when the upstream keeps us waiting.
//!
//! An upstream may answer when it has read everything, however long that takes the client. So its time counts
//! from the last piece that it took; and one that has taken all that there is yet waits for the client. That
//! has its limit behind an early answer, too: the rest of the upload holds both connections.
#![forbid(unsafe_code)]

use crate::download::BoxError;
use bytes::Bytes;
use hyper::Version;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use ringwork::time::{Instant, Sleep, sleep, sleep_until};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Who is to move next, and since when.
#[derive(Clone, Copy, Debug)]
struct Turn {
    is_clients: bool,
    since: Instant,
    /// What ended the body before its end.
    fault: Option<Fault>,
}

/// What a client has done wrong in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has broken off, or what it sends is not HTTP.
    Broken,
    /// It has stopped sending.
    Stalled,
}

impl Turn {
    fn now(is_clients: bool, fault: Option<Fault>) -> Self {
        Self { is_clients, since: Instant::now(), fault }
    }
}

/// The body of a request to the upstream.
pub(crate) struct Upload {
    body: Incoming,
    /// Whether the body says by `is_end_stream` that the client has sent all: one of HTTP/2 has no more
    /// frames and no error, too, where its client has reset the stream with NO_ERROR.
    says_its_end: bool,
    patience: Duration,
    /// There while the client is waited for: until when.
    over: Option<Sleep>,
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
    /// The body of a request of this version, which fails if its next piece takes longer than `patience`.
    pub(crate) fn new(body: Incoming, version: Version, patience: Duration) -> (Self, Watch) {
        // It is connected to first.
        let turn = Arc::new(Mutex::new(Turn::now(false, None)));
        let says_its_end = version == Version::HTTP_2;
        (Self { body, says_its_end, patience, over: None, turn: Arc::clone(&turn) }, Watch(turn))
    }

    /// The next piece; where there is none and must be one, whose fault that is.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, (Fault, BoxError)>>> {
        let Self { body, patience, over, .. } = self;
        let Poll::Ready(piece) = Pin::new(&mut *body).poll_frame(cx) else {
            ready!(Pin::new(over.get_or_insert_with(|| sleep(*patience))).poll(cx));
            return Poll::Ready(Some(Err((Fault::Stalled, "the client sends no more of its body".into()))));
        };
        *over = None;
        Poll::Ready(match piece {
            None if self.says_its_end && !body.is_end_stream() => {
                Some(Err((Fault::Broken, "the client has broken off its body".into())))
            }
            piece => piece.map(|piece| piece.map_err(|error| (Fault::Broken, error.into()))),
        })
    }
}

impl Watch {
    fn turn(&self) -> Turn {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the body has failed on the client's side, and how: then that there is no answer is no fault of
    /// the upstream.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.turn().fault
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
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = self.poll_piece(cx);
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked again and again for the same piece, the client has had its time since the first time.
        if !(turn.is_clients && piece.is_pending()) {
            let fault = match &piece {
                Poll::Ready(Some(Err((fault, _)))) => Some(*fault),
                _ => turn.fault,
            };
            *turn = Turn::now(piece.is_pending(), fault);
        }
        drop(turn);
        piece.map(|piece| piece.map(|piece| piece.map_err(|(_, error)| error)))
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
    use crate::forward::{ANSWER_TIME, Upstream};
    use crate::service::MakeProxy;
    use ringwork::compat::tower::serve;
    use ringwork::net::{TcpListener, TcpStream};
    use ringwork::runtime::Builder;
    use ringwork::time::timeout;
    use std::future::pending;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Watches an upload that does as `moves` say: who is to move next, after how many seconds.
    fn watched(moves: &[(bool, u64)], answers: bool) -> Result<(), Late> {
        let runtime = Builder::new().start_paused(true).build().unwrap();
        let moves = moves.to_vec();
        runtime.run_main(move || async move {
            let turn = Arc::new(Mutex::new(Turn::now(false, None)));
            let watch = Watch(Arc::clone(&turn));
            watch
                .answer(PATIENCE, async move {
                    for (is_clients, seconds) in moves {
                        sleep(Duration::from_secs(seconds)).await;
                        *turn.lock().unwrap() = Turn::now(is_clients, None);
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

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nfirst";

    /// Sends a part of an upload through a proxy, to an upstream that has answered before it reads it, or
    /// that does not answer. Gives what the client reads up to the end of its connection, and after how long
    /// that comes, and the upstream's. By the paused clock.
    fn stalled(answers: bool) -> (String, [Duration; 2]) {
        let runtime = Builder::new().start_paused(true).build().unwrap();
        runtime.run_main(move || async move {
            let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", upstream.local_addr().unwrap());
            let make = MakeProxy::new(Upstream::parse(&url).unwrap(), false);
            let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let proxy = serve(anywhere, make).start().await.unwrap();
            let mut client = TcpStream::connect(proxy.local_addr()).await.unwrap();
            client.write_all(HEAD).await.unwrap();
            let (mut stream, _) = upstream.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"first") {
                asked.push(stream.read_u8().await.unwrap());
            }
            if answers {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
            let begin = Instant::now();
            let ends = ringwork::spawn(async move {
                let mut rest = Vec::new();
                let end = timeout(ANSWER_TIME * 4, stream.read_to_end(&mut rest)).await;
                assert!(end.is_ok(), "the upstream is held");
                assert!(rest.is_empty(), "{rest:?}");
                begin.elapsed()
            });
            let mut answer = Vec::new();
            let end = timeout(ANSWER_TIME * 4, client.read_to_end(&mut answer)).await;
            assert!(end.is_ok(), "the client is held");
            (String::from_utf8(answer).unwrap(), [begin.elapsed(), ends.await.unwrap()])
        })
    }

    #[test]
    fn a_client_that_stalls_behind_an_early_answer_holds_neither_connection() {
        let (answer, ends) = stalled(true);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
        assert!(ends.iter().all(|end| (ANSWER_TIME..ANSWER_TIME * 2).contains(end)), "{ends:?}");
    }

    #[test]
    fn a_client_that_stalls_before_the_answer_is_408_and_holds_neither_connection() {
        let (answer, ends) = stalled(false);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(ends.iter().all(|end| (ANSWER_TIME..ANSWER_TIME * 2).contains(end)), "{ends:?}");
    }
}
