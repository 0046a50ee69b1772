//! Wakes, turns and descriptors that once got lost when an op, a stream or a future was dropped at the wrong
//! moment.

mod kit;

use kit::{bounded, runtime};
use ringwork::net::{ListenOptions, TcpListener, TcpStream};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Says one byte and waits for the end of the stream.
fn visit(address: SocketAddr) {
    let mut client = std::net::TcpStream::connect(address).unwrap();
    client.write_all(b"x").unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn a_place_that_comes_free_with_the_last_op_of_a_connection_wakes_who_waits_for_it() {
    bounded(|| {
        let runtime = runtime(1);
        let options = ListenOptions::new().max_connections(1);
        let listener = runtime.block_on(options.bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = runtime.handle().spawn_on(0, || async move {
            for _ in 0..5 {
                let (stream, _) = listener.accept().await.unwrap();
                // The receive is armed, gets one message, and is cancelled by the drop.
                ringwork::spawn(async move { drop(stream.recv_pooled().await.unwrap()) });
            }
        });
        (0..5).for_each(|_| visit(address));
        runtime.block_on(serving).unwrap();
    });
}

#[test]
fn a_core_that_never_runs_dry_closes_what_was_dropped() {
    bounded(|| {
        let runtime = runtime(1);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let busy = runtime.handle().spawn_on(0, || async move {
            let (stream, _) = listener.accept().await.unwrap();
            drop(stream.recv_pooled().await.unwrap());
            drop(stream);
            while !seen.load(Ordering::Relaxed) {
                ringwork::task::yield_now().await;
            }
        });
        visit(address);
        over.store(true, Ordering::Relaxed);
        runtime.block_on(busy).unwrap();
    });
}

#[test]
fn a_send_that_was_stopped_while_it_waited_does_not_keep_its_turn() {
    bounded(|| {
        let runtime = runtime(1);
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        let sending = runtime.handle().spawn_on(0, move || async move {
            let stream = Arc::new(TcpStream::connect(address).await.unwrap());
            let first = Arc::clone(&stream);
            // More than the buffers take: it is in flight until the peer reads.
            let first = ringwork::spawn_local(async move { first.send_all(vec![1; 32 << 20]).await.0 });
            ringwork::task::yield_now().await;
            let mut stopped = pin!(stream.send_all("never").timeout(Duration::from_millis(20)));
            assert_eq!(stopped.as_mut().await.0.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
            let go = ringwork::spawn_blocking(move || {
                let mut read = Vec::new();
                peer.accept().unwrap().0.read_to_end(&mut read).unwrap();
                read.len()
            });
            first.await.unwrap().unwrap();
            // The stopped future is still in scope here.
            stream.send_all("last").await.0.unwrap();
            stream.shutdown_write().await.unwrap();
            go.await.unwrap()
        });
        assert_eq!(runtime.block_on(sending).unwrap(), (32 << 20) + 4);
    });
}

#[test]
fn a_receive_that_panicked_for_want_of_a_runtime_leaves_the_stream_usable() {
    bounded(|| {
        let runtime = runtime(1);
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = runtime.block_on(TcpStream::connect(peer.local_addr().unwrap())).unwrap();
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            futures_executor::block_on(stream.recv(Vec::with_capacity(8))).0
        }));
        assert!(polled.is_err(), "there is no runtime in reach");
        peer.accept().unwrap().0.write_all(b"hello").unwrap();
        let (received, buf) = runtime.block_on(stream.recv(Vec::with_capacity(8)));
        assert_eq!((received.unwrap(), &buf[..]), (5, &b"hello"[..]));
    });
}

#[test]
fn a_send_that_panicked_for_want_of_a_runtime_leaves_the_stream_usable() {
    bounded(|| {
        let runtime = runtime(1);
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = runtime.block_on(TcpStream::connect(peer.local_addr().unwrap())).unwrap();
        // Of few buffers and of many, which are never sent on the spot.
        for buffers in [0, 2, 100] {
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                futures_executor::block_on(async {
                    match buffers {
                        0 => stream.send("lost").await.0,
                        many => stream.send_vectored(vec!["lost"; many]).await.0,
                    }
                })
            }));
            assert!(polled.is_err(), "there is no runtime in reach");
        }
        runtime.block_on(async {
            stream.send_all("hello").await.0.expect("nothing before it was cut");
            stream.shutdown_write().await.unwrap();
        });
        let mut received = String::new();
        peer.accept().unwrap().0.read_to_string(&mut received).unwrap();
        assert_eq!(received, "hello");
    });
}

#[test]
fn a_file_that_claims_to_be_larger_than_memory_is_an_error() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = kit::Folder::new();
        let path = folder.file("huge", "");
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 43).unwrap();
        let read = runtime.block_on(ringwork::fs::read(&path));
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::OutOfMemory);
    });
}

#[test]
fn an_op_dropped_on_a_core_before_it_got_there_is_cancelled_all_the_same() {
    use std::task::{Context, Waker};
    bounded(|| {
        let runtime = runtime(1);
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = runtime.block_on(TcpStream::connect(peer.local_addr().unwrap())).unwrap();
        let _peer = peer.accept().unwrap();
        let stream = Arc::new(stream);
        let (polling, may_drop) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        // The core is inside one poll from before the op is sent to it until after it was dropped here.
        let dropping = runtime.spawn(async move {
            polling.0.send(()).unwrap();
            drop::<Option<_>>(may_drop.1.recv().ok());
        });
        polling.1.recv().unwrap();
        let receiver = Arc::clone(&stream);
        let mut receive = Box::pin(async move { receiver.recv(Vec::with_capacity(8)).await.0 });
        {
            let _guard = runtime.handle().enter();
            assert!(receive.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        may_drop.0.send(receive).unwrap();
        runtime.block_on(dropping).unwrap();
        // Comes to an end only when no receive is in flight any more.
        let stream = Arc::into_inner(stream).expect("the receive is gone");
        runtime.block_on(stream.release()).unwrap();
    });
}

#[test]
fn an_accept_that_begins_while_a_connection_comes_to_another_core_gets_it() {
    const ROUNDS: u32 = 5000;
    bounded(|| {
        let runtime = runtime(2);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, listener) = (listener.local_addr().unwrap(), Arc::new(listener));
        let arms = Arc::clone(&listener);
        let armed = runtime.handle().spawn_on(0, move || async move {
            let mut accept = pin!(arms.accept());
            assert!(kit::poll_once(&mut accept).await.is_pending());
        });
        runtime.block_on(armed).unwrap();
        let may_connect = Arc::new(AtomicU32::new(0));
        let round = Arc::clone(&may_connect);
        let accepting = runtime.handle().spawn_on(1, || async move {
            for n in 1..=ROUNDS {
                round.store(n, Ordering::SeqCst);
                // The connection comes to core 0 before the accept below, after it, or meanwhile.
                (0..n.wrapping_mul(2_654_435_761) % 4096).for_each(|_| std::hint::spin_loop());
                drop(listener.accept().await.unwrap());
            }
        });
        for n in 1..=ROUNDS {
            while may_connect.load(Ordering::SeqCst) < n {
                std::thread::yield_now();
            }
            let mut client = std::net::TcpStream::connect(address).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        }
        runtime.block_on(accepting).unwrap();
    });
}
