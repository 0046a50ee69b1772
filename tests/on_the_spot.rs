//! Messages of up to 64 KiB of a core that has little to do: they leave by a call of their own, and are
//! otherwise messages like any other.

mod support;

use ringwork::buf::{IoBuf, PooledBuf};
use ringwork::net::TcpStream;
use ringwork::runtime::Handle;
use socket2::SockRef;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};
use std::time::Duration;
use support::{LIMIT, assert_pattern, half_std_pair, on_cores, pattern};

const ROUNDS: u64 = 200;

/// Runs `body` on core 0.
async fn on_core<F: Future<Output: Send + 'static> + 'static>(
    handle: &Handle,
    body: impl FnOnce() -> F + Send + 'static,
) -> F::Output {
    handle.spawn_on(0, body).await.unwrap()
}

/// Asks and awaits the answer, again and again.
fn ask(mut peer: StdStream) {
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    for round in 0..ROUNDS {
        let question = round.to_be_bytes();
        peer.write_all(&question).unwrap();
        let mut answer = [0; 8];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, question);
    }
}

/// Messages that left on the spot, and enters, while `serve` answered one question after another.
fn of_answers<F: Future<Output = ()> + 'static>(serve: fn(TcpStream) -> F) {
    on_cores(1, move |handle| async move {
        let (stream, peer) = half_std_pair();
        let server = handle.spawn_on(0, move || serve(stream));
        let before = handle.metrics().cores[0].clone();
        ringwork::spawn_blocking(move || ask(peer)).await.unwrap();
        let after = handle.metrics().cores[0].clone();
        server.await.unwrap();
        let (sent, enters) =
            (after.sends_on_the_spot - before.sends_on_the_spot, after.enters - before.enters);
        // What else happens on the core (the test begins, its jobs end) may come in between.
        assert!(sent > ROUNDS * 9 / 10, "{sent} of {ROUNDS}");
        assert!(enters < ROUNDS * 3 / 2, "{enters} enters");
    });
}

/// Answers each message with itself.
async fn answer(stream: TcpStream, send: impl AsyncFn(&TcpStream, PooledBuf)) {
    loop {
        let bytes = stream.recv_pooled().await.unwrap();
        if bytes.is_empty() {
            break;
        }
        send(&stream, bytes).await;
    }
}

#[test]
fn a_lone_answer_that_is_sent_off_takes_no_op() {
    of_answers(|stream| answer(stream, async |stream, bytes| stream.send_off(bytes).await.unwrap()));
}

#[test]
fn a_lone_answer_that_is_awaited_takes_no_op() {
    of_answers(|stream| answer(stream, async |stream, bytes| stream.send_all(bytes).await.0.unwrap()));
}

#[test]
fn a_lone_answer_of_several_buffers_takes_no_op() {
    of_answers(|stream| {
        answer(stream, async |stream, bytes| {
            let parts = [&bytes[..3], &[], &bytes[3..]].map(<[u8]>::to_vec);
            assert_eq!(stream.send_vectored(parts.to_vec()).await.0.unwrap(), bytes.len());
        })
    });
}

#[test]
fn a_lone_message_that_is_forwarded_takes_no_op() {
    of_answers(|stream| async move {
        stream.forward_to(&stream).await.unwrap();
    });
}

/// A stream whose socket takes little at a time.
fn narrow_pair() -> (TcpStream, StdStream) {
    let (stream, peer) = half_std_pair();
    SockRef::from(&stream).set_send_buffer_size(1).unwrap();
    (stream, peer)
}

/// Short enough for a call, and more than the socket takes at a time.
const PIECE: usize = 15_000;
const PIECES: usize = 20;

fn read_pieces(mut peer: StdStream) {
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), PIECE * PIECES);
    assert_pattern(0, &bytes);
}

#[test]
fn what_the_socket_does_not_take_on_the_spot_follows_in_order() {
    on_cores(1, |handle| async move {
        let (stream, peer) = narrow_pair();
        let reader = ringwork::spawn_blocking(move || read_pieces(peer));
        on_core(&handle, move || async move {
            for piece in 0..PIECES {
                let message = pattern(piece * PIECE, PIECE);
                match piece % 4 {
                    0 => stream.send_off(message).await.unwrap(),
                    1 => stream.send_all(message).await.0.unwrap(),
                    2 => {
                        // More of them than a call takes, now and then.
                        let parts = message.chunks(PIECE / (piece + 1)).map(<[u8]>::to_vec).collect();
                        assert_eq!(stream.send_vectored(parts).await.0.unwrap(), PIECE);
                    }
                    _ => assert_eq!(stream.send(message).await.0.unwrap(), PIECE),
                }
            }
            stream.all_sent().await.unwrap();
        })
        .await;
        reader.await.unwrap();
    });
}

/// Sends until a message leaves on the spot: the next one of the same turn does too.
async fn settle(handle: &Handle, stream: &TcpStream) {
    let sent = || handle.metrics().cores[0].sends_on_the_spot;
    loop {
        let before = sent();
        stream.send_all(".").await.0.unwrap();
        if sent() > before {
            return;
        }
        ringwork::task::yield_now().await;
    }
}

