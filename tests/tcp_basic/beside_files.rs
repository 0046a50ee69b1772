//! Receiving while a file is sent on the same stream: the two directions do not see each other.

use crate::support::{Random, assert_pattern, half_std_pair, on_cores, pattern};
use futures_util::poll;
use ringwork::buf::PooledBuf;
use ringwork::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

const FILE: usize = 512 << 10;
const TIMES: usize = 300;
const BYTES: usize = 64 << 10;

#[test]
fn receives_on_one_core_go_on_while_another_sends_a_file() {
    side_by_side(true);
}

#[test]
fn one_shot_receives_on_one_core_go_on_while_another_sends_a_file() {
    side_by_side(false);
}

fn side_by_side(read_ahead: bool) {
    on_cores(2, move |handle| async move {
        let mut random = Random::announced();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("beside-{read_ahead}-{}", std::process::id()));
        std::fs::write(&path, pattern(0, FILE)).unwrap();
        let file = File::open(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let (stream, peer) = half_std_pair();
        let mut reads_from = peer.try_clone().unwrap();
        let reader = handle.spawn_blocking(move || {
            let mut buf = vec![0; FILE];
            for _ in 0..TIMES {
                reads_from.read_exact(&mut buf).unwrap();
                assert_pattern(0, &buf);
            }
        });
        let writer = handle.spawn_blocking(move || {
            let mut peer = peer;
            peer.set_nodelay(true).unwrap();
            for at in (0..BYTES).step_by(16) {
                peer.write_all(&pattern(at, 16)).unwrap();
                // Most receives start on an empty socket.
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        stream.read_ahead(read_ahead);
        let stream = Arc::new(stream);
        let sends = Arc::clone(&stream);
        let sender = handle.spawn_on(0, move || async move {
            for _ in 0..TIMES {
                assert_eq!(sends.send_file(&file, 0, FILE as u64).await.unwrap(), FILE as u64);
            }
        });
        let receiver = handle.spawn_on(1, move || async move {
            let mut at = 0;
            while at < BYTES {
                let pooled = random.chance(3);
                let mut own = stream.recv(Vec::with_capacity(1 + random.below(4096) as usize));
                let mut lent = stream.recv_pooled();
                // Some are dropped in flight: an orphan must not take an error that is none for one.
                let drops = random.chance(3);
                let polled =
                    if pooled { poll!(&mut lent).map(pooled_bytes) } else { poll!(&mut own).map(received) };
                let bytes = match polled {
                    Poll::Ready(bytes) => bytes,
                    Poll::Pending if drops => continue,
                    Poll::Pending if pooled => pooled_bytes(lent.await),
                    Poll::Pending => received(own.await),
                };
                assert!(!bytes.is_empty(), "the stream ended after {at} bytes");
                assert_pattern(at, &bytes);
                at += bytes.len();
            }
        });
        for task in [reader, writer, sender, receiver] {
            task.await.unwrap();
        }
    });
}

fn pooled_bytes(buf: std::io::Result<PooledBuf>) -> Vec<u8> {
    buf.unwrap().to_vec()
}

fn received((n, bytes): (std::io::Result<usize>, Vec<u8>)) -> Vec<u8> {
    assert_eq!(n.unwrap(), bytes.len());
    bytes
}
