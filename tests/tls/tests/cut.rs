//! What becomes of a stream whose message was cut after its caller had gone, and what is no cut.
#![forbid(unsafe_code)]

use ringwork::tls::Acceptor;
use ringwork_tls_tests::certs::Authority;
use ringwork_tls_tests::{half_std_pair, narrow_pair, on_cores, peer};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;

#[test]
fn nothing_follows_a_dropped_message_that_the_end_of_its_runtime_cut() {
    // One piece, and more than one.
    for len in [64 * 1024, 64 * 1024 + 1] {
        let (keep, kept) = channel();
        on_cores(1, move |_| async move {
            let (go, wait): (Sender<()>, Receiver<()>) = channel();
            let (ours, theirs) = narrow_pair();
            let authority = Authority::new();
            let client = peer::client(Arc::new(authority.client_config()), theirs, move |mut client| {
                client.flush().unwrap();
                let _gone = wait.recv();
            });
            let acceptor = Acceptor::new(Arc::new(authority.server_config()));
            let stream = acceptor.accept(ours).await.unwrap();
            let mut send = stream.send_all(vec![7; len]);
            assert!(
                poll_fn(|cx| Poll::Ready(Pin::new(&mut send).poll(cx))).await.is_pending(),
                "nobody reads and the socket is small"
            );
            drop(send);
            keep.send((stream, go, client)).unwrap();
        });
        on_cores(1, move |_| async move {
            let (stream, go, client) = kept.recv().unwrap();
            let (sent, _) = stream.send_all(vec![8; 10]).await;
            assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe, "after {len} bytes");
            drop(go);
            client.join().unwrap();
        });
    }
}

#[test]
fn nothing_follows_a_record_of_which_nothing_has_left_although_that_was_told() {
    let (keep, kept) = channel();
    on_cores(1, move |_| async move {
        let (ours, theirs) = half_std_pair();
        let authority = Authority::new();
        let client = peer::client(Arc::new(authority.client_config()), theirs, |mut client| {
            client.flush().unwrap();
            client
        });
        let acceptor = Acceptor::new(Arc::new(authority.server_config()));
        let stream = acceptor.accept(ours).await.unwrap();
        let client = ringwork::spawn_blocking(move || client.join().unwrap()).await.unwrap();
        // The socket takes nothing more.
        let socket = socket2::SockRef::from(stream.tcp());
        socket.set_nonblocking(true).unwrap();
        while socket.send(&[0; 1 << 16]).is_ok() {}
        while socket.send(&[0]).is_ok() {}
        socket.set_nonblocking(false).unwrap();
        let mut send = stream.send_all("record");
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut send).poll(cx))).await.is_pending());
        drop(send);
        keep.send((stream, client)).unwrap();
    });
    on_cores(1, move |_| async move {
        let (stream, _client) = kept.recv().unwrap();
        assert_eq!(stream.tcp().all_sent().await.unwrap_err().kind(), ErrorKind::NotConnected);
        // Its number is used: what comes behind it would be a record too early.
        let (sent, _) = stream.send_all("next").await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_message_that_is_refused_behind_the_close_cuts_nothing() {
    // The close is complete, or its future was dropped once it had begun.
    for dropped in [false, true] {
        on_cores(1, move |_| async move {
            let (ours, theirs) = half_std_pair();
            let authority = Authority::new();
            let client = peer::client(Arc::new(authority.client_config()), theirs, |mut client| {
                let mut all = Vec::new();
                client.read_to_end(&mut all).unwrap();
                // The end was announced; that of the socket comes behind it.
                let rest = client.sock.read(&mut [0]).unwrap();
                // With its socket: once both ends are closed there is no direction left to close.
                (all, rest, client)
            });
            let acceptor = Acceptor::new(Arc::new(authority.server_config()));
            let stream = acceptor.accept(ours).await.unwrap();
            stream.send_all("all").await.0.unwrap();
            let stream = Arc::new(stream);
            // On the core itself, where nothing completes amid a poll.
            let close = ringwork::spawn({
                let stream = Arc::clone(&stream);
                async move {
                    // What the turn may send on the spot is sent.
                    let others: [_; 16] = std::array::from_fn(|_| half_std_pair());
                    for (other, _) in &others {
                        other.send_off(".").await.unwrap();
                    }
                    let mut close = Box::pin(stream.shutdown_write());
                    let polled = poll_fn(|cx| Poll::Ready(close.as_mut().poll(cx))).await;
                    assert!(polled.is_pending(), "what it sends has not completed");
                    if !dropped {
                        close.await.unwrap();
                    }
                }
            });
            close.await.unwrap();
            // Of one piece, and of several.
            for len in [10, 70 * 1024] {
                let refused = stream.send_all(vec![7; len]).await.0.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
                stream.shutdown_write().await.unwrap();
            }
            let (all, rest, _client) =
                ringwork::spawn_blocking(move || client.join().unwrap()).await.unwrap();
            assert_eq!((&all[..], rest), (&b"all"[..], 0));
        });
    }
}
