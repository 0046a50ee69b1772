//! Halves and half-closes: each direction ends by itself.

use crate::support::{on_cores, pair};
use ringwork::time::timeout;
use std::time::Duration;

const NEVER: Duration = Duration::from_millis(50);

#[test]
fn each_direction_closes_by_itself() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        one.send_all("request").await.0.unwrap();
        one.shutdown_write().await.unwrap();
        let (received, _) = other.recv_exact(Vec::with_capacity(7)).await;
        received.unwrap();
        assert_eq!(other.recv([0u8; 8]).await.0.unwrap(), 0);
        // The other direction goes on.
        other.send_all("answer").await.0.unwrap();
        let (received, answer) = one.recv_exact([0u8; 6]).await;
        received.unwrap();
        assert_eq!(&answer, b"answer");
        other.shutdown_write().await.unwrap();
        assert_eq!(one.recv([0u8; 8]).await.0.unwrap(), 0);
        assert!(one.recv_pooled().await.unwrap().is_empty());
    });
}

#[test]
fn the_end_of_the_stream_comes_behind_all_that_was_sent() {
    on_cores(2, |handle| async move {
        let (one, other) = pair().await;
        let sender = handle.spawn(async move {
            // More than the socket takes: the sends are in flight when the direction is closed.
            let first = one.send_all(vec![1u8; 4 << 20]);
            let second = one.send_all(vec![2u8; 4 << 20]);
            let close = one.shutdown_write();
            let (first, second, close) = futures_util::join!(first, second, close);
            first.0.unwrap();
            second.0.unwrap();
            close.unwrap();
            one
        });
        let mut counts = [0usize; 3];
        loop {
            let buf = other.recv_pooled().await.unwrap();
            if buf.is_empty() {
                break;
            }
            buf.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
        }
        assert_eq!(counts, [0, 4 << 20, 4 << 20]);
        drop(sender.await.unwrap());
    });
}

#[test]
fn every_half_knows_both_addresses() {
    on_cores(1, |_| async {
        let (one, _other) = pair().await;
        let addresses = (one.local_addr().unwrap(), one.peer_addr().unwrap());
        let (receives, sends) = one.split();
        assert_eq!((receives.local_addr().unwrap(), receives.peer_addr().unwrap()), addresses);
        assert_eq!((sends.local_addr().unwrap(), sends.peer_addr().unwrap()), addresses);
        let (receives, sends) = one.into_split();
        assert_eq!((receives.local_addr().unwrap(), receives.peer_addr().unwrap()), addresses);
        assert_eq!((sends.local_addr().unwrap(), sends.peer_addr().unwrap()), addresses);
    });
}

#[test]
fn borrowed_halves_work_side_by_side() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let (receive, send) = one.split();
        let (echo_receive, echo_send) = other.split();
        let client = async {
            let received =
                async { receive.recv_exact(vec![0u8; 1 << 20].into_boxed_slice()).await.0.unwrap() };
            let sent = async { send.send_all(vec![7u8; 1 << 20]).await.0.unwrap() };
            futures_util::join!(received, sent);
            send.shutdown_write().await.unwrap();
        };
        let server = async {
            loop {
                let buf = echo_receive.recv_pooled().await.unwrap();
                if buf.is_empty() {
                    break;
                }
                echo_send.send_all(buf).await.0.unwrap();
            }
        };
        futures_util::join!(client, server);
        assert_eq!(receive.stream().peer_addr().unwrap(), other.local_addr().unwrap());
    });
}

#[test]
fn dropping_the_owned_send_half_ends_the_stream_behind_what_was_sent() {
    on_cores(2, |handle| async move {
        let (one, other) = pair().await;
        let (receive, send) = one.into_split();
        let sender = handle.spawn(async move {
            send.send_all("all of it").await.0.unwrap();
            // In flight, its future dropped: it leaves whole, and the end comes behind it.
            let mut large = std::pin::pin!(send.send_all(vec![9u8; 8 << 20]));
            assert!(futures_util::poll!(large.as_mut()).is_pending());
        });
        sender.await.unwrap();
        let mut total = 0;
        loop {
            let buf = other.recv_pooled().await.unwrap();
            if buf.is_empty() {
                break;
            }
            total += buf.len();
        }
        assert_eq!(total, 9 + (8 << 20));
        other.send_all("still open").await.0.unwrap();
        let (received, buf) = receive.recv_exact([0u8; 10]).await;
        received.unwrap();
        assert_eq!(&buf, b"still open");
    });
}

#[test]
fn dropping_the_owned_receive_half_leaves_sending_open() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let (receive, send) = one.into_split();
        drop(receive);
        send.send_all("on my way").await.0.unwrap();
        drop(send);
        let (received, _) = other.recv_exact([0u8; 9]).await;
        received.unwrap();
        assert_eq!(other.recv([0u8; 1]).await.0.unwrap(), 0);
    });
}

#[test]
fn reunited_halves_are_the_stream_again_and_strangers_are_refused() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let (stranger, _kept) = pair().await;
        let (receive, send) = one.into_split();
        let (strange_receive, strange_send) = stranger.into_split();
        let refused = receive.reunite(strange_send).unwrap_err();
        assert!(refused.to_string().contains("different streams"));
        let one = refused.0.reunite(send).unwrap();
        let _stranger = strange_receive.reunite(refused.1).unwrap();
        // Reuniting closed nothing: the peer reads neither an end nor a byte.
        assert!(timeout(NEVER, other.recv([0u8; 1])).await.is_err());
        one.send_all("x").await.0.unwrap();
        assert_eq!(other.recv([0u8; 1]).await.0.unwrap(), 1);
    });
}

#[test]
fn a_forgotten_send_half_does_not_close_the_direction() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        let (receive, send) = one.into_split();
        send.forget();
        assert!(timeout(NEVER, other.recv([0u8; 1])).await.is_err());
        drop(receive);
        assert_eq!(other.recv([0u8; 1]).await.0.unwrap(), 0);
    });
}

#[test]
fn halves_on_different_cores_stream_both_ways() {
    on_cores(2, |handle| async move {
        const SIZE: usize = 8 << 20;
        let (one, other) = pair().await;
        let mut tasks = Vec::new();
        for (index, stream) in [one, other].into_iter().enumerate() {
            let (receive, send) = stream.into_split();
            tasks.push(handle.spawn_on(index, move || async move {
                for at in (0..SIZE).step_by(64 << 10) {
                    send.send_all(crate::support::pattern(at, 64 << 10)).await.0.unwrap();
                }
            }));
            tasks.push(handle.spawn_on(1 - index, move || async move {
                let mut at = 0;
                loop {
                    let buf = receive.recv_pooled().await.unwrap();
                    if buf.is_empty() {
                        break;
                    }
                    crate::support::assert_pattern(at, &buf);
                    at += buf.len();
                }
                assert_eq!(at, SIZE);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}
