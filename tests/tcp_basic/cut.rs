//! What follows a message that was cut with nobody there to be told: nothing, and whoever tries is told so.

use crate::support::{LIMIT, half_std_pair, on_cores, runtime, within};
use futures_util::poll;
use ringwork::fs::File;
use ringwork::net::{ForwardError, TcpStream};
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

/// More than a socket takes whose peer does not read.
const LONG: usize = 8 << 20;

/// A stream of which the runtime ended in the middle of a message whose future was gone, and its peer.
fn cut() -> (TcpStream, std::net::TcpStream) {
    let first = runtime(1);
    let (stream, peer) = half_std_pair();
    let stream = first.block_on(first.handle().spawn_on(0, move || async move {
        assert!(poll!(Box::pin(stream.send(vec![1; LONG]))).is_pending());
        stream
    }));
    assert!(first.shutdown_timeout(Duration::from_secs(10)).is_clean());
    (stream.unwrap(), peer)
}

/// What comes until the end, or until the connection is reset.
fn all_of(mut peer: std::net::TcpStream) -> (Vec<u8>, std::io::Result<usize>) {
    let mut bytes = Vec::new();
    let ended = peer.read_to_end(&mut bytes);
    (bytes, ended)
}

fn assert_broken<T: std::fmt::Debug>(what: &str, result: std::io::Result<T>) {
    assert_eq!(result.expect_err(what).kind(), ErrorKind::BrokenPipe, "{what}");
}

#[test]
fn nothing_follows_a_message_that_was_cut_with_its_future_gone_and_each_send_says_so() {
    within(LIMIT, || {
        let (stream, peer) = cut();
        let second = runtime(1);
        second.block_on(async {
            for _ in 0..2 {
                let (result, buf) = stream.send_all("next").await;
                assert_broken("send_all", result);
                assert_eq!(buf, "next", "it comes back");
                assert_broken("send", stream.send("next").await.0);
                assert_broken("send_vectored", stream.send_vectored(vec!["next", "one"]).await.0);
                let file = File::open("Cargo.toml").await.unwrap();
                assert_broken("send_file", stream.send_file(&file, 0, 9).await);
                let (result, head) = stream.send_file_with_head("next", &file, 0, 9).await;
                assert_broken("send_file_with_head", result);
                assert_eq!(head, "next");
                assert_broken("shutdown_write", stream.shutdown_write().await);
            }
            // What became of the message itself is told once.
            assert_eq!(stream.send_off("next").await.unwrap_err().kind(), ErrorKind::NotConnected);
            assert_broken("send_off", stream.send_off("next").await);
            stream.all_sent().await.unwrap();
        });
        drop(stream);
        let (bytes, _) = all_of(peer);
        assert!(bytes.len() < LONG && bytes.iter().all(|byte| *byte == 1), "a part, and nothing else");
    });
}

#[test]
fn nothing_is_forwarded_behind_a_message_that_was_cut() {
    within(LIMIT, || {
        let (stream, peer) = cut();
        let second = runtime(1);
        second.block_on(async {
            let (from, mut writes) = half_std_pair();
            writes.write_all(b"next").unwrap();
            for kind in [ErrorKind::NotConnected, ErrorKind::BrokenPipe] {
                let Err(ForwardError::Send { error, sent: 0 }) = from.forward_to(&stream).await else {
                    panic!("it was sent on");
                };
                assert_eq!(error.kind(), kind);
            }
            assert_eq!(&from.recv_pooled().await.unwrap()[..], b"next", "it stays with its stream");
        });
        drop(stream);
        assert!(all_of(peer).0.iter().all(|byte| *byte == 1));
    });
}

