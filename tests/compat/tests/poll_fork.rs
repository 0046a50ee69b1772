//! A stream in a forked child, polled without a future. In a program of its own: nothing else runs when it
//! forks.

mod everywhere;
#[path = "../../support/mod.rs"]
mod support;

use everywhere::fill;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use support::{half_std_pair, in_child, on_cores};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

fn assert_forked<T>(what: &str, polled: Poll<io::Result<T>>) {
    let Poll::Ready(Err(error)) = polled else { panic!("{what} neither fails nor ends") };
    assert!(error.to_string().contains("forked"), "{what}: {error}");
}

#[test]
fn a_child_forked_while_a_stream_is_sending_is_told_and_does_not_wait() {
    on_cores(1, |_| async move {
        let (mut stream, _peer) = half_std_pair();
        fill(&mut stream).await;
        let code = in_child(|| {
            let mut cx = Context::from_waker(Waker::noop());
            assert_forked("write", Pin::new(&mut stream).poll_write(&mut cx, b"x"));
            assert_forked("flush", Pin::new(&mut stream).poll_flush(&mut cx));
            assert_forked("shutdown", Pin::new(&mut stream).poll_shutdown(&mut cx));
        });
        assert_eq!(code, 0);
        // The parent's op is still the parent's.
        let polled = Pin::new(&mut stream).poll_flush(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    });
}

#[test]
fn a_child_forked_while_a_future_sends_is_told_and_does_not_wait() {
    on_cores(1, |_| async move {
        for off in [true, false] {
            let (mut stream, _peer) = half_std_pair();
            // More than the socket takes.
            if off {
                stream.send_off(vec![0; 64 << 20]).await.unwrap();
            } else {
                let sent = futures_lite::future::poll_once(stream.send(vec![0; 64 << 20])).await;
                assert!(sent.is_none());
            }
            let code = in_child(|| {
                let mut cx = Context::from_waker(Waker::noop());
                assert_forked("write", Pin::new(&mut stream).poll_write(&mut cx, b"x"));
                assert_forked("shutdown", Pin::new(&mut stream).poll_shutdown(&mut cx));
            });
            assert_eq!(code, 0, "sent off: {off}");
        }
    });
}

#[test]
fn a_child_does_not_close_the_direction_in_which_the_parent_sends() {
    on_cores(1, |_| async move {
        let (mut stream, mut peer) = half_std_pair();
        let code = in_child(|| {
            let mut cx = Context::from_waker(Waker::noop());
            assert_forked("shutdown", Pin::new(&mut stream).poll_shutdown(&mut cx));
        });
        assert_eq!(code, 0);
        stream.send_all("alive").await.0.unwrap();
        let mut bytes = [0; 5];
        std::io::Read::read_exact(&mut peer, &mut bytes).unwrap();
    });
}

/// Bytes that a socket has received and nobody has taken.
fn unread(socket: &impl AsRawFd) -> libc::c_int {
    let mut bytes = 0;
    // SAFETY: the request writes one number, which lives over the call.
    assert_eq!(unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) }, 0);
    bytes
}

#[test]
fn what_has_come_to_the_parent_in_several_buffers_is_not_looked_at_in_a_child() {
    on_cores(1, |handle| async move {
        let test = move || async move {
            let (mut stream, mut peer) = half_std_pair();
            // From the first message on it receives by itself, into buffers of the pool.
            peer.write_all(b"armed").unwrap();
            assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"armed");
            for word in ["first ", "second"] {
                peer.write_all(word.as_bytes()).unwrap();
                // Once the socket has nothing left, its buffer is in the queue.
                ringwork::task::yield_now().await;
                while unread(&stream) > 0 {
                    ringwork::task::yield_now().await;
                }
            }
            let mut bytes = [0; 64];
            let code = in_child(|| {
                let (mut cx, mut into) = (Context::from_waker(Waker::noop()), ReadBuf::new(&mut bytes));
                assert_forked("read", Pin::new(&mut stream).poll_read(&mut cx, &mut into));
                assert_eq!(into.filled(), b"");
            });
            assert_eq!(code, 0);
            let mut both = [0; 12];
            stream.read_exact(&mut both).await.unwrap();
            assert_eq!(&both, b"first second");
        };
        handle.spawn_on(0, test).await.unwrap();
    });
}
