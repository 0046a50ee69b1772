//! Dropped receives lose no byte and repeat none, on whatever core they were started and dropped.

use crate::canary::{Canary, graves_are_quiet};
use crate::moody::Moody;
use crate::support::{
    LIMIT, Levels, Random, alone, assert_pattern, everywhere, half_std_pair, pattern, runtime, within,
};
use futures_util::{FutureExt, poll};
use ringwork::net::{Recv, TcpStream};
use ringwork::runtime::Handle;
use ringwork::task::yield_now;
use ringwork::time::sleep;
use std::io::Write;
use std::net::Shutdown;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

const STREAMS: usize = 4;
const BYTES: usize = 4 << 20;

#[test]
fn dropped_receives_lose_no_byte_while_the_stream_moves_between_cores() {
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let mut readers = Vec::new();
            let mut writers = Vec::new();
            for _ in 0..STREAMS {
                let (stream, peer) = half_std_pair();
                let seed = random.fork();
                writers.push(handle.spawn_blocking(move || write_unevenly(peer, seed)));
                readers.push(handle.spawn(read_and_move(handle.clone(), stream, random.fork())));
            }
            for reader in readers {
                reader.await.expect("every byte comes once and in order");
            }
            for writer in writers {
                writer.await.unwrap();
            }
            handle.spawn_blocking(|| ()).await.unwrap();
            start.return_on(&handle).await;
        });
        graves_are_quiet();
    });
}

/// Pieces of all sizes, with and without a moment in between.
fn write_unevenly(mut peer: std::net::TcpStream, mut random: Random) {
    let all = pattern(0, BYTES);
    let mut at = 0;
    while at < BYTES {
        let len = (1 << random.below(17)).min(BYTES - at);
        peer.write_all(&all[at..at + len]).unwrap();
        at += len;
        if random.chance(8) {
            std::thread::sleep(Duration::from_micros(random.below(300)));
        }
    }
    peer.shutdown(Shutdown::Write).unwrap();
}

async fn read_and_move(handle: Handle, mut stream: TcpStream, mut random: Random) {
    let mut at = 0;
    let mut core = 0;
    while at < BYTES {
        core = 1 - core;
        let rounds = 1 + random.below(30);
        let there = random.fork();
        let reading = handle.spawn_on(core, move || read_some(stream, at, rounds, there));
        (stream, at) = reading.await.unwrap();
    }
    assert_eq!(at, BYTES);
    assert!(stream.recv_pooled().await.unwrap().is_empty(), "nothing comes behind the end");
}

/// Receives that are dropped at random, and what those that were not have brought.
async fn read_some(stream: TcpStream, mut at: usize, rounds: u64, mut random: Random) -> (TcpStream, usize) {
    for _ in 0..rounds {
        let size = 1 << random.below(16);
        let patience = random.below(4);
        let bytes = if random.chance(2) {
            let mut receive = pin!(stream.recv(Canary::empty(size)));
            patiently(&mut random, patience, async || poll!(receive.as_mut()))
                .await
                .map(|(n, buf)| (n.unwrap(), ringwork::buf::IoBuf::as_slice(&buf).to_vec()))
        } else {
            let mut receive = pin!(stream.recv_pooled());
            patiently(&mut random, patience, async || poll!(receive.as_mut()))
                .await
                .map(|buf| buf.map(|buf| (buf.len(), buf.to_vec())).unwrap())
        };
        let Some((n, bytes)) = bytes else { continue };
        assert_eq!(n, bytes.len());
        assert_pattern(at, &bytes);
        at += n;
        if n == 0 {
            break;
        }
    }
    (stream, at)
}

/// Polls at most `times` times more; `None` leaves the future to be dropped.
async fn patiently<T>(random: &mut Random, times: u64, mut poll: impl AsyncFnMut() -> Poll<T>) -> Option<T> {
    for _ in 0..=times {
        if let Poll::Ready(output) = poll().await {
            return Some(output);
        }
        match random.below(8) {
            0 => sleep(Duration::from_millis(1)).await,
            1..5 => yield_now().await,
            _ => {}
        }
    }
    None
}