/// A stream that the peer has reset, which nobody has been told.
fn reset_pair() -> TcpStream {
    let (stream, peer) = half_std_pair();
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    stream
}

#[test]
fn an_error_that_a_call_is_told_is_the_error_of_the_send() {
    on_cores(1, |handle| async move {
        let (other, _peer) = half_std_pair();
        let there = handle.clone();
        on_core(&handle, move || async move {
            let stream = reset_pair();
            settle(&there, &other).await;
            assert_eq!(stream.send_all("x").await.0.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(stream.send_all("x").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
            let stream = reset_pair();
            settle(&there, &other).await;
            let sent = stream.send_vectored(vec!["x", "y"]).await.0;
            assert_eq!(sent.unwrap_err().kind(), ErrorKind::ConnectionReset);
        })
        .await;
    });
}

#[test]
fn an_error_that_a_call_is_told_of_a_message_sent_off_is_told_by_the_next() {
    on_cores(1, |handle| async move {
        let (other, _peer) = half_std_pair();
        let there = handle.clone();
        on_core(&handle, move || async move {
            let stream = reset_pair();
            settle(&there, &other).await;
            stream.send_off("x").await.unwrap();
            assert_eq!(stream.all_sent().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            stream.all_sent().await.unwrap();
        })
        .await;
    });
}

/// A buffer that panics when it is asked where it is.
struct Lost;

// SAFETY: `as_ptr` gives no pointer that could be wrong.
unsafe impl IoBuf for Lost {
    fn as_ptr(&self) -> *const u8 {
        panic!("a buffer of the user's that does not say where it is")
    }

    fn len(&self) -> usize {
        5
    }
}

#[test]
fn a_buffer_that_panics_fails_its_send_and_no_other() {
    on_cores(1, |handle| async move {
        let (stream, mut peer) = half_std_pair();
        let there = handle.clone();
        on_core(&handle, move || async move {
            settle(&there, &stream).await;
            let (sent, Lost) = stream.send_all(Lost).await;
            assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EFAULT));
            ringwork::task::yield_now().await;
            settle(&there, &stream).await;
            let (sent, _) = stream.send_vectored(vec![Lost, Lost]).await;
            assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EFAULT));
            ringwork::task::yield_now().await;
            settle(&there, &stream).await;
            stream.send_off(Lost).await.unwrap();
            assert_eq!(stream.all_sent().await.unwrap_err().raw_os_error(), Some(libc::EFAULT));
            stream.send_all("whole").await.0.unwrap();
        })
        .await;
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        let whole = all.strip_suffix(b"whole").expect("it is the last");
        assert!(whole.iter().all(|byte| *byte == b'.'), "{whole:?}");
    });
}

#[test]
fn a_message_of_64_kib_leaves_on_the_spot_and_a_longer_one_does_not() {
    for (longer, calls) in [(0, 1), (1, 0)] {
        on_cores(1, move |handle| async move {
            let (stream, mut peer) = half_std_pair();
            SockRef::from(&stream).set_send_buffer_size(1 << 20).unwrap();
            let there = handle.clone();
            on_core(&handle, move || async move {
                settle(&there, &stream).await;
                let sent = || there.metrics().cores[0].sends_on_the_spot;
                let before = sent();
                stream.send_off(vec![b'.'; (64 << 10) + longer]).await.unwrap();
                assert_eq!(sent() - before, calls);
                stream.all_sent().await.unwrap();
            })
            .await;
            peer.read_to_end(&mut Vec::new()).unwrap();
        });
    }
}

#[test]
fn eight_messages_of_a_turn_leave_on_the_spot() {
    on_cores(1, |handle| async move {
        let there = handle.clone();
        on_core(&handle, move || async move {
            let (stream, _peer) = half_std_pair();
            let others: [_; 20] = std::array::from_fn(|_| half_std_pair());
            ringwork::task::yield_now().await;
            settle(&there, &stream).await;
            let sent = || there.metrics().cores[0].sends_on_the_spot;
            let before = sent();
            for (other, _) in &others {
                other.send_off(".").await.unwrap();
            }
            assert_eq!(sent() - before, 7, "and the one before");
        })
        .await;
    });
}

/// A waker that cannot be cloned.
fn uncloneable() -> Waker {
    const TABLE: RawWakerVTable =
        RawWakerVTable::new(|_| panic!("it cannot be cloned"), |_| (), |_| (), |_| ());
    // SAFETY: the table's functions look at no data.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) }
}

#[test]
fn nothing_follows_a_part_that_left_on_the_spot_before_its_waker_panicked() {
    on_cores(1, |handle| async move {
        let (stream, peer) = narrow_pair();
        let there = handle.clone();
        on_core(&handle, move || async move {
            let (other, _peer) = half_std_pair();
            settle(&there, &other).await;
            let waker = uncloneable();
            let mut send = Box::pin(stream.send_all(vec![1; 60_000]));
            let polled = AssertUnwindSafe(|| send.as_mut().poll(&mut Context::from_waker(&waker)));
            assert!(catch_unwind(polled).is_err());
            drop(send);
            assert_eq!(stream.send_all("next").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        })
        .await;
        drop(peer);
    });
}
