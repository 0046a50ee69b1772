//! Looking at bytes without taking them.

use crate::support::{assert_pattern, half_std_pair, on_cores, pair, pattern};
use ringwork::net::UnixStream;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

/// Runs a test on a thread that is no core, and on a core.
fn everywhere<F>(test: impl Fn() -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let outside = test.clone();
    on_cores(1, move |_| outside());
    on_cores(1, |handle| async move { handle.spawn_on(0, test).await.unwrap() });
}

#[test]
fn what_a_peek_shows_comes_again_whatever_receives_it() {
    everywhere(|| async {
        let (stream, mut peer) = half_std_pair();
        peer.write_all(b"0123456789").unwrap();
        assert_eq!(stream.peek([0u8; 3]).await.1, *b"012");
        assert_eq!(stream.peek(Vec::with_capacity(3)).await.1, b"012");
        assert_eq!(stream.recv([0u8; 2]).await.1, *b"01");
        // What was read ahead is shown, too.
        assert_eq!(stream.peek([0u8; 4]).await.1, *b"2345");
        assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"23456789");
        let mut buf = b"> ".to_vec();
        buf.reserve(10);
        peer.write_all(b"more").unwrap();
        let (n, buf) = stream.peek(buf).await;
        assert_eq!((n.unwrap(), &buf[..]), (4, &b"> more"[..]));
        let (received, bytes) = stream.recv_exact([0u8; 4]).await;
        received.unwrap();
        assert_eq!(&bytes, b"more");
        assert_eq!(stream.peek(Vec::new()).await.0.unwrap(), 0, "no room");
        drop(peer);
        for _ in 0..2 {
            assert_eq!(stream.peek([0u8; 1]).await.0.unwrap(), 0, "the end");
        }
        assert_eq!(stream.recv([0u8; 1]).await.0.unwrap(), 0);
    });
}

#[test]
fn peeks_and_receives_take_their_turns_and_no_byte_is_lost_or_comes_twice() {
    everywhere(|| async {
        let (one, other) = pair().await;
        let sending = ringwork::spawn(async move {
            for piece in 0..400 {
                one.send_all(pattern(piece * 500, 500)).await.0.unwrap();
            }
        });
        let mut at = 0;
        while at < 200_000 {
            // A peek that is dropped at any stage of its life, and one that stays.
            if at % 3 == 0 {
                drop(futures_util::poll!(Box::pin(other.peek(Vec::with_capacity(100)))));
            }
            let (n, shown) = other.peek(Vec::with_capacity(1 + at % 9_000)).await;
            assert_eq!(n.unwrap(), shown.len());
            let (n, bytes) = other.recv(Vec::with_capacity(1 + at % 7_000)).await;
            assert_pattern(at, &bytes);
            let both = shown.len().min(bytes.len());
            assert!(both > 0 && shown[..both] == bytes[..both]);
            at += n.unwrap();
        }
        sending.await.unwrap();
    });
}

#[test]
fn those_behind_a_peek_in_the_lane_get_the_bytes_in_order() {
    everywhere(|| async {
        let (stream, mut peer) = half_std_pair();
        let mut first = Box::pin(stream.peek([0u8; 4]));
        let mut second = Box::pin(stream.recv([0u8; 2]));
        let mut third = Box::pin(stream.peek([0u8; 4]));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(futures_util::poll!(&mut third).is_pending());
        peer.write_all(b"abcd").unwrap();
        assert_eq!(first.await.1, *b"abcd");
        assert_eq!(second.await.1, *b"ab");
        assert_eq!(third.await.1, *b"cd\0\0");
    });
}

#[test]
fn a_peek_can_be_stopped_and_its_bytes_go_along_with_a_released_socket() {
    everywhere(|| async {
        let (stream, mut peer) = half_std_pair();
        stream.read_ahead(false);
        let (n, _) = stream.peek([0u8; 4]).timeout(Duration::from_millis(5)).await;
        assert_eq!(n.unwrap_err().kind(), ErrorKind::TimedOut);
        peer.write_all(b"abcdef").unwrap();
        assert_eq!(stream.peek([0u8; 2]).await.1, *b"ab");
        let stream = stream.into_std().expect_err("bytes are unread");
        drop(peer);
        let (fd, mut unread) = stream.release().await.unwrap();
        std::net::TcpStream::from(fd).read_to_end(&mut unread).unwrap();
        assert_eq!(unread, b"abcdef");
    });
}

#[test]
fn unix_streams_and_receive_halves_can_be_peeked() {
    everywhere(|| async {
        let (one, other) = UnixStream::pair().unwrap();
        let (receiver, _sender) = other.into_split();
        one.send_all("abc").await.0.unwrap();
        assert_eq!(receiver.peek([0u8; 2]).await.1, *b"ab");
        assert_eq!(receiver.recv([0u8; 3]).await.1, *b"abc");
    });
}
