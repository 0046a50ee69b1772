//! Unix streams under the poll-shaped traits: that each trait is there for the stream and its halves, and
//! what differs from TCP streams when one is dropped or its runtime goes down. The promises that are the same
//! are tried in poll_streams.rs and poll_drop.rs.

mod everywhere;
#[path = "../../support/mod.rs"]
mod support;

use everywhere::{everywhere, fill};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use ringwork::net::UnixStream;
use std::io::{Read, Write};
use std::time::Duration;
use support::{LIMIT, assert_pattern, pattern, runtime, within};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};

fn half_std_pair() -> (UnixStream, std::os::unix::net::UnixStream) {
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    (UnixStream::from_std(one).unwrap(), other)
}

#[test]
fn tokios_traits_carry_bytes_in_order_through_streams_and_halves() {
    everywhere(2, |_| async {
        let (client, mut in_front) = UnixStream::pair().unwrap();
        let (mut behind, server) = UnixStream::pair().unwrap();
        let proxy = ringwork::spawn(async move { copy_bidirectional(&mut in_front, &mut behind).await });
        let echo = ringwork::spawn(async move {
            let (read, mut write) = server.into_split();
            let mut lines = BufReader::new(read).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                write.write_all(format!("{line}!\n").as_bytes()).await.unwrap();
            }
            write.shutdown().await.unwrap();
        });
        let (mut read, mut write) = client.into_split();
        let sending = ringwork::spawn(async move {
            for line in 0..10_000 {
                write.write_all(format!("line {line}\n").as_bytes()).await.unwrap();
            }
            write.shutdown().await.unwrap();
        });
        let mut all = String::new();
        read.read_to_string(&mut all).await.unwrap();
        assert_eq!(all.lines().count(), 10_000);
        assert!(all.lines().enumerate().all(|(at, line)| line == format!("line {at}!")));
        sending.await.unwrap();
        echo.await.unwrap();
        proxy.await.unwrap().unwrap();
    });
}

#[test]
fn futures_traits_carry_bytes_in_order() {
    everywhere(2, |_| async {
        let (mut one, other) = UnixStream::pair().unwrap();
        let sending = ringwork::spawn(async move {
            futures_lite::AsyncWriteExt::write_all(&mut one, &pattern(0, 500_000)).await.unwrap();
            futures_lite::AsyncWriteExt::close(&mut one).await.unwrap();
        });
        let (mut read, _write) = other.into_split();
        let mut bytes = Vec::new();
        futures_lite::AsyncReadExt::read_to_end(&mut read, &mut bytes).await.unwrap();
        assert_eq!(bytes.len(), 500_000);
        assert_pattern(0, &bytes);
        sending.await.unwrap();
    });
}

#[test]
fn hyper_serves_and_asks_over_a_unix_socket() {
    everywhere(2, |_| async {
        let (client, server) = UnixStream::pair().unwrap();
        let serving = ringwork::spawn(async move {
            let hello = service_fn(|request: Request<hyper::body::Incoming>| async move {
                let path = request.uri().path().to_owned();
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(path))))
            });
            hyper::server::conn::http1::Builder::new().serve_connection(server, hello).await
        });
        let (mut sender, connection) = hyper::client::conn::http1::handshake(client).await.unwrap();
        let driving = ringwork::spawn(connection);
        for path in ["/one", "/two"] {
            let request = Request::get(path).header("host", "unix").body(Full::new(Bytes::new())).unwrap();
            // hyper refuses a second request until the connection's task, maybe on another core, asks for it.
            sender.ready().await.unwrap();
            let answer = sender.send_request(request).await.unwrap();
            let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
            assert_eq!(body, path);
        }
        drop(sender);
        driving.await.unwrap().unwrap();
        serving.await.unwrap().unwrap();
    });
}

#[test]
fn bytes_that_were_taken_leave_behind_a_dropped_stream() {
    everywhere(2, |_| async {
        for linger in [None, Some(Duration::ZERO)] {
            let (mut stream, mut peer) = half_std_pair();
            // Sockets of this kind have no linger time: the bytes leave all the same.
            socket2::SockRef::from(&stream).set_linger(linger).unwrap();
            let taken = fill(&mut stream).await;
            drop(stream);
            let reading = ringwork::spawn_blocking(move || {
                let mut bytes = Vec::new();
                peer.read_to_end(&mut bytes).map(|_| bytes)
            });
            let bytes = reading.await.unwrap().unwrap();
            assert_eq!(bytes.len(), taken);
            assert_pattern(0, &bytes);
        }
    });
}

#[test]
fn a_peer_that_closes_ends_what_a_dropped_stream_has_left() {
    within(LIMIT, || {
        let runtime = runtime(1);
        let (mut stream, peer) = half_std_pair();
        runtime.block_on(async {
            fill(&mut stream).await;
            drop(stream);
        });
        drop(peer);
        let report = runtime.shutdown_timeout(LIMIT);
        assert!(report.is_clean(), "{report}");
    });
}

#[test]
fn a_runtime_that_goes_down_before_a_slow_peer_has_all_ends_the_stream_without_a_reset() {
    within(LIMIT, || {
        let runtime = runtime(1);
        let (mut stream, mut peer) = half_std_pair();
        let taken = runtime.block_on(fill(&mut stream));
        runtime.shutdown_timeout(Duration::from_millis(200));
        drop(stream);
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).unwrap();
        assert!(bytes.len() < taken, "{} of {taken}", bytes.len());
        assert_pattern(0, &bytes);
        let _ = peer.write(b"x").unwrap_err();
    });
}