#[test]
fn a_stream_with_a_message_that_was_cut_is_not_handed_over_before_that_was_told() {
    within(LIMIT, || {
        let (stream, _peer) = cut();
        let second = runtime(1);
        let stream = stream.into_std().expect_err("nobody was told");
        assert_eq!(second.block_on(stream.release()).unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn a_send_half_that_goes_behind_a_message_that_was_cut_does_not_say_that_this_was_all() {
    within(LIMIT, || {
        let (stream, peer) = cut();
        let (receives, sends) = stream.into_split();
        drop(sends);
        let (bytes, ended) = all_of(peer);
        assert!(bytes.len() < LONG);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
        drop(receives);
    });
}

#[test]
fn nothing_follows_the_head_of_a_file_that_was_cut_when_its_future_was_dropped() {
    on_cores(1, |_| async {
        let (stream, peer) = half_std_pair();
        let file = File::open("Cargo.toml").await.unwrap();
        assert!(poll!(Box::pin(stream.send_file_with_head(vec![1; LONG], &file, 0, 0))).is_pending());
        assert_broken("send_all", stream.send_all("next").await.0);
        drop(stream);
        let (bytes, _) = all_of(peer);
        assert!(bytes.len() < LONG && bytes.iter().all(|byte| *byte == 1));
    });
}

/// Has nobody's bytes on its way, and takes none: its peer does not read.
fn full() -> (TcpStream, std::net::TcpStream) {
    let (stream, peer) = half_std_pair();
    let socket = socket2::SockRef::from(&stream);
    socket.set_nonblocking(true).unwrap();
    while socket.send(&[1; 1 << 16]).is_ok() {}
    while socket.send(&[1]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    (stream, peer)
}

#[test]
fn nothing_follows_a_head_that_was_cut_although_the_op_behind_its_beginning_sent_nothing() {
    on_cores(1, |_| async {
        std::fs::read("Cargo.toml").unwrap();
        let file = File::open("Cargo.toml").await.unwrap();
        let (stream, peer) = half_std_pair();
        // The socket takes a part on the spot, and is full.
        assert!(poll!(Box::pin(stream.send_file_with_head(vec![1; LONG], &file, 0, 9))).is_pending());
        let _ = stream.all_sent().await;
        assert_broken("send_all", stream.send_all("next").await.0);
        drop(stream);
        assert!(all_of(peer).0.iter().all(|byte| *byte == 1));
    });
}

#[test]
fn a_send_that_its_caller_stopped_before_anything_left_stands_in_nobodys_way() {
    on_cores(1, |_| async {
        let (stream, peer) = full();
        let mut send = stream.send(vec![2; 100]);
        assert!(poll!(&mut send).is_pending());
        // Stopped, and not waited for.
        drop(send.cancel());
        stream.all_sent().await.unwrap();
        let read = ringwork::spawn_blocking(move || all_of(peer).0);
        stream.send_all("next").await.0.unwrap();
        stream.shutdown_write().await.unwrap();
        let bytes = read.await.unwrap();
        let before = bytes.strip_suffix(b"next").expect("it has come");
        assert!(before.iter().all(|byte| *byte == 1));
    });
}

#[test]
fn what_the_peer_said_before_it_went_is_received_behind_a_message_that_was_cut() {
    on_cores(1, |_| async {
        let (stream, mut peer) = half_std_pair();
        let (receives, sends) = stream.into_split();
        sends.send_off(vec![1; LONG]).await.unwrap();
        peer.read_exact(&mut [0]).unwrap();
        peer.write_all(b"too large").unwrap();
        // It has not read all, so this resets the connection.
        drop(peer);
        sends.all_sent().await.unwrap_err();
        drop(sends);
        let (received, bytes) = receives.recv_exact(Vec::with_capacity(9)).await;
        received.unwrap();
        assert_eq!(bytes, b"too large");
    });
}

#[test]
fn an_end_that_was_told_is_not_taken_back_for_what_was_sent_behind_it() {
    on_cores(1, |handle| async move {
        let (stream, mut peer) = half_std_pair();
        let receives = handle.spawn_on(0, move || async move {
            let (receives, sends) = stream.into_split();
            sends.shutdown_write().await.unwrap();
            sends.send_off("behind").await.unwrap();
            drop(sends);
            receives
        });
        let receives = receives.await.unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        peer.write_all(b"answer").unwrap();
        let (result, bytes) = receives.recv_exact(Vec::with_capacity(6)).await;
        result.unwrap();
        assert_eq!(bytes, b"answer");
    });
}
