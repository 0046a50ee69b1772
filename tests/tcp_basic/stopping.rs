//! `timeout` and `cancel` of ops: the buffer comes back, and bytes that won the race are a success.

use crate::support::{Random, assert_pattern, on_cores, pair, pattern};
use futures_util::poll;
use ringwork::task::yield_now;
use ringwork::time::sleep;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(20);
const MORE_THAN_FITS: usize = 16 << 20;

#[test]
fn a_receive_that_times_out_gives_its_buffer_back() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let mut buf = Vec::with_capacity(100);
        buf.extend_from_slice(b"mine");
        let at = buf.as_ptr();
        let (n, buf) = other.recv(buf).timeout(SOON).await;
        assert_eq!(n.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!((&buf[..], buf.as_ptr()), (&b"mine"[..], at));
        // The stream goes on.
        one.send_all("!").await.0.unwrap();
        let (n, buf) = other.recv(buf).timeout(Duration::from_secs(20)).await;
        assert_eq!((n.unwrap(), &buf[..]), (1, &b"mine!"[..]));
    });
}

#[test]
fn a_pooled_receive_that_times_out_or_is_cancelled_leaves_the_stream_whole() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let (one, other) = pair().await;
            let error = other.recv_pooled().timeout(SOON).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let error = other.recv_pooled().cancel().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
            one.send_all("kept").await.0.unwrap();
            assert_eq!(&other.recv_pooled().await.unwrap()[..], b"kept");
        });
        ran.await.unwrap();
    });
}

#[test]
fn a_cancelled_receive_in_flight_gives_its_buffer_back() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let mut receive = other.recv([7u8; 16]);
        assert!(poll!(&mut receive).is_pending());
        let (n, buf) = receive.cancel().await;
        assert_eq!((n.unwrap_err().raw_os_error(), buf), (Some(libc::ECANCELED), [7; 16]));
        one.send_all("x").await.0.unwrap();
        assert_eq!(other.recv([0u8; 1]).await.1, *b"x");
    });
}

/// Says whether it was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn bytes_that_won_the_race_against_a_cancel_are_a_success() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut receive = other.recv(Vec::with_capacity(16));
        assert!(Pin::new(&mut receive).poll(&mut Context::from_waker(&waker)).is_pending());
        one.send_all("winner").await.0.unwrap();
        while !flag.0.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(1)).await;
        }
        let (n, buf) = receive.cancel().await;
        assert_eq!((n.unwrap(), &buf[..]), (6, &b"winner"[..]));
    });
}

#[test]
fn a_race_of_bytes_and_cancel_loses_nothing_whoever_wins() {
    on_cores(2, |handle| async move {
        let mut random = Random::announced();
        let (one, other) = pair().await;
        const MESSAGES: usize = 2_000;
        let sender = handle.spawn_on(0, move || async move {
            for at in 0..MESSAGES {
                one.send_all(pattern(at * 3, 3)).await.0.unwrap();
                if at % 7 == 0 {
                    yield_now().await;
                }
            }
            one
        });
        let receiver = handle.spawn_on(1, move || async move {
            let mut at = 0;
            while at < MESSAGES * 3 {
                let mut receive = other.recv(Vec::with_capacity(1 + random.below(9) as usize));
                let polled = poll!(&mut receive);
                let (n, buf) = match polled {
                    std::task::Poll::Ready(received) => received,
                    _ if random.chance(2) => receive.cancel().await,
                    _ => receive.timeout(Duration::from_micros(random.below(50))).await,
                };
                match n {
                    Ok(n) => assert!(n > 0 && n == buf.len(), "{n} of {} bytes", buf.len()),
                    Err(error) => assert!(is_stop(&error) && buf.is_empty(), "{error}"),
                }
                assert_pattern(at, &buf);
                at += buf.len();
            }
        });
        receiver.await.unwrap();
        drop(sender.await.unwrap());
    });
}

fn is_stop(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::TimedOut || error.raw_os_error() == Some(libc::ECANCELED)
}

#[test]
fn a_cancelled_send_says_how_much_of_it_left() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let mut send = one.send(pattern(0, MORE_THAN_FITS));
        assert!(poll!(&mut send).is_pending());
        let (n, buf) = send.cancel().await;
        let n = n.expect("the socket took some of it");
        assert!(n > 0 && n < MORE_THAN_FITS, "{n} bytes left");
        assert_eq!(buf.len(), MORE_THAN_FITS);
        // Exactly those bytes arrive, and the lane is free for the next message.
        let later = async {
            one.send_all("later").await.0.unwrap();
            one.shutdown_write().await.unwrap();
        };
        let reader = async {
            let (received, bytes) = other.recv_exact(Vec::with_capacity(n + 5)).await;
            received.unwrap();
            assert_pattern(0, &bytes[..n]);
            assert_eq!(&bytes[n..n + 5], b"later");
        };
        futures_util::join!(later, reader);
    });
}

