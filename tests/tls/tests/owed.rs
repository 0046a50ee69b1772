//! What is owed to the peer leaves, whoever has the lane and whatever becomes of their message.
#![forbid(unsafe_code)]

use ringwork::tls::TlsStream;
use ringwork_tls_tests::by_hand::{ByHand, KEY_UPDATE, by_hand};
use ringwork_tls_tests::{narrow_pair, on_cores};
use rustls::ContentType;
use rustls::version::TLS13;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::Poll;
use std::thread::JoinHandle;
use tokio::io::AsyncWriteExt;

/// What is sent as one piece, and more than the connection takes.
const PIECE: usize = 64 * 1024;

/// How many bytes of data a peer has got, and the record behind them, if the connection did not end there.
type Heard = (usize, Option<(ContentType, Vec<u8>)>);

/// A stream whose peer reads nothing until it is told to.
struct Reluctant {
    stream: TlsStream,
    peer: JoinHandle<Heard>,
    go: Sender<()>,
    /// The peer's.
    socket: TcpStream,
}

impl Reluctant {
    async fn new() -> Self {
        let (go, wait) = channel();
        let (ours, theirs) = narrow_pair();
        let socket = theirs.try_clone().unwrap();
        let read = move |mut client: ByHand| {
            wait.recv().unwrap();
            client.receive_behind_data()
        };
        let (stream, peer) = by_hand(&TLS13, (ours, theirs), read).await;
        Self { stream, peer, go, socket }
    }

    /// The peer sends nonsense, for which it is owed an alert, and then reads.
    async fn breaks_the_protocol_and_reads(&self) {
        (&self.socket).write_all(&[23, 3, 3, 0, 5, 1, 2, 3, 4, 5]).unwrap();
        assert_eq!(self.stream.recv_pooled().await.unwrap_err().kind(), ErrorKind::InvalidData);
        self.go.send(()).unwrap();
    }

    /// What the peer has heard once all that is in flight is out.
    async fn heard(self) -> Heard {
        self.stream.tcp().shutdown_write().await.unwrap();
        let peer = self.peer;
        ringwork::spawn_blocking(move || peer.join().unwrap()).await.unwrap()
    }
}

async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
}

/// Calls that send.
#[derive(Clone, Copy, Debug)]
enum Call {
    Send,
    SendPieces,
    Close,
    Write,
    Shutdown,
}

impl Call {
    async fn made(self, mut stream: &TlsStream) -> io::Result<()> {
        match self {
            Self::Send => stream.send_all(vec![8; 10]).await.0,
            Self::SendPieces => stream.send_all(vec![8; PIECE + 1]).await.0,
            Self::Close => stream.shutdown_write().await,
            Self::Write => stream.write(b"x").await.map(drop),
            Self::Shutdown => stream.shutdown().await,
        }
    }
}

fn assert_told(heard: Heard, data: usize, when: impl std::fmt::Debug) {
    assert_eq!(heard.0, data, "{when:?}");
    let (kind, alert) = heard.1.unwrap_or_else(|| panic!("the peer is told nothing: {when:?}"));
    // Fatal.
    assert_eq!((kind, alert[0]), (ContentType::Alert, 2), "{when:?}");
}

#[test]
fn an_alert_leaves_behind_callers_in_line_that_are_refused() {
    for last in [Call::Send, Call::SendPieces, Call::Close] {
        on_cores(1, move |_| async move {
            let end = Reluctant::new().await;
            let stream = &end.stream;
            let mut first = stream.send_all(vec![7; PIECE]);
            assert!(is_pending(&mut first).await, "nobody reads");
            let mut second = Box::pin(Call::Send.made(stream));
            let mut third = Box::pin(last.made(stream));
            assert!(is_pending(&mut second).await && is_pending(&mut third).await);
            end.breaks_the_protocol_and_reads().await;
            first.await.0.unwrap();
            assert_eq!(second.await.unwrap_err().kind(), ErrorKind::InvalidData);
            assert_eq!(third.await.unwrap_err().kind(), ErrorKind::InvalidData);
            assert_told(end.heard().await, PIECE, last);
        });
    }
}

#[test]
fn an_alert_leaves_behind_the_pieces_of_a_message_that_it_ends() {
    for dropped in [false, true] {
        on_cores(1, move |_| async move {
            let end = Reluctant::new().await;
            let mut message = end.stream.send_all(vec![7; 4 * PIECE]);
            assert!(is_pending(&mut message).await, "nobody reads");
            if dropped {
                drop(message);
                end.breaks_the_protocol_and_reads().await;
                let next = Call::Send.made(&end.stream).await.unwrap_err();
                assert_eq!(next.kind(), ErrorKind::InvalidData, "{next}");
            } else {
                end.breaks_the_protocol_and_reads().await;
                assert_eq!(message.await.0.unwrap_err().kind(), ErrorKind::InvalidData);
            }
            assert_told(end.heard().await, PIECE, dropped);
        });
    }
}

#[test]
fn an_alert_that_was_left_behind_a_dropped_send_leaves_with_the_next_call() {
    for next in [Call::Send, Call::SendPieces, Call::Close, Call::Write, Call::Shutdown] {
        on_cores(1, move |_| async move {
            let end = Reluctant::new().await;
            let mut send = end.stream.send_all(vec![7; PIECE]);
            assert!(is_pending(&mut send).await, "nobody reads");
            drop(send);
            end.breaks_the_protocol_and_reads().await;
            assert_eq!(next.made(&end.stream).await.unwrap_err().kind(), ErrorKind::InvalidData);
            assert_told(end.heard().await, PIECE, next);
        });
    }
}

#[test]
fn new_keys_are_told_at_once_or_behind_the_message_in_flight() {
    // Nothing is in flight, one piece, or the last of two.
    for len in [0, PIECE, 2 * PIECE] {
        on_cores(1, move |_| async move {
            let ((begun, begins), (go, wait)) = (channel(), channel());
            let read = move |mut client: ByHand| {
                let mut before = 0;
                while len > 0 && before <= len - PIECE {
                    before += client.receive().1.len();
                }
                begun.send(()).unwrap();
                wait.recv().unwrap();
                let (rest, behind) = client.receive_behind_data();
                (before + rest, behind)
            };
            let (stream, peer) = by_hand(&TLS13, narrow_pair(), read).await;
            let stream = Arc::new(stream);
            let message = ringwork::spawn({
                let stream = Arc::clone(&stream);
                async move { if len > 0 { stream.send_all(vec![7; len]).await.0 } else { Ok(()) } }
            });
            ringwork::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
            stream.update_keys().unwrap();
            go.send(()).unwrap();
            message.await.unwrap().unwrap();
            stream.tcp().shutdown_write().await.unwrap();
            let heard = ringwork::spawn_blocking(move || peer.join().unwrap()).await.unwrap();
            let (kind, told) = heard.1.unwrap_or_else(|| panic!("the peer is told nothing: {len}"));
            assert_eq!((heard.0, kind, told[0]), (len, ContentType::Handshake, KEY_UPDATE));
        });
    }
}
