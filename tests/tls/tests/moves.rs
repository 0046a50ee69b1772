//! Everything at once, at random: both directions, owned buffers and polls, drops at any await, tasks that
//! move from core to core.
#![forbid(unsafe_code)]

use ringwork::buf::IoBufMut;
use ringwork::task::JoinSet;
use ringwork::tls::TlsStream;
use ringwork_tls_tests::{on_cores, plain_pair};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

const MESSAGES: u32 = 400;

/// A number, a length, and bytes that follow from both.
fn message(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + len);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&(len as u32).to_le_bytes());
    bytes.extend((0..len).map(|at| byte(number, at)));
    bytes
}

fn byte(number: u32, at: usize) -> u8 {
    (number as usize * 31 + at * 7 + at / 251) as u8
}

/// Sends numbered messages; some futures are dropped after a poll. The last is not.
async fn send(stream: Arc<TlsStream>, mut random: Random) {
    for number in 0..MESSAGES {
        if random.below(10) == 0 {
            ringwork::core::move_to(random.below(2)).await;
        }
        let len = match random.below(8) {
            0 => random.below(200_000),
            1 => 64 * 1024 - 9 + random.below(3),
            _ => random.below(3000),
        };
        if random.below(3) == 0 {
            let mut polled = &*stream;
            polled.write_all(&message(number, len)).await.unwrap();
            if random.below(2) == 0 {
                polled.flush().await.unwrap();
            }
            continue;
        }
        let mut send = stream.send_all(message(number, len));
        if number + 1 < MESSAGES && random.below(2) == 0 {
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut send).poll(cx))).await;
            assert!(!matches!(polled, Poll::Ready((Err(_), _))));
        } else {
            send.await.0.unwrap();
        }
    }
    if random.below(2) == 0 {
        stream.shutdown_write().await.unwrap();
    } else {
        (&*stream).shutdown().await.unwrap();
    }
}

/// Receives exactly `len` bytes, in pieces whose futures are dropped again and again.
async fn exactly(stream: &TlsStream, len: usize, random: &mut Random) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let from = bytes.len();
        if random.below(3) == 0 {
            let mut part = vec![0; 1 + random.below(len - from)];
            let n = (&*stream).read(&mut part).await.unwrap();
            if n == 0 {
                return None;
            }
            bytes.extend_from_slice(&part[..n]);
            continue;
        }
        let mut receive = stream.recv(Vec::with_capacity(len - from).slice_mut(..len - from));
        if random.below(2) == 0 {
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut receive).poll(cx))).await;
            if let Poll::Ready((n, part)) = polled {
                if n.unwrap() == 0 {
                    return None;
                }
                bytes.extend_from_slice(&part);
            } else if random.below(2) == 0 {
                drop(receive);
                ringwork::task::yield_now().await;
            } else {
                bytes.extend_from_slice(&receive.await.1);
            }
            continue;
        }
        let (n, part) = receive.await;
        if n.unwrap() == 0 {
            return None;
        }
        bytes.extend_from_slice(&part);
        if random.below(50) == 0 {
            ringwork::core::move_to(random.below(2)).await;
        }
    }
    Some(bytes)
}

/// Whole messages come, in order, until the announced end; the last one is among them.
async fn receive(stream: Arc<TlsStream>, mut random: Random) {
    let mut last = None;
    while let Some(head) = exactly(&stream, 8, &mut random).await {
        let number = u32::from_le_bytes(head[..4].try_into().unwrap());
        let len = u32::from_le_bytes(head[4..].try_into().unwrap()) as usize;
        assert!(last < Some(number) && number < MESSAGES, "message {number} behind {last:?}");
        let body = exactly(&stream, len, &mut random).await.expect("a message is whole");
        assert!((0..len).all(|at| body[at] == byte(number, at)), "message {number} is damaged");
        last = Some(number);
    }
    assert_eq!(last, Some(MESSAGES - 1));
}

#[test]
fn messages_stay_whole_and_in_order_whatever_is_dropped_or_moves() {
    let given = std::env::var("RINGWORK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed: u64 = given.unwrap_or_else(|| clock.map_or(1, |now| now.as_nanos() as u64)) | 1;
    println!("RINGWORK_TEST_SEED={seed} repeats this run");
    on_cores(2, move |_| async move {
        let mut tasks = JoinSet::new();
        for pair in 0..3 {
            let (one, other) = plain_pair().await;
            for (stream, side) in [(Arc::new(one), 1), (Arc::new(other), 2)] {
                let seed = seed ^ ((pair * 2 + side) * 0x9e37_79b9_7f4a_7c15_u64.wrapping_shr(3));
                tasks.spawn(send(Arc::clone(&stream), Random(seed | 1)));
                tasks.spawn(receive(stream, Random(seed.rotate_left(17) | 1)));
            }
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
}
