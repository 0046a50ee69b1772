//! Receives in bulk: into large buffers of the pool, of which a stream that only waits holds none.

use futures_util::future::join_all;
use futures_util::poll;
use ringwork::CoreMetrics;
use ringwork::buf::PooledBuf;
use ringwork::net::TcpStream;
use ringwork::runtime::Handle;
use ringwork::time::sleep;
use std::io::{Read, Write};
use std::pin::pin;
use std::time::Duration;

mod support;
use support::{alone, assert_pattern, buffers_out, forwarding_pipes, half_std_pair, on_cores, pattern};

/// Bytes of a buffer for messages: more in one are in a large buffer.
const SMALL: usize = 8 << 10;
const FLOOD: usize = 512 << 10;

/// Receives from the stream what is written to its peer, and says how long the longest buffer was.
async fn take(stream: &TcpStream, peer: &std::net::TcpStream, bytes: usize) -> usize {
    let mut writer = peer.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&pattern(0, bytes)).unwrap());
    let (mut at, mut longest) = (0, 0);
    while at < bytes {
        let buf = stream.recv_pooled().await.unwrap();
        assert_pattern(at, &buf);
        at += buf.len();
        longest = longest.max(buf.len());
    }
    writing.join().unwrap();
    longest
}

/// A stream that has come to receive in bulk, with nothing unread.
async fn in_bulk() -> (TcpStream, std::net::TcpStream) {
    let (stream, peer) = half_std_pair();
    for _ in 0..20 {
        if take(&stream, &peer, FLOOD).await > SMALL {
            return (stream, peer);
        }
    }
    panic!("no flood was taken for bulk");
}

/// Runs the test on the one core of a runtime.
fn on_core<F: Future<Output = ()> + 'static>(test: impl FnOnce(Handle) -> F + Send + 'static) {
    let _alone = alone();
    on_cores(1, |handle| async move {
        let inside = handle.clone();
        handle.spawn_on(0, move || test(inside)).await.unwrap();
    });
}

/// Waits until the core has published that this holds, as it does when it enters the kernel.
async fn until(handle: &Handle, holds: impl Fn(&CoreMetrics) -> bool) {
    while !holds(&handle.metrics().cores[0]) {
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn streams_that_wait_after_bulk_hold_no_buffer() {
    on_core(|handle| async move {
        let mut waiting = Vec::new();
        for _ in 0..100 {
            let (stream, peer) = in_bulk().await;
            let task = ringwork::spawn_local(async move { (stream.recv_pooled().await, stream) });
            waiting.push((task, peer));
        }
        let misses = handle.metrics().cores[0].pool_misses;
        until(&handle, |core| buffers_out(core) == 0).await;
        for (task, mut peer) in waiting {
            peer.write_all(b"more").unwrap();
            let (received, _stream) = task.await.unwrap();
            assert_eq!(&received.unwrap()[..], b"more");
        }
        assert_eq!(handle.metrics().cores[0].pool_misses, misses, "it had come from the heap");
    });
}

#[test]
fn bulk_beyond_the_large_buffers_waits_for_nobody() {
    on_core(|handle| async move {
        let mut streams = Vec::new();
        for _ in 0..80 {
            streams.push(in_bulk().await);
        }
        let before = handle.metrics().cores[0].pool_misses;
        // Each keeps what it gets until all have got theirs.
        let held = join_all(streams.iter_mut().map(|(stream, peer)| async {
            peer.write_all(&pattern(0, 2 * SMALL)).unwrap();
            let (mut held, mut at) = (Vec::new(), 0);
            while at < 2 * SMALL {
                let buf = stream.recv_pooled().await.unwrap();
                assert_pattern(at, &buf);
                at += buf.len();
                held.push(buf);
            }
            held
        }));
        let held: Vec<PooledBuf> = held.await.into_iter().flatten().collect();
        let core = &handle.metrics().cores[0];
        let from_pool = held.iter().filter(|buf| buf.is_from_pool()).count() as u64;
        assert!((1..=core.pool_large_buffers).contains(&from_pool), "{from_pool} from the pool");
        assert!(core.pool_misses > before && core.pool_large_starved > 0, "{core:?}");
        drop(held);
        until(&handle, |core| buffers_out(core) == 0).await;
        let (stream, mut peer) = in_bulk().await;
        peer.write_all(b"again").unwrap();
        assert!(stream.recv_pooled().await.unwrap().is_from_pool());
    });
}

#[test]
fn messages_after_bulk_come_into_small_buffers_again() {
    on_core(|handle| async move {
        let (stream, mut peer) = in_bulk().await;
        let mut last = None;
        for _ in 0..10 {
            peer.write_all(b"message").unwrap();
            last = Some(stream.recv_pooled().await.unwrap());
            assert_eq!(last.as_deref(), Some(&b"message"[..]));
        }
        until(&handle, |core| {
            core.pool_available + 1 == core.pool_buffers
                && core.pool_large_available == core.pool_large_buffers
        })
        .await;
        drop(last);
    });
}

#[test]
fn a_forwarding_after_receives_in_bulk_takes_a_pipe() {
    on_core(|_| async move {
        let ((from, mut writes), (to, mut reads)) = (in_bulk().await, half_std_pair());
        // The next receive has nothing to do but wait when the forwarding comes.
        assert!(poll!(pin!(from.recv_pooled())).is_pending());
        // One piece at a time: no flood ends a receive that goes on by itself.
        let peers = std::thread::spawn(move || {
            for round in 0..20 {
                let mut all = vec![0; 6 * SMALL];
                writes.write_all(&pattern(round, all.len())).unwrap();
                reads.read_exact(&mut all).unwrap();
                assert_pattern(round, &all);
            }
        });
        assert_eq!(from.forward_to(&to).await.unwrap(), 20 * 6 * SMALL as u64);
        peers.join().unwrap();
        assert!(forwarding_pipes() > 0, "all of it went through buffers");
    });
}
