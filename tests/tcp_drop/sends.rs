//! Dropped sends leave whole messages in order: what was started arrives whole, what was not does not arrive.

use crate::canary::{Canary, graves_are_quiet};
use crate::moody::Moody;
use crate::support::{LIMIT, Levels, Random, alone, half_std_pair, runtime, within};
use futures_util::{FutureExt, poll, select_biased};
use ringwork::fs::File;
use ringwork::net::TcpStream;
use ringwork::runtime::Handle;
use ringwork::spawn_blocking;
use ringwork::task::yield_now;
use ringwork::time::sleep;
use socket2::SockRef;
use std::io::{ErrorKind, Read};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

const STREAMS: usize = 4;
const MESSAGES: u32 = 600;
const HEADER: usize = 12;

/// What the sender knows of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The send said that it was sent.
    Sent,
    /// The future was dropped: it was started, or it waited for its turn.
    Dropped,
}

/// A stream whose large message is in flight until its peer reads.
fn narrow_pair() -> (TcpStream, std::net::TcpStream) {
    let (stream, peer) = half_std_pair();
    SockRef::from(&stream).set_send_buffer_size(64 << 10).unwrap();
    (stream, peer)
}

#[test]
fn a_buffer_that_panics_at_the_end_of_its_send_passes_the_turn_on_once() {
    let _alone = alone();
    within(LIMIT, || {
        let runtime = runtime(1);
        let sending = runtime.handle().spawn_on(0, || async {
            let (stream, mut peer) = narrow_pair();
            let (buf, panics) = Moody::new(vec![1; 8 << 20]);
            let mut first = Box::pin(AssertUnwindSafe(stream.send_all(buf)).catch_unwind());
            let mut second = Box::pin(stream.send_all(b"second"));
            let mut third = Box::pin(stream.send_all(b"third"));
            assert!(poll!(&mut first).is_pending());
            assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
            panics.store(true, Ordering::Relaxed);
            let reader = spawn_blocking(move || std::io::copy(&mut peer, &mut std::io::sink()));
            assert!(first.await.is_err(), "it panicked in the poll of its own future");
            // What has left of the first is not known: they may be refused.
            drop((second.await, third.await));
            drop(stream);
            reader.await.unwrap().unwrap();
        });
        runtime.block_on(sending).unwrap();
    });
}

/// Whoever wakes somebody of an executor that is gone panics.
struct Gone;

impl Wake for Gone {
    fn wake(self: Arc<Self>) {
        panic!("nobody is left who would poll, on purpose");
    }
}

#[test]
fn a_waker_that_panics_in_line_is_no_concern_of_who_passes_the_turn_to_it() {
    let _alone = alone();
    within(LIMIT, || {
        let runtime = runtime(1);
        let sending = runtime.handle().spawn_on(0, || async {
            let (stream, mut peer) = narrow_pair();
            let mut first = Box::pin(stream.send_all(vec![1; 8 << 20]));
            let mut second = Box::pin(stream.send_all(b"second"));
            let mut third = Box::pin(stream.send_all(b"third"));
            assert!(poll!(&mut first).is_pending());
            let gone = Waker::from(Arc::new(Gone));
            assert!(second.as_mut().poll(&mut Context::from_waker(&gone)).is_pending());
            assert!(poll!(&mut third).is_pending());
            let reader = spawn_blocking(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).map(|_| all.split_off(8 << 20))
            });
            first.await.0.unwrap();
            second.await.0.unwrap();
            third.await.0.unwrap();
            drop(stream);
            assert_eq!(reader.await.unwrap().unwrap(), b"secondthird");
        });
        runtime.block_on(sending).unwrap();
    });
}

