//! What the upstream sends, on its way to the client, and for how long it may be silent within that.
//!
//! The time counts while the next piece is asked for: a client that reads slowly asks for none, and that is
//! no fault of the upstream.
#![forbid(unsafe_code)]

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use ringwork::time::{Sleep, sleep};
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Any error of a body.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a response from the upstream.
pub(crate) struct Download {
    body: Incoming,
    patience: Duration,
    /// There while the next piece is asked for: until when it is waited for.
    over: Option<Sleep>,
}

impl Download {
    /// A body that fails if its next piece takes longer than `patience`.
    pub(crate) fn new(body: Incoming, patience: Duration) -> Self {
        Self { body, patience, over: None }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, patience, over } = &mut *self;
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            *over = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        ready!(Pin::new(over.get_or_insert_with(|| sleep(*patience))).poll(cx));
        Poll::Ready(Some(Err("the upstream sends no more of a body that it has begun".into())))
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
    use crate::forward::{ANSWER_TIME, Upstream};
    use crate::service::MakeProxy;
    use ringwork::compat::tower::serve;
    use ringwork::net::{TcpListener, TcpStream};
    use ringwork::runtime::Builder;
    use ringwork::time::{Instant, sleep};
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Asks through a proxy for what an upstream sends: each piece so many seconds after the one before it,
    /// and nothing after the last. Gives what the client reads up to the end of its connection, and how long
    /// after the last piece that comes. By the paused clock: limits are as long as they are in life.
    fn read(pieces: &'static [(u64, &'static [u8])]) -> (String, Duration) {
        let runtime = Builder::new().start_paused(true).build().unwrap();
        runtime.run_main(move || async move {
            let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", upstream.local_addr().unwrap());
            let make = MakeProxy::new(Upstream::parse(&url).unwrap(), false);
            let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let proxy = serve(anywhere, make).start().await.unwrap();
            let mut client = TcpStream::connect(proxy.local_addr()).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            let reads = ringwork::spawn(async move {
                let mut answer = Vec::new();
                // Unfinished, it may end with a reset.
                let _end = client.read_to_end(&mut answer).await;
                (String::from_utf8(answer).unwrap(), Instant::now())
            });
            let (mut stream, _) = upstream.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            for (seconds, piece) in pieces {
                sleep(Duration::from_secs(*seconds)).await;
                stream.write_all(piece).await.unwrap();
            }
            let last = Instant::now();
            let (answer, end) = reads.await.unwrap();
            (answer, end.duration_since(last))
        })
    }

    #[test]
    fn an_upstream_that_falls_silent_within_a_body_ends_the_answer_as_unfinished() {
        for (head, expected) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this"[..], "\r\n\r\nonly this"),
            (
                &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n"[..],
                "only this\r\n",
            ),
        ] {
            let pieces = Box::leak(Box::new([(0, head)]));
            let (answer, silent) = read(pieces);
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(expected), "{answer}");
            assert!((ANSWER_TIME..ANSWER_TIME * 2).contains(&silent), "{silent:?}");
        }
    }

    #[test]
    fn a_body_may_take_as_long_as_it_likes_while_it_goes_on() {
        let (answer, _) = read(&[
            (0, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"),
            (29, b"a"),
            (29, b"b"),
            (29, b"c"),
            (29, b"d"),
            (29, b"e"),
            (29, b"f"),
        ]);
        assert!(answer.ends_with("\r\n\r\nabcdef"), "{answer}");
    }
}
