//! Sockets that come in from elsewhere and go out again, with every byte accounted for.

use crate::support::{
    LIMIT, assert_pattern, half_std_pair, on_cores, pair, pattern, runtime, std_pair, within,
};
use futures_util::poll;
use ringwork::fs::File;
use ringwork::net::TcpStream;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

#[test]
fn a_std_stream_goes_in_and_comes_out() {
    within(LIMIT, || {
        let runtime = runtime(1);
        let (one, mut peer) = std_pair();
        // The mode it had does not matter.
        one.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(one).unwrap();
        let back = runtime.block_on(async {
            peer.write_all(b"in").unwrap();
            assert_eq!(stream.recv([0u8; 2]).await.1, *b"in");
            stream.send_all("out").await.0.unwrap();
            stream.into_std().expect("nothing is unread, nothing armed")
        });
        let mut back = back;
        let mut buf = [0; 3];
        peer.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"out");
        peer.write_all(b"std").unwrap();
        back.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"std");
    });
}

#[test]
fn a_socket_that_has_sent_a_file_goes_out_in_blocking_mode() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let file = File::open("Cargo.toml").await.unwrap();
            let (stream, mut peer) = half_std_pair();
            assert_eq!(stream.send_file(&file, 0, 9).await.unwrap(), 9);
            // Receives wait as before, although system calls on the socket would not.
            let mut receiving = Box::pin(stream.recv_pooled());
            assert!(poll!(receiving.as_mut()).is_pending());
            peer.write_all(b"later").unwrap();
            assert_eq!(&receiving.await.unwrap()[..], b"later");
            let (fd, _unread) = stream.release().await.unwrap();
            assert!(!is_nonblocking(&fd));
            for stream in [half_std_pair().0, pair().await.0] {
                assert_eq!(stream.send_file(&file, 0, 9).await.unwrap(), 9);
                assert!(!is_nonblocking(&stream.into_std().expect("nothing is armed")));
            }
        });
        ran.await.unwrap();
    });
}

#[test]
fn a_socket_that_others_may_know_does_not_wait_whatever_they_do_to_its_mode() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let file = File::open("Cargo.toml").await.unwrap();
            let ((lent, _one), (numbered, _two), (adopted, _three)) =
                (pair().await, pair().await, std_pair());
            let before = adopted.try_clone().unwrap();
            let adopted = TcpStream::from_std(adopted).unwrap();
            for stream in [&lent, &numbered, &adopted] {
                assert_eq!(stream.send_file(&file, 0, 9).await.unwrap(), 9);
            }
            let borrowed = lent.as_fd().try_clone_to_owned().unwrap();
            let number = numbered.as_raw_fd();
            // SAFETY: the stream is there, and so is its descriptor.
            let by_number = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned().unwrap();
            for (stream, other) in [(lent, borrowed), (numbered, by_number), (adopted, before.into())] {
                for _ in 0..2 {
                    socket2::SockRef::from(&other).set_nonblocking(false).unwrap();
                    assert_eq!(stream.send_file(&file, 0, 9).await.unwrap(), 9);
                    assert!(is_nonblocking(&other));
                }
            }
        });
        ran.await.unwrap();
    });
}

fn is_nonblocking(fd: &impl AsFd) -> bool {
    socket2::SockRef::from(fd).nonblocking().unwrap()
}

#[test]
fn a_stream_that_is_armed_or_has_unread_bytes_is_not_given_out() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let (one, other) = pair().await;
            {
                let mut waiting = pin!(other.recv_pooled());
                assert!(poll!(waiting.as_mut()).is_pending());
            }
            // Armed although nobody waits any more.
            let other = other.into_std().expect_err("a receive is armed");
            one.send_all("abc").await.0.unwrap();
            let n = other.recv([0u8; 1]).await.0.unwrap();
            assert_eq!(n, 1);
            let other = other.into_std().expect_err("two bytes are unread");
            let (fd, unread) = other.release().await.unwrap();
            assert_eq!(unread, b"bc");
            let mut std = std::net::TcpStream::from(fd);
            one.send_all("d").await.0.unwrap();
            let mut buf = [0; 1];
            std.read_exact(&mut buf).unwrap();
            assert_eq!(&buf, b"d");
        });
        ran.await.unwrap();
    });
}