#[test]
fn a_message_for_all_or_nothing_that_is_stopped_in_the_middle_says_so() {
    on_cores(1, |_| async {
        let (one, _other) = pair().await;
        let (cut, buf) = one.send_all(pattern(0, MORE_THAN_FITS)).timeout(SOON).await;
        assert_eq!((cut.unwrap_err().kind(), buf.len()), (ErrorKind::TimedOut, MORE_THAN_FITS));
        let mut sending = one.send_all(pattern(0, MORE_THAN_FITS));
        assert!(poll!(&mut sending).is_pending());
        let (cut, buf) = sending.cancel().await;
        assert_eq!((cut.unwrap_err().raw_os_error(), buf.len()), (Some(libc::ECANCELED), MORE_THAN_FITS));
    });
}

#[test]
fn sends_that_time_out_give_their_buffers_back_and_count_what_left() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let (n, buf) = one.send(pattern(0, MORE_THAN_FITS)).timeout(SOON).await;
        let mut left = n.expect("the socket took some of it");
        assert_eq!(buf.len(), MORE_THAN_FITS);
        // The socket is about full now; whatever the kernel still takes is counted.
        let mut timed_out = 0;
        for len in [1 << 20, 3 << 20, 5 << 20] {
            let (n, buf) = one.send(pattern(left, len)).timeout(SOON).await;
            assert_eq!(buf.len(), len);
            left += count(n, &mut timed_out);
            let parts = vec![pattern(left, len), pattern(left + len, len)];
            let (n, bufs) = one.send_vectored(parts).timeout(SOON).await;
            assert_eq!(bufs.len(), 2);
            left += count(n, &mut timed_out);
        }
        let (cut, _) = one.send_all(pattern(left, 64 << 20)).timeout(SOON).await;
        assert_eq!(cut.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(timed_out > 0, "the socket never was full");
        one.shutdown_write().await.unwrap();
        let mut at = 0;
        loop {
            let buf = other.recv_pooled().await.unwrap();
            if buf.is_empty() {
                break;
            }
            assert_pattern(at, &buf);
            at += buf.len();
        }
        assert!(at >= left, "{left} bytes were counted and {at} came");
    });
}

fn count(n: std::io::Result<usize>, timed_out: &mut usize) -> usize {
    n.unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        *timed_out += 1;
        0
    })
}

#[test]
fn stopping_a_call_that_waits_for_its_turn_gives_the_buffer_back_at_once() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let mut first = pin!(other.recv([0u8; 1]));
        assert!(poll!(first.as_mut()).is_pending());
        let (n, buf) = other.recv(vec![5u8; 3]).cancel().await;
        assert_eq!((n.unwrap_or(0), buf), (0, vec![5u8; 3]));
        let (n, buf) = other.recv(Vec::with_capacity(3)).timeout(SOON).await;
        assert_eq!((n.unwrap_err().kind(), buf.len()), (ErrorKind::TimedOut, 0));
        let mut large = pin!(one.send_all(vec![1u8; MORE_THAN_FITS]));
        assert!(poll!(large.as_mut()).is_pending());
        let (n, buf) = one.send("unsent").timeout(SOON).await;
        assert_eq!((n.unwrap_err().kind(), buf), (ErrorKind::TimedOut, "unsent"));
        let (n, buf) = one.send_vectored(vec!["unsent"]).cancel().await;
        assert_eq!((n.unwrap_err().raw_os_error(), buf), (Some(libc::ECANCELED), vec!["unsent"]));
        assert_eq!(first.await.1, [1]);
        let reader = async {
            let rest = vec![0u8; MORE_THAN_FITS - 1].into_boxed_slice();
            other.recv_exact(rest).await.0.unwrap();
        };
        let (sent, ()) = futures_util::join!(large, reader);
        sent.0.unwrap();
    });
}

#[test]
fn an_op_that_is_done_before_it_is_stopped_is_a_success() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        one.send_all("there").await.0.unwrap();
        let (n, _) = other.recv([0u8; 5]).timeout(Duration::from_secs(20)).await;
        assert_eq!(n.unwrap(), 5);
        let (n, _) = one.send("x").timeout(Duration::from_secs(20)).await;
        assert_eq!(n.unwrap(), 1);
    });
}
