//! What becomes of a stream that is dropped with bytes on their way: they leave, and nothing stays behind.
//!
//! Counts what the whole process has, so its tests run one at a time.

mod everywhere;
#[path = "../../support/mod.rs"]
mod support;

use everywhere::fill;
use ringwork::net::TcpStream;
use ringwork::runtime::{Builder, Handle, Pin};
use std::io::{ErrorKind, Read};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use support::{Levels, alone, assert_pattern, half_std_pair, on_cores};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// Fills a stream, on a core or on a thread that is none; returns it with its peer and how much it took.
async fn filled(handle: &Handle, on_core: bool) -> (TcpStream, std::net::TcpStream, usize) {
    let fill = || async {
        let (mut stream, peer) = half_std_pair();
        let taken = fill(&mut stream).await;
        (stream, peer, taken)
    };
    if on_core { handle.spawn_on(0, fill).await.unwrap() } else { fill().await }
}

#[test]
fn gathered_bytes_leave_without_another_poll_and_after_the_stream_is_dropped() {
    let _alone = alone();
    for on_core in [true, false] {
        on_cores(1, move |handle| async move {
            let levels = Levels::at_start(&handle).await;
            let (stream, mut peer, taken) = filled(&handle, on_core).await;
            drop(stream);
            let reader = handle.spawn_blocking(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).unwrap();
                all
            });
            let all = reader.await.unwrap();
            assert_eq!(all.len(), taken);
            assert_pattern(0, &all);
            levels.return_on(&handle).await;
        });
    }
}

#[test]
fn a_linger_time_of_zero_ends_the_connection_with_the_last_handle() {
    let _alone = alone();
    for on_core in [true, false] {
        on_cores(1, move |handle| async move {
            let levels = Levels::at_start(&handle).await;
            let (stream, mut peer, _) = filled(&handle, on_core).await;
            stream.set_linger(Some(Duration::ZERO)).unwrap();
            drop(stream);
            let reader = handle.spawn_blocking(move || peer.read_to_end(&mut Vec::new()));
            let error = reader.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            levels.return_on(&handle).await;
        });
    }
}

#[test]
fn a_reader_that_waits_is_dropped_and_leaves_nothing_behind() {
    let _alone = alone();
    for read_ahead in [true, false] {
        on_cores(2, move |handle| async move {
            let levels = Levels::at_start(&handle).await;
            let mut peers = Vec::new();
            for core in [0, 1] {
                let (mut stream, peer) = half_std_pair();
                stream.read_ahead(read_ahead);
                let waits = handle.spawn_on(core, move || async move { stream.read(&mut [0; 10]).await });
                let abort = waits.abort_handle();
                // It waits: its core has turned since.
                handle.spawn_on(core, || async {}).await.unwrap();
                abort.abort();
                assert!(waits.await.unwrap_err().is_cancelled());
                peers.push(peer);
            }
            for mut peer in peers {
                assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the socket is closed");
            }
            levels.return_on(&handle).await;
        });
    }
}

#[test]
fn a_read_from_outside_on_a_dead_runtime_fails_and_does_not_spin() {
    let _alone = alone();
    let runtime = Builder::new().cores(1).pin(Pin::Off).build().unwrap();
    let handle = runtime.handle().clone();
    let (mut stream, _peer) = handle.block_on(handle.spawn_on(0, || async { half_std_pair() })).unwrap();
    drop(runtime);
    let _entered = handle.enter();
    let mut room = [0; 8];
    let mut room = ReadBuf::new(&mut room);
    let polled =
        std::pin::Pin::new(&mut stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut room);
    assert!(matches!(polled, Poll::Ready(Err(_))), "{polled:?}");
}
