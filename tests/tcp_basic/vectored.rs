//! Messages of several buffers that are larger than what the socket takes at once, after a call that has left
//! the socket in non-blocking mode.

use crate::support::{assert_pattern, half_std_pair, on_cores, pattern};
use futures_util::poll;
use ringwork::fs::File;
use ringwork::net::TcpStream;
use socket2::SockRef;
use std::io::Read;
use std::net::TcpStream as StdStream;
use std::path::Path;
use std::time::Duration;

const FILE: usize = 4096;
const PART: usize = 16 << 20;
const PARTS: usize = 4;
const ALL: usize = PART * PARTS;

/// A stream that has sent a file, which is at its peer, and whose socket takes little at once.
async fn after_a_file() -> (TcpStream, StdStream) {
    let (stream, mut peer) = half_std_pair();
    SockRef::from(&stream).set_send_buffer_size(32 << 10).unwrap();
    SockRef::from(&peer).set_recv_buffer_size(32 << 10).unwrap();
    let name = format!("vectored-{}-{}", std::process::id(), stream.local_addr().unwrap().port());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, pattern(0, FILE)).unwrap();
    let file = File::open(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(stream.send_file(&file, 0, FILE as u64).await.unwrap(), FILE as u64);
    peer.read_exact(&mut [0; FILE]).unwrap();
    (stream, peer)
}

fn parts() -> Vec<Vec<u8>> {
    (0..PARTS).map(|part| pattern(part * PART, PART)).collect()
}

/// Reads to the end, but not so fast that the socket never fills up.
fn read_slowly(mut peer: StdStream) -> Vec<u8> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 256 << 10]);
    for round in 0.. {
        match peer.read(&mut piece).unwrap() {
            0 => break,
            n => bytes.extend_from_slice(&piece[..n]),
        }
        if round % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    bytes
}

#[test]
fn a_message_of_several_large_buffers_leaves_whole_after_a_file() {
    on_cores(1, |_| async {
        let (stream, peer) = after_a_file().await;
        let reading = ringwork::spawn_blocking(move || read_slowly(peer));
        let (sent, bufs) = stream.send_vectored(parts()).await;
        assert_eq!(sent.unwrap(), ALL);
        assert_eq!(bufs.len(), PARTS);
        drop(stream);
        let bytes = reading.await.unwrap();
        assert_eq!(bytes.len(), ALL);
        assert_pattern(0, &bytes);
    });
}

#[test]
fn a_dropped_message_of_several_large_buffers_leaves_whole_and_the_next_goes_behind_it() {
    on_cores(1, |_| async {
        let (stream, peer) = after_a_file().await;
        assert!(poll!(Box::pin(stream.send_vectored(parts()))).is_pending());
        let reading = ringwork::spawn_blocking(move || read_slowly(peer));
        stream.send_all("next").await.0.unwrap();
        drop(stream);
        let bytes = reading.await.unwrap();
        assert_eq!(bytes.len(), ALL + 4);
        assert_pattern(0, &bytes[..ALL]);
        assert_eq!(&bytes[ALL..], b"next");
    });
}
