//! Dropping in flight, with the runtime running and going down.

use crate::support::{LIMIT, assert_pattern, pattern, runtime, within};
use crate::{OwnPath, everywhere};
use futures_util::poll;
use ringwork::net::{UnixListener, UnixStream};
use std::io::{ErrorKind, Read};
use std::task::Poll;

#[test]
fn a_dropped_receive_loses_no_byte() {
    everywhere(2, |handle| async move {
        let (one, other) = UnixStream::pair().unwrap();
        let sending = handle.spawn_on(1, || async move {
            for piece in 0..500 {
                one.send_all(pattern(piece * 40, 40)).await.0.unwrap();
                ringwork::task::yield_now().await;
            }
        });
        let mut at = 0;
        let mut round = 0;
        while at < 20_000 {
            round += 1;
            if round % 2 == 0 {
                if let Poll::Ready((n, bytes)) = poll!(Box::pin(other.recv(Vec::with_capacity(7)))) {
                    assert_pattern(at, &bytes);
                    at += n.unwrap();
                }
                if let Poll::Ready(bytes) = poll!(Box::pin(other.recv_pooled())) {
                    let bytes = bytes.unwrap();
                    assert_pattern(at, &bytes);
                    at += bytes.len();
                }
            }
            if at == 20_000 {
                break;
            }
            let (n, bytes) = other.recv(Vec::with_capacity(100)).await;
            assert_pattern(at, &bytes);
            at += n.unwrap();
        }
        sending.await.unwrap();
    });
}

#[test]
fn a_dropped_send_leaves_whole_and_later_ones_go_behind_it() {
    everywhere(2, |_| async {
        let (one, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let stream = UnixStream::from_std(one).unwrap();
        // More than the socket takes: it stays in flight.
        let polled = poll!(Box::pin(stream.send(pattern(0, 2_000_000))));
        assert!(polled.is_pending());
        let reading = ringwork::spawn_blocking(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).unwrap();
            bytes
        });
        stream.send_all(pattern(2_000_000, 1_000)).await.0.unwrap();
        drop(stream);
        let bytes = reading.await.unwrap();
        assert_eq!(bytes.len(), 2_001_000);
        assert_pattern(0, &bytes);
    });
}

#[test]
fn ops_in_flight_fail_when_the_runtime_goes_down_and_the_peer_sees_the_end() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let (one, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let path = OwnPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        let waiting = runtime.block_on(async {
            let stream = UnixStream::from_std(one).unwrap();
            let receiving = ringwork::spawn(async move { stream.recv_pooled().await.map(|_| ()) });
            let accepting = ringwork::spawn(async move { listener.accept().await.map(|_| ()) });
            ringwork::task::yield_now().await;
            (receiving, accepting)
        });
        assert!(runtime.shutdown_timeout(LIMIT).is_clean());
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        let outcome = futures_executor::block_on(async { (waiting.0.await, waiting.1.await) });
        assert!(outcome.0.is_err() && outcome.1.is_err(), "{outcome:?}");
    });
}

#[test]
fn nothing_follows_a_message_that_its_runtime_cut_and_each_call_says_so() {
    within(LIMIT, || {
        for off in [false, true] {
            let first = runtime(1);
            let (one, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
            let stream = UnixStream::from_std(one).unwrap();
            first.block_on(async {
                // More than the socket takes.
                if off {
                    stream.send_off(vec![1; 2_000_000]).await.unwrap();
                } else {
                    assert!(poll!(Box::pin(stream.send(vec![1; 2_000_000]))).is_pending());
                }
            });
            let _ = first.shutdown_timeout(std::time::Duration::from_millis(200));
            let second = runtime(1);
            second.block_on(async {
                let mut results = Vec::new();
                for _ in 0..2 {
                    results.push(stream.send_all("next").await.0);
                    results.push(stream.send("next").await.0.map(drop));
                    results.push(stream.send_vectored(vec!["next"]).await.0.map(drop));
                    results.push(stream.shutdown_write().await);
                }
                for result in results {
                    assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe, "sent off: {off}");
                }
                assert_eq!(stream.all_sent().await.unwrap_err().kind(), ErrorKind::NotConnected);
                assert_eq!(stream.send_off("next").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            });
            drop(stream);
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).unwrap();
            assert!(bytes.len() < 2_000_000 && bytes.iter().all(|byte| *byte == 1), "sent off: {off}");
        }
    });
}
