//! Receives in bulk: into large buffers of the pool, of which a stream that only waits holds none.

use futures_util::future::join_all;
use futures_util::poll;
use ringwork::CoreMetrics;
use ringwork::buf::PooledBuf;
use ringwork::runtime::Handle;
use ringwork::time::sleep;
use socket2::SockRef;
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

mod support;
use support::{
    FLOOD, SMALL, alone, assert_pattern, buffers_out, forwarding_pipes, half_std_pair, in_bulk, on_cores,
    pattern, unix_in_bulk,
};

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
        until(&handle, |core| core.in_flight >= 100 && buffers_out(core) == 0).await;
        for (task, mut peer) in waiting {
            peer.write_all(b"more").unwrap();
            let (received, _stream) = task.await.unwrap();
            let received = received.unwrap();
            assert_eq!(&received[..], b"more");
            assert!(received.is_from_pool(), "it waited with a buffer of the heap");
        }
    });
}

#[test]
fn bulk_beyond_the_large_buffers_waits_for_nobody() {
    on_core(|handle| async move {
        let mut streams = Vec::new();
        for _ in 0..80 {
            streams.push(in_bulk().await);
        }
        let before = handle.metrics().cores[0].clone();
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
        let is_large = |buf: &&PooledBuf| buf.is_from_pool() && buf.len() > SMALL;
        let from_pool = held.iter().filter(is_large).count() as u64;
        assert!((1..=core.pool_large_buffers).contains(&from_pool), "{from_pool} from the pool");
        assert!(core.pool_misses > before.pool_misses, "{core:?}");
        assert!(core.pool_large_starved > before.pool_large_starved, "{core:?}");
        drop(held);
        until(&handle, |core| buffers_out(core) == 0).await;
        let (stream, mut peer) = in_bulk().await;
        peer.write_all(b"again").unwrap();
        assert!(stream.recv_pooled().await.unwrap().is_from_pool());
    });
}

/// Each gets its share in bounded time. That all get about as much is not asserted: the writers' threads
/// have a say in it.
#[test]
fn each_of_many_floods_gets_on() {
    const FLOODS: usize = 40;
    const SHARE: usize = 4 << 20;
    on_core(|_| async move {
        let served = Rc::new(Cell::new(0));
        let (mut streams, mut readers, mut writers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..FLOODS {
            streams.push(in_bulk().await);
        }
        for (stream, mut peer) in streams {
            // Until the stream is dropped.
            writers.push(std::thread::spawn(move || while peer.write_all(&[7; FLOOD]).is_ok() {}));
            let served = Rc::clone(&served);
            readers.push(ringwork::spawn_local(async move {
                let mut bytes = 0;
                // Who has its share reads on, and leaves nothing to the others.
                while served.get() < FLOODS {
                    let before = bytes;
                    bytes += stream.recv_pooled().await.unwrap().len();
                    served.update(|served| served + usize::from((before..bytes).contains(&SHARE)));
                }
            }));
        }
        for reader in readers {
            reader.await.unwrap();
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
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

/// Bytes and end are both there when the stream receives again: the kernel wakes once for both, and never
/// again (kernel-notes/multishot-end.md).
#[test]
fn a_reset_that_has_come_right_behind_the_last_bytes_is_told() {
    on_core(|handle| async move {
        for _ in 0..10 {
            let (stream, mut peer) = in_bulk().await;
            stream.read_ahead(false);
            until(&handle, |core| core.in_flight == 0).await;
            stream.read_ahead(true);
            // A reset takes with it what Nagle's algorithm holds back.
            peer.set_nodelay(true).unwrap();
            peer.write_all(b"last").unwrap();
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"last");
            assert_eq!(stream.recv_pooled().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn an_end_that_has_come_right_behind_the_last_bytes_of_a_unix_stream_is_told() {
    on_core(|handle| async move {
        for how in [Shutdown::Both, Shutdown::Write].into_iter().cycle().take(10) {
            let (stream, mut peer) = unix_in_bulk().await;
            stream.read_ahead(false);
            until(&handle, |core| core.in_flight == 0).await;
            stream.read_ahead(true);
            peer.write_all(b"last").unwrap();
            peer.shutdown(how).unwrap();
            assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"last");
            assert!(stream.recv_pooled().await.unwrap().is_empty());
        }
    });
}