#[test]
fn nothing_follows_a_head_whose_buffer_panics_at_the_end_of_its_send() {
    let _alone = alone();
    within(LIMIT, || {
        let runtime = runtime(1);
        let sending = runtime.handle().spawn_on(0, || async {
            let file = File::open("Cargo.toml").await.unwrap();
            let (stream, mut peer) = narrow_pair();
            let (head, panics) = Moody::new(vec![1; 8 << 20]);
            // Nothing follows the head in its own message, so none of it leaves before there is an op.
            let send = stream.send_file_with_head(head, &file, 0, 0);
            let mut first = Box::pin(AssertUnwindSafe(send).catch_unwind());
            let mut second = Box::pin(stream.send_all(b"second"));
            assert!(poll!(&mut first).is_pending());
            assert!(poll!(&mut second).is_pending());
            let mut received = [0; 4];
            let begun = spawn_blocking(move || peer.read_exact(&mut received).map(|()| peer));
            let mut peer = begun.await.unwrap().expect("a part of the head has come");
            panics.store(true, Ordering::Relaxed);
            let reader = spawn_blocking(move || std::io::copy(&mut peer, &mut std::io::sink()));
            assert!(first.await.is_err(), "it panicked in the poll of its own future");
            assert_eq!(second.await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
            drop(stream);
            // It may end by a reset.
            let _end = reader.await.unwrap();
        });
        runtime.block_on(sending).unwrap();
    });
}

#[test]
fn dropped_sends_leave_whole_messages_in_order_while_the_task_moves() {
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let mut pairs = Vec::new();
            for _ in 0..STREAMS {
                let (stream, peer) = half_std_pair();
                // Small, so that sends are in flight for a while and others wait behind them.
                SockRef::from(&stream).set_send_buffer_size(64 << 10).unwrap();
                SockRef::from(&peer).set_recv_buffer_size(64 << 10).unwrap();
                let seed = random.fork();
                let reader = handle.spawn_blocking(move || read_messages(peer, seed));
                let sender = handle.spawn(send_and_move(handle.clone(), stream, random.fork()));
                pairs.push((sender, reader));
            }
            for (sender, reader) in pairs {
                let fates = sender.await.expect("the sender ends");
                let received = reader.await.expect("messages are whole and in order");
                for (index, fate) in fates.iter().enumerate() {
                    let came = received.contains(&(index as u32));
                    assert!(came || *fate == Fate::Dropped, "message {index} was sent and did not come");
                }
                assert!(received.len() < fates.len(), "no send was dropped before its turn");
            }
            start.return_on(&handle).await;
        });
        graves_are_quiet();
    });
}

fn message(index: u32, random: &mut Random) -> Vec<u8> {
    let len = if random.chance(6) { 1 << (12 + random.below(9)) } else { random.below(4096) as usize };
    let mut bytes = Vec::with_capacity(HEADER + len);
    bytes.extend_from_slice(&0x5249_4e47u32.to_le_bytes());
    bytes.extend_from_slice(&index.to_le_bytes());
    bytes.extend_from_slice(&(len as u32).to_le_bytes());
    bytes.resize(HEADER + len, index as u8);
    bytes
}

async fn send_and_move(handle: Handle, mut stream: TcpStream, mut random: Random) -> Vec<Fate> {
    let mut fates = Vec::new();
    let mut core = 0;
    while fates.len() < MESSAGES as usize {
        core = 1 - core;
        let (there, count) = (random.fork(), 1 + random.below(12) as u32);
        let first = fates.len() as u32;
        let sending = handle.spawn_on(core, move || send_some(stream, first, count, there));
        let (back, more) = sending.await.unwrap();
        stream = back;
        fates.extend(more);
    }
    stream.shutdown_write().await.unwrap();
    fates
}

async fn send_some(stream: TcpStream, first: u32, count: u32, mut random: Random) -> (TcpStream, Vec<Fate>) {
    let mut fates = Vec::new();
    for index in first..first + count {
        let bytes = message(index, &mut random);
        let (yields, naps) = (random.below(5), u32::from(random.chance(4)));
        let impatience = async {
            for _ in 0..yields {
                yield_now().await;
            }
            sleep(Duration::from_millis(1)).await;
            sleep(Duration::from_millis(1) * naps).await;
        };
        let (in_parts, off) = (random.chance(3), random.chance(3));
        let whole = async {
            if off {
                stream.send_off(Canary::full(bytes.clone())).await.unwrap();
            } else if in_parts {
                let parts = bytes.chunks(1 + bytes.len() / 7).map(|part| Canary::full(part.to_vec()));
                assert_eq!(stream.send_vectored(parts.collect()).await.0.unwrap(), bytes.len());
            } else {
                stream.send_all(Canary::full(bytes.clone())).await.0.unwrap();
            }
        };
        let (whole, impatience) = (whole.fuse(), impatience.fuse());
        let (mut whole, mut impatience) = (std::pin::pin!(whole), std::pin::pin!(impatience));
        fates.push(select_biased! {
            () = whole => Fate::Sent,
            () = impatience => Fate::Dropped,
        });
    }
    (stream, fates)
}

/// Reads messages until the end; fails unless each is whole and their numbers grow.
fn read_messages(mut peer: std::net::TcpStream, mut random: Random) -> Vec<u32> {
    let mut received = Vec::new();
    let mut header = [0; HEADER];
    loop {
        if peer.peek(&mut [0]).unwrap() == 0 {
            return received;
        }
        peer.read_exact(&mut header).expect("a header is whole");
        let [magic, index, len] = [0, 4, 8].map(|at| {
            let word = header[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(word)
        });
        assert_eq!(magic, 0x5249_4e47, "a message was cut before number {index}");
        assert!(received.last().is_none_or(|&last| last < index), "{index} came behind {received:?}");
        let mut body = vec![0; len as usize];
        peer.read_exact(&mut body).expect("a body is whole");
        assert!(body.iter().all(|&byte| byte == index as u8), "foreign bytes in message {index}");
        received.push(index);
        // Slow enough that the sender's socket is full now and then.
        if random.chance(10) {
            std::thread::sleep(Duration::from_millis(random.below(8)));
        }
    }
}
