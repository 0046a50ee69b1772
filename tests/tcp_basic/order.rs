//! Each direction is one ordered lane: a second caller waits behind the first, whatever becomes of the first.

use crate::support::{on_cores, pair};
use futures_util::poll;
use std::pin::pin;

/// More than the loopback's socket buffers take while nobody reads.
const MORE_THAN_FITS: usize = 16 << 20;

#[test]
fn a_second_receiver_waits_behind_the_first() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let mut first = pin!(other.recv([0u8; 1]));
        let mut second = pin!(other.recv([0u8; 1]));
        let mut third = pin!(other.recv_pooled());
        assert!(poll!(first.as_mut()).is_pending());
        assert!(poll!(second.as_mut()).is_pending());
        assert!(poll!(third.as_mut()).is_pending());
        one.send_all("abc").await.0.unwrap();
        // Polled in the wrong order: they still get the bytes in theirs.
        let (third, second, first) = futures_util::join!(third, second, first);
        assert_eq!((first.1, second.1, &third.unwrap()[..]), (*b"a", *b"b", &b"c"[..]));
    });
}

#[test]
fn a_receiver_that_leaves_the_line_is_skipped() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let mut first = Box::pin(other.recv([0u8; 1]));
        let mut second = Box::pin(other.recv([0u8; 1]));
        let mut third = Box::pin(other.recv([0u8; 1]));
        assert!(poll!(first.as_mut()).is_pending());
        assert!(poll!(second.as_mut()).is_pending());
        assert!(poll!(third.as_mut()).is_pending());
        drop(second);
        drop(first);
        one.send_all("a").await.0.unwrap();
        assert_eq!(third.await.1, *b"a");
    });
}

#[test]
fn a_second_sender_waits_behind_the_first() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let mut first = pin!(one.send_all(vec![1u8; MORE_THAN_FITS]));
        let mut second = pin!(one.send_all("2"));
        let mut third = pin!(one.send_vectored(vec!["3", "4"]));
        assert!(poll!(first.as_mut()).is_pending());
        assert!(poll!(second.as_mut()).is_pending());
        assert!(poll!(third.as_mut()).is_pending());
        let reader = async {
            let (received, bulk) = other.recv_exact(vec![0u8; MORE_THAN_FITS].into_boxed_slice()).await;
            received.unwrap();
            assert!(bulk.iter().all(|&byte| byte == 1));
            let (received, tail) = other.recv_exact([0u8; 3]).await;
            received.unwrap();
            assert_eq!(&tail, b"234");
        };
        let (third, second, first, ()) = futures_util::join!(third, second, first, reader);
        first.0.unwrap();
        second.0.unwrap();
        assert_eq!(third.0.unwrap(), 2);
    });
}

#[test]
fn a_dropped_send_in_flight_leaves_whole_and_later_sends_wait_behind_it() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        {
            let mut dropped = pin!(one.send_all(vec![1u8; MORE_THAN_FITS]));
            assert!(poll!(dropped.as_mut()).is_pending());
        }
        let later = async { one.send_all("later").await.0.unwrap() };
        let reader = async {
            let (received, bulk) = other.recv_exact(vec![0u8; MORE_THAN_FITS].into_boxed_slice()).await;
            received.unwrap();
            assert!(bulk.iter().all(|&byte| byte == 1));
            let (received, tail) = other.recv_exact([0u8; 5]).await;
            received.unwrap();
            assert_eq!(&tail, b"later");
        };
        futures_util::join!(later, reader);
    });
}

#[test]
fn a_send_dropped_before_its_turn_is_not_sent_at_all() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let mut first = pin!(one.send_all(vec![1u8; MORE_THAN_FITS]));
        assert!(poll!(first.as_mut()).is_pending());
        {
            let mut dropped = pin!(one.send_all("never"));
            assert!(poll!(dropped.as_mut()).is_pending());
        }
        let last = one.send_all("last");
        let reader = async {
            let (received, _) = other.recv_exact(vec![0u8; MORE_THAN_FITS].into_boxed_slice()).await;
            received.unwrap();
            let (received, tail) = other.recv_exact([0u8; 4]).await;
            received.unwrap();
            assert_eq!(&tail, b"last");
        };
        let (first, last, ()) = futures_util::join!(first, last, reader);
        first.0.unwrap();
        last.0.unwrap();
    });
}

#[test]
fn dropping_the_last_handle_cancels_a_dropped_send() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        {
            let mut dropped = pin!(one.send_all(vec![1u8; MORE_THAN_FITS]));
            assert!(poll!(dropped.as_mut()).is_pending());
        }
        drop(one);
        // Nobody waits for the reader: the send ends early, the socket closes, and the reader sees the end.
        let mut total = 0;
        while let Ok(n) = other.recv(Vec::with_capacity(64 << 10)).await.0 {
            if n == 0 {
                break;
            }
            total += n;
        }
        assert!(total < MORE_THAN_FITS, "a cancelled send sent all of its {total} bytes");
    });
}

#[test]
fn lanes_of_one_stream_are_independent() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let mut stuck = pin!(one.send_all(vec![1u8; MORE_THAN_FITS]));
        assert!(poll!(stuck.as_mut()).is_pending());
        other.send_all("through").await.0.unwrap();
        let (received, buf) = one.recv_exact([0u8; 7]).await;
        received.unwrap();
        assert_eq!(&buf, b"through");
    });
}