#[test]
fn release_hands_over_all_that_was_read_ahead_and_the_rest_stays_in_the_socket() {
    on_cores(2, |handle| async move {
        const SIZE: usize = 3 << 20;
        for core in [0, 1] {
            let (stream, mut peer) = half_std_pair();
            let writer = handle.spawn_blocking(move || {
                peer.write_all(&pattern(0, SIZE)).unwrap();
                peer
            });
            let first = handle.spawn_on(0, move || async move {
                let first = stream.recv_pooled().await.unwrap();
                assert_pattern(0, &first);
                (first.len(), stream)
            });
            let (first, stream) = first.await.unwrap();
            let released = handle.spawn_on(core, move || async move { stream.release().await.unwrap() });
            let (fd, unread) = released.await.unwrap();
            assert_pattern(first, &unread);
            let mut at = first + unread.len();
            let mut std = std::net::TcpStream::from(fd);
            let rest = handle.spawn_blocking(move || {
                let mut piece = vec![0; 64 << 10];
                while at < SIZE {
                    let n = std.read(&mut piece).unwrap();
                    assert!(n > 0);
                    assert_pattern(at, &piece[..n]);
                    at += n;
                }
            });
            rest.await.unwrap();
            drop(writer.await.unwrap());
        }
    });
}

#[test]
fn release_waits_for_a_dropped_send_and_keeps_the_bytes_of_a_dropped_receive() {
    on_cores(1, |handle| async move {
        const SIZE: usize = 16 << 20;
        let (stream, mut peer) = half_std_pair();
        {
            let mut receive = pin!(stream.recv([0u8; 16]));
            let mut send = pin!(stream.send_all(pattern(0, SIZE)));
            assert!(poll!(receive.as_mut()).is_pending());
            assert!(poll!(send.as_mut()).is_pending());
        }
        peer.write_all(b"unread").unwrap();
        let mut release = pin!(stream.release());
        assert!(poll!(release.as_mut()).is_pending(), "the send waits for the reader");
        let reader = handle.spawn_blocking(move || {
            let mut buf = vec![0; SIZE];
            peer.read_exact(&mut buf).unwrap();
            assert_pattern(0, &buf);
            peer
        });
        let (fd, mut unread) = release.await.unwrap();
        drop(reader.await.unwrap());
        let mut rest = Vec::new();
        std::net::TcpStream::from(fd).read_to_end(&mut rest).unwrap();
        unread.extend(rest);
        assert_eq!(unread, b"unread");
    });
}

/// Polls an armed receive, has `ends` end the stream, and drops the receive when it could tell.
async fn unheard(stream: &TcpStream, ends: impl FnOnce()) {
    let mut waiting = pin!(stream.recv_pooled());
    let told = Arc::new(Told(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&told));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    ends();
    while !told.0.load(Ordering::SeqCst) {
        ringwork::task::yield_now().await;
    }
}

struct Told(AtomicBool);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn release_says_that_a_reset_was_received_of_which_no_call_told() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let (stream, peer) = half_std_pair();
            unheard(&stream, || {
                socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                drop(peer);
            })
            .await;
            let error = stream.release().await.expect_err("the connection has failed");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
        ran.await.unwrap();
    });
}

#[test]
fn a_stream_at_its_end_is_given_out_whoever_told_the_end() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            for pooled in [false, true] {
                let (stream, peer) = half_std_pair();
                peer.shutdown(Shutdown::Write).unwrap();
                if pooled {
                    assert!(stream.recv_pooled().await.unwrap().is_empty());
                } else {
                    assert_eq!(stream.recv([0u8; 8]).await.0.unwrap(), 0);
                }
                let mut std = stream.into_std().expect("nothing is unread, nothing armed");
                assert_eq!(std.read(&mut [0]).unwrap(), 0, "the new owner is told the same");
            }
            let (stream, peer) = half_std_pair();
            unheard(&stream, || peer.shutdown(Shutdown::Write).unwrap()).await;
            let (fd, unread) = stream.release().await.unwrap();
            assert!(unread.is_empty());
            assert_eq!(std::net::TcpStream::from(fd).read(&mut [0]).unwrap(), 0);
        });
        ran.await.unwrap();
    });
}

