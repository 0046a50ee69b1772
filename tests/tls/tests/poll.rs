//! Encrypted streams under the poll-shaped traits.
#![forbid(unsafe_code)]

use ringwork::CoreMetrics;
use ringwork::net::TcpStream;
use ringwork::runtime::{Builder, Pin};
use ringwork::task::yield_now;
use ringwork::tls::TlsStream;
use ringwork_tls_tests::by_hand::{ByHand, KEY_UPDATE, by_hand};
use ringwork_tls_tests::certs::Authority;
use ringwork_tls_tests::{assert_pattern, name, narrow_pair, on_cores, pair, pattern, plain_pair};
use rustls::ContentType;
use rustls::version::TLS13;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Read};
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Polls a write once.
fn write_once(stream: &TlsStream, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
    Pinned::new(&mut &*stream).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
}

/// Polls a read in vain.
fn read_once(stream: &TlsStream) {
    let mut buf = [0; 8];
    let mut buf = ReadBuf::new(&mut buf);
    let polled = Pinned::new(&mut &*stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
    assert!(polled.is_pending());
}

/// Writes until there is no more room; returns how much was taken.
async fn fill(stream: &TlsStream) -> usize {
    let (mut taken, mut idle) = (0, 0);
    while idle < 3 {
        match write_once(stream, &pattern(taken, 50_000)) {
            Poll::Ready(n) => (taken, idle) = (taken + n.unwrap(), 0),
            Poll::Pending => {
                idle += 1;
                ringwork::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    taken
}

/// A stream whose socket holds little, and its peer, which has done its side of the handshake and reads
/// nothing.
async fn narrow() -> (TlsStream, rustls::ServerConnection, std::net::TcpStream) {
    let authority = Authority::new();
    let (one, mut other) = ringwork_tls_tests::std_pair();
    socket2::SockRef::from(&one).set_send_buffer_size(16 * 1024).unwrap();
    let server = Arc::new(authority.server_config());
    let shaken = ringwork::spawn_blocking(move || {
        let mut connection = rustls::ServerConnection::new(server).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut other).unwrap();
        }
        (connection, other)
    });
    let connector = ringwork::tls::Connector::new(Arc::new(authority.client_config()));
    let stream = connector.connect(name(), TcpStream::from_std(one).unwrap()).await.unwrap();
    let (connection, socket) = shaken.await.unwrap();
    (stream, connection, socket)
}

#[test]
fn bytes_of_all_sizes_cross_both_ways_at_once() {
    on_cores(2, |_| async {
        let (one, other) = plain_pair().await;
        let ends = [Arc::new(one), Arc::new(other)];
        let mut tasks = Vec::new();
        for stream in ends {
            let sender = Arc::clone(&stream);
            tasks.push(ringwork::spawn(async move {
                let mut at = 0;
                for len in [1, 5, 100, 16_384, 16_385, 70_000, 300_000, 3] {
                    (&*sender).write_all(&pattern(at, len)).await.unwrap();
                    at += len;
                }
                (&*sender).shutdown().await.unwrap();
            }));
            tasks.push(ringwork::spawn(async move {
                let mut all = Vec::new();
                (&*stream).read_to_end(&mut all).await.unwrap();
                assert_pattern(0, &all);
                assert_eq!(all.len(), 402_878);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn several_slices_share_a_record_and_a_send() {
    on_cores(1, |handle| async move {
        let (mut one, mut other) = plain_pair().await;
        one.write_all(b"first").await.unwrap();
        one.flush().await.unwrap();
        let before = handle.metrics().cores[0].clone();
        let parts = [IoSlice::new(b"head "), IoSlice::new(b""), IoSlice::new(b"and body")];
        assert_eq!(one.write_vectored(&parts).await.unwrap(), 13);
        one.flush().await.unwrap();
        let after = handle.metrics().cores[0].clone();
        let sends_and_ops = |core: &CoreMetrics| core.sends_on_the_spot + core.sqes;
        assert_eq!(sends_and_ops(&after) - sends_and_ops(&before), 1);
        let mut all = [0; 18];
        other.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"firsthead and body");
    });
}

#[test]
fn what_a_read_has_no_room_for_is_there_for_the_next_receive_of_either_shape() {
    on_cores(1, |_| async {
        let (one, mut other) = plain_pair().await;
        one.send_all("abcdefghij").await.0.unwrap();
        let mut three = [0; 3];
        other.read_exact(&mut three).await.unwrap();
        let (n, next) = other.recv(Vec::with_capacity(2)).await;
        assert_eq!((n.unwrap(), &next[..]), (2, &b"de"[..]));
        let mut buf = [0; 2];
        other.read_exact(&mut buf).await.unwrap();
        assert_eq!((&three, &buf), (b"abc", b"fg"));
        assert_eq!(&other.recv_pooled().await.unwrap()[..], b"hij");
    });
}

#[test]
fn a_read_that_is_never_polled_again_loses_nothing_and_blocks_nobody() {
    on_cores(2, |_| async {
        let (one, other) = plain_pair().await;
        read_once(&other);
        one.send_all("hello").await.0.unwrap();
        assert_eq!(&other.recv_pooled().await.unwrap()[..], b"hello");
    });
}

#[test]
fn a_read_stands_by_while_a_future_receives_and_is_woken_behind_it() {
    on_cores(1, |handle| async move {
        let there = handle.spawn_on(0, || async {
            let (one, other) = plain_pair().await;
            let other = Arc::new(other);
            let future = ringwork::spawn_local({
                let other = Arc::clone(&other);
                async move { other.recv_pooled().await.unwrap().to_vec() }
            });
            yield_now().await;
            let polled = ringwork::spawn_local(async move {
                let mut buf = [0; 6];
                (&*other).read_exact(&mut buf).await.unwrap();
                buf
            });
            yield_now().await;
            one.send_all("first").await.0.unwrap();
            assert_eq!(future.await.unwrap(), b"first");
            one.send_all("second").await.0.unwrap();
            assert_eq!(&polled.await.unwrap(), b"second");
        });
        there.await.unwrap();
    });
}

#[test]
fn polls_and_sends_leave_in_the_order_of_the_calls() {
    on_cores(1, |_| async {
        let (stream, mut connection, mut socket) = narrow().await;
        let stream = Arc::new(stream);
        let taken = fill(&stream).await;
        // It has a place in the lane; what is written behind it waits.
        let mut send = stream.send_all(pattern(taken, 10));
        assert!(poll_fn(|cx| Poll::Ready(Pinned::new(&mut send).poll(cx))).await.is_pending());
        assert!(write_once(&stream, b"too early").is_pending());
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            rustls::Stream::new(&mut connection, &mut socket).read_to_end(&mut all).unwrap();
            all
        });
        send.await.0.unwrap();
        (&*stream).write_all(&pattern(taken + 10, 7)).await.unwrap();
        (&*stream).shutdown().await.unwrap();
        let all = ringwork::spawn_blocking(move || reader.join().unwrap()).await.unwrap();
        assert_pattern(0, &all);
        assert_eq!(all.len(), taken + 17);
    });
}

#[test]
fn what_was_written_leaves_after_the_stream_is_dropped() {
    on_cores(1, |_| async {
        let (stream, mut connection, mut socket) = narrow().await;
        // It takes the server's tickets: a socket that is closed with bytes unread resets the connection.
        read_once(&stream);
        let taken = fill(&stream).await;
        drop(stream);
        let all = ringwork::spawn_blocking(move || {
            let mut all = vec![0; taken];
            let mut peer = rustls::Stream::new(&mut connection, &mut socket);
            peer.read_exact(&mut all).unwrap();
            // Nobody has announced the end.
            assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
            all
        });
        assert_pattern(0, &all.await.unwrap());
    });
}

#[test]
fn an_end_that_nobody_announced_is_an_error_and_an_announced_one_is_none() {
    on_cores(1, |_| async {
        let (mut one, mut other) = plain_pair().await;
        one.write_all(b"all").await.unwrap();
        one.shutdown().await.unwrap();
        let mut all = Vec::new();
        assert_eq!(other.read_to_end(&mut all).await.unwrap(), 3);
        drop(other);
        assert_eq!(one.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn after_a_failure_it_is_told_once_and_nothing_follows_in_either_shape() {
    for next in 0..4 {
        on_cores(1, move |_| async move {
            let (mut stream, _connection, socket) = narrow().await;
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
            fill(&stream).await;
            drop(socket);
            let error = match next {
                0 => loop {
                    // The socket may have made some room before it was reset.
                    if let Err(error) = stream.write(b"x").await {
                        break error;
                    }
                },
                1 => stream.flush().await.unwrap_err(),
                2 => stream.shutdown().await.unwrap_err(),
                // Nobody was told when it asks for its turn; it is told that nothing can follow.
                _ => stream.send_all("x").await.0.unwrap_err(),
            };
            let expected = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(expected.contains(&error.kind()), "{error}");
            for _ in 0..2 {
                let after = stream.send_all("y").await.0.unwrap_err();
                assert_eq!(after.kind(), ErrorKind::BrokenPipe, "{after}");
            }
            assert!(stream.shutdown().await.is_err());
        });
    }
}

#[test]
fn after_a_shutdown_a_write_fails_and_reading_goes_on() {
    on_cores(1, |_| async {
        let (mut one, mut other) = plain_pair().await;
        one.shutdown().await.unwrap();
        one.shutdown().await.unwrap();
        assert_eq!(one.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        other.write_all(b"still").await.unwrap();
        other.flush().await.unwrap();
        let mut five = [0; 5];
        one.read_exact(&mut five).await.unwrap();
        assert_eq!(&five, b"still");
        assert_eq!(other.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn a_change_of_keys_goes_out_with_a_flush() {
    // The flush of hyper waits for nothing and is a function of its own.
    for hyper in [false, true] {
        on_cores(1, move |_| async move {
            let (go, wait) = channel();
            let read = move |mut client: ByHand| {
                wait.recv().unwrap();
                client.receive_behind_data()
            };
            let (mut stream, client) = by_hand(&TLS13, narrow_pair(), read).await;
            // It goes on with nobody to look for what is owed when it is over.
            let mut send = stream.send_all(vec![7; 64 * 1024]);
            assert!(poll_fn(|cx| Poll::Ready(Pinned::new(&mut send).poll(cx))).await.is_pending());
            drop(send);
            stream.update_keys().unwrap();
            go.send(()).unwrap();
            stream.tcp().all_sent().await.unwrap();
            let flushed = match hyper {
                false => stream.flush().await,
                true => poll_fn(|cx| hyper::rt::Write::poll_flush(Pinned::new(&mut stream), cx)).await,
            };
            flushed.unwrap();
            // The end, behind what is in flight by now.
            stream.tcp().shutdown_write().await.unwrap();
            let heard = ringwork::spawn_blocking(move || client.join().unwrap()).await.unwrap();
            assert_eq!(heard.0, 64 * 1024);
            let (kind, message) = heard.1.expect("the peer is told before the end");
            assert_eq!((kind, message[0]), (ContentType::Handshake, KEY_UPDATE));
        });
    }
}

#[test]
fn a_change_of_keys_goes_out_between_two_writes() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        let (mut one, mut other) =
            pair(Arc::new(authority.client_config()), Arc::new(authority.server_config())).await;
        one.write_all(b"old").await.unwrap();
        one.update_keys().unwrap();
        one.flush().await.unwrap();
        one.write_all(b"new").await.unwrap();
        let mut six = [0; 6];
        other.read_exact(&mut six).await.unwrap();
        assert_eq!(&six, b"oldnew");
        other.write_all(b"answer").await.unwrap();
        one.read_exact(&mut six).await.unwrap();
        assert_eq!(&six, b"answer");
    });
}

#[test]
fn bytes_that_were_taken_leave_although_the_runtime_goes_down() {
    let runtime = Builder::new().cores(1).pin(Pin::Off).build().unwrap();
    let (stream, mut connection, mut socket, taken) = runtime.block_on(async {
        let (stream, connection, socket) = narrow().await;
        let taken = fill(&stream).await;
        (stream, connection, socket, taken)
    });
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; taken];
        rustls::Stream::new(&mut connection, &mut socket).read_exact(&mut all).unwrap();
        all
    });
    let report = runtime.shutdown_timeout(Duration::from_secs(20));
    assert!(report.is_clean(), "{report}");
    assert_pattern(0, &reader.join().unwrap());
    drop(stream);
}

#[test]
fn an_alert_leaves_behind_what_was_taken_before() {
    on_cores(1, |_| async {
        let (stream, mut connection, mut socket) = narrow().await;
        let taken = fill(&stream).await;
        std::io::Write::write_all(&mut socket, &[23, 3, 3, 0, 5, 1, 2, 3, 4, 5]).unwrap();
        let error = (&stream).read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let peer = ringwork::spawn_blocking(move || {
            let mut all = vec![0; taken];
            rustls::Stream::new(&mut connection, &mut socket).read_exact(&mut all).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            rustls::Stream::new(&mut connection, &mut socket).read(&mut [0]).unwrap_err()
        });
        let told = peer.await.unwrap();
        assert_eq!(told.kind(), ErrorKind::InvalidData, "{told}");
        drop(stream);
    });
}