/// A receive into a buffer that panics, and what tells it.
fn moody(stream: &TcpStream) -> (Recv<'_, Moody>, Arc<AtomicBool>) {
    let (buf, panics) = Moody::new(vec![0; 16]);
    (stream.recv(buf), panics)
}

#[test]
fn a_dropped_receive_whose_buffer_panics_is_over_all_the_same() {
    let _alone = alone();
    everywhere(|_| async {
        let (stream, mut peer) = half_std_pair();
        let (mut receive, panics) = moody(&stream);
        assert!(poll!(&mut receive).is_pending());
        // By then the kernel has it.
        sleep(Duration::from_millis(20)).await;
        panics.store(true, Ordering::Relaxed);
        drop(receive);
        // It was cancelled before the bytes came.
        stream.read_ahead(false);
        let mut next = pin!(stream.recv([0; 4]));
        assert!(poll!(next.as_mut()).is_pending());
        sleep(Duration::from_millis(20)).await;
        peer.write_all(b"next").unwrap();
        let (n, bytes) = next.await;
        assert_eq!((n.unwrap(), &bytes), (4, b"next"));
    });
}

#[test]
fn bytes_that_a_panicking_buffer_loses_are_not_lost_in_silence() {
    let _alone = alone();
    everywhere(|_| async {
        let (stream, mut peer) = half_std_pair();
        let (mut receive, panics) = moody(&stream);
        assert!(poll!(&mut receive).is_pending());
        peer.write_all(b"lost").unwrap();
        // The bytes are in the buffer, and nobody asked for them.
        sleep(Duration::from_millis(20)).await;
        panics.store(true, Ordering::Relaxed);
        drop(receive);
        peer.write_all(b"next").unwrap();
        // The receive that was dropped may have been cancelled before the bytes came.
        let received = stream.recv([0; 4]).await;
        if let Err(error) = received.0 {
            assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
            assert_eq!(stream.recv([0; 4]).await.1, *b"next");
        } else {
            assert_eq!(received.1, *b"lost");
        }
    });
}

#[test]
fn bytes_that_a_buffer_loses_which_panics_when_they_are_asked_for_are_not_lost_in_silence() {
    let _alone = alone();
    everywhere(|_| async {
        let (stream, mut peer) = half_std_pair();
        let (receive, panics) = moody(&stream);
        let mut receive = AssertUnwindSafe(receive).catch_unwind();
        assert!(poll!(&mut receive).is_pending());
        // By then the kernel has it.
        sleep(Duration::from_millis(20)).await;
        panics.store(true, Ordering::Relaxed);
        peer.write_all(b"lost").unwrap();
        assert!(receive.await.is_err(), "it panicked in its poll");
        peer.write_all(b"next").unwrap();
        let (received, _) = stream.recv([0; 4]).await;
        assert_eq!(received.unwrap_err().raw_os_error(), Some(libc::EFAULT));
        assert_eq!(stream.recv([0; 4]).await.1, *b"next");
    });
}

#[test]
fn bytes_that_lie_ready_stay_so_if_the_buffer_for_them_panics() {
    let _alone = alone();
    everywhere(|_| async {
        let (stream, mut peer) = half_std_pair();
        peer.write_all(b"kept").unwrap();
        assert_eq!(stream.peek([0; 4]).await.1, *b"kept");
        assert!(AssertUnwindSafe(stream.recv(Moody::at_the_end(vec![0; 16]))).catch_unwind().await.is_err());
        assert!(AssertUnwindSafe(stream.peek(Moody::at_the_end(vec![0; 16]))).catch_unwind().await.is_err());
        assert_eq!(stream.recv([0; 4]).await.1, *b"kept");
    });
}