#[test]
fn without_read_ahead_a_receive_takes_no_more_than_it_asked_for() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let (stream, mut peer) = half_std_pair();
            stream.read_ahead(false);
            peer.write_all(b"handshakethe rest").unwrap();
            let (received, buf) = stream.recv_exact([0u8; 9]).await;
            received.unwrap();
            assert_eq!(&buf, b"handshake");
            // What was not asked for is still in the socket: another reader of it sees it.
            let mut std = stream.into_std().expect("nothing was read ahead");
            let mut rest = [0; 8];
            std.read_exact(&mut rest).unwrap();
            assert_eq!(&rest, b"the rest");
        });
        ran.await.unwrap();
    });
}

#[test]
fn read_ahead_can_be_turned_off_under_an_armed_stream() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let (one, other) = pair().await;
            one.send_all("a").await.0.unwrap();
            assert_eq!(&other.recv_pooled().await.unwrap()[..], b"a");
            other.read_ahead(false);
            one.send_all("bcd").await.0.unwrap();
            // One byte at a time, whichever of them the armed receive had taken before it ended.
            for expected in [*b"b", *b"c", *b"d"] {
                assert_eq!(other.recv([0u8; 1]).await.1, expected);
            }
            let mut waiting = other.recv([0u8; 1]);
            assert!(poll!(&mut waiting).is_pending());
            waiting.cancel().await.0.unwrap_err();
            let other = other.into_std().expect("one-shot receives leave nothing armed");
            assert!(other.as_raw_fd() > 0);
            let other = TcpStream::from_std(other).unwrap();
            one.send_all("e").await.0.unwrap();
            assert_eq!(&other.recv_pooled().await.unwrap()[..], b"e");
        });
        ran.await.unwrap();
    });
}

#[test]
fn a_stream_outlives_its_runtime_and_works_under_another() {
    within(LIMIT, || {
        let first = runtime(2);
        let (stream, mut peer) = half_std_pair();
        let stream = first.block_on(first.handle().spawn_on(0, move || async move {
            let mut waiting = stream.recv_pooled();
            assert!(poll!(&mut waiting).is_pending());
            drop(waiting);
            stream
        }));
        let stream = stream.unwrap();
        assert!(first.shutdown_timeout(Duration::from_secs(10)).is_clean());
        peer.write_all(b"hello").unwrap();
        let second = runtime(1);
        second.block_on(async {
            let (n, buf) = stream.recv(Vec::with_capacity(16)).await;
            assert_eq!((n.unwrap(), &buf[..]), (5, &b"hello"[..]));
            stream.send_all("again").await.0.unwrap();
        });
        let mut buf = [0; 5];
        peer.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"again");
    });
}

#[test]
fn a_receive_that_waits_when_its_runtime_ends_says_so_and_the_stream_lives_on() {
    within(LIMIT, || {
        let (stream, mut peer) = half_std_pair();
        for pooled in [true, false] {
            let runtime = runtime(2);
            // Armed or submitted on a core, awaited on a thread that is none.
            let guard = runtime.handle().enter();
            let mut waiting: Pin<Box<dyn Future<Output = std::io::Error> + '_>> = if pooled {
                Box::pin(async { stream.recv_pooled().await.unwrap_err() })
            } else {
                Box::pin(async { stream.recv([0u8; 8]).await.0.unwrap_err() })
            };
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert!(runtime.shutdown_timeout(Duration::from_secs(10)).is_clean());
            let error = futures_executor::block_on(waiting);
            assert_eq!(error.kind(), std::io::ErrorKind::NotConnected, "{error}");
            drop(guard);
        }
        peer.write_all(b"alive").unwrap();
        let runtime = runtime(1);
        let (n, buf) = runtime.block_on(stream.recv([0u8; 5]));
        assert_eq!((n.unwrap(), &buf), (5, b"alive"));
    });
}
