//! Messages that are sent off: they leave in order, whole and without another call, and who sends is told
//! once if they cannot.

use crate::support::{
    LIMIT, assert_pattern, everywhere, half_std_pair, on_cores, pair, pattern, runtime, within,
};
use futures_util::poll;
use ringwork::buf::IoBuf;
use ringwork::net::TcpStream;
use ringwork::runtime::Runtime;
use socket2::SockRef;
use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

/// More than the loopback's socket buffers take while nobody reads.
const MORE_THAN_FITS: usize = 16 << 20;

#[test]
fn it_is_ready_while_the_peer_reads_nothing_and_the_next_one_waits_in_line() {
    everywhere(|handle| async move {
        let (stream, mut peer) = half_std_pair();
        stream.send_off(pattern(0, MORE_THAN_FITS)).await.unwrap();
        {
            let mut given_up = pin!(stream.send_off("not sent"));
            let mut second = pin!(stream.send_off(pattern(MORE_THAN_FITS, 100)));
            let mut third = pin!(stream.send_all(pattern(MORE_THAN_FITS + 100, 100)));
            assert!(poll!(given_up.as_mut()).is_pending());
            assert!(poll!(second.as_mut()).is_pending());
            assert!(poll!(third.as_mut()).is_pending());
            let mut all_sent = pin!(stream.all_sent());
            assert!(poll!(all_sent.as_mut()).is_pending());
            given_up.set(stream.send_off(""));
            let reader = handle.spawn_blocking(move || {
                let mut all = vec![0; MORE_THAN_FITS + 200];
                peer.read_exact(&mut all).unwrap();
                (all, peer)
            });
            let (third, second, all_sent) = futures_util::join!(third, second, all_sent);
            second.unwrap();
            third.0.unwrap();
            all_sent.unwrap();
            let (all, mut peer) = reader.await.unwrap();
            assert_pattern(0, &all);
            stream.shutdown_write().await.unwrap();
            assert_eq!(peer.read(&mut [0]).unwrap(), 0, "what was given up is not sent");
        }
    });
}

#[test]
fn a_stream_that_is_dropped_next_closes_behind_the_message() {
    everywhere(|handle| async move {
        let (stream, mut peer) = half_std_pair();
        stream.send_off(pattern(0, MORE_THAN_FITS)).await.unwrap();
        drop(stream);
        let reader = handle.spawn_blocking(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all)
        });
        let all = reader.await.unwrap().unwrap();
        assert_eq!(all.len(), MORE_THAN_FITS);
        assert_pattern(0, &all);
    });
}

#[test]
fn a_linger_time_of_zero_resets_a_stream_that_is_dropped_next() {
    everywhere(|handle| async move {
        let (stream, mut peer) = half_std_pair();
        stream.set_linger(Some(Duration::ZERO)).unwrap();
        stream.send_off(pattern(0, MORE_THAN_FITS)).await.unwrap();
        drop(stream);
        let reader = handle.spawn_blocking(move || peer.read_to_end(&mut Vec::new()));
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn what_has_become_of_a_message_is_told_once_and_by_whichever_call_comes_next() {
    everywhere(|_| async {
        for asks in [false, true] {
            let (stream, peer) = half_std_pair();
            stream.send_off(pattern(0, MORE_THAN_FITS)).await.unwrap();
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let told = if asks { stream.all_sent().await } else { stream.send_off("more").await };
            let told = told.unwrap_err().kind();
            assert!([ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&told), "{told}");
            stream.all_sent().await.expect("it was told");
        }
    });
}

#[test]
fn a_release_after_a_message_was_lost_says_so() {
    everywhere(|_| async {
        let (stream, peer) = half_std_pair();
        stream.send_off(pattern(0, MORE_THAN_FITS)).await.unwrap();
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        stream.release().await.unwrap_err();
    });
}

#[test]
fn messages_of_many_tasks_stay_whole() {
    const TASKS: u8 = 8;
    const MESSAGES: usize = 200;
    const SIZE: usize = 9_000;
    on_cores(1, |handle| async move {
        let (stream, mut peer) = half_std_pair();
        SockRef::from(&stream).set_send_buffer_size(20_000).unwrap();
        let reader = handle.spawn_blocking(move || {
            let mut counts = [0; TASKS as usize];
            let mut message = [0; SIZE];
            for _ in 0..usize::from(TASKS) * MESSAGES {
                peer.read_exact(&mut message).unwrap();
                assert!(message.iter().all(|&byte| byte == message[0]), "two messages are mixed");
                counts[usize::from(message[0])] += 1;
            }
            counts
        });
        let senders = handle.spawn_on(0, move || async move {
            let stream = Rc::new(stream);
            let send = |task| {
                let stream = Rc::clone(&stream);
                ringwork::spawn_local(async move {
                    for _ in 0..MESSAGES {
                        stream.send_off(vec![task; SIZE]).await.unwrap();
                    }
                })
            };
            for sender in (0..TASKS).map(send).collect::<Vec<_>>() {
                sender.await.unwrap();
            }
        });
        senders.await.unwrap();
        assert_eq!(reader.await.unwrap(), [MESSAGES; TASKS as usize]);
    });
}

#[test]
fn a_received_buffer_is_sent_off_as_it_is_and_comes_back_to_the_pool() {
    // More times than a pool has buffers.
    const TIMES: usize = 5_000;
    on_cores(1, |handle| async move {
        let (one, other) = pair().await;
        let echo = handle.spawn_on(0, move || async move {
            loop {
                let received = other.recv_pooled().await.unwrap();
                if received.is_empty() {
                    return other.all_sent().await.unwrap();
                }
                other.send_off(received).await.unwrap();
            }
        });
        for at in 0..TIMES {
            one.send_all(pattern(at, 10)).await.0.unwrap();
            let (received, back) = one.recv_exact([0; 10]).await;
            received.unwrap();
            assert_pattern(at, &back);
        }
        drop(one);
        echo.await.unwrap();
        let misses: u64 = handle.metrics().cores.iter().map(|core| core.pool_misses).sum();
        assert_eq!(misses, 0, "the pool ran dry");
    });
}

/// A runtime with a message on its way to a peer that has read none of it.
fn on_its_way() -> (Runtime, TcpStream, std::net::TcpStream) {
    let runtime = runtime(1);
    let (stream, peer) = half_std_pair();
    runtime.block_on(async { stream.send_off(pattern(0, MORE_THAN_FITS)).await.unwrap() });
    (runtime, stream, peer)
}

#[test]
fn a_runtime_that_goes_down_waits_for_a_peer_that_reads() {
    within(LIMIT, || {
        let (runtime, stream, mut peer) = on_its_way();
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; MORE_THAN_FITS];
            peer.read_exact(&mut all).map(|()| all)
        });
        let report = runtime.shutdown_timeout(LIMIT);
        assert!(report.is_clean(), "{report}");
        drop(stream);
        assert_pattern(0, &reader.join().unwrap().unwrap());
    });
}

#[test]
fn a_runtime_that_goes_down_resets_what_nobody_reads() {
    within(LIMIT, || {
        let (runtime, stream, mut peer) = on_its_way();
        let report = runtime.shutdown_timeout(Duration::from_secs(1));
        assert!(report.is_clean(), "{report}");
        drop(stream);
        let ended = peer.read_to_end(&mut Vec::new());
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset, "a part is not all");
    });
}

#[test]
#[should_panic(expected = "no ringwork runtime in reach")]
fn with_no_runtime_in_reach_it_says_what_to_do() {
    let (stream, _peer) = half_std_pair();
    let _ = pin!(stream.send_off("x")).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
}

/// A buffer that panics when it is asked for its length once more than so often.
struct Moody(AtomicUsize);

// SAFETY: it has as many bytes as it says, always the same, if it says something.
unsafe impl IoBuf for Moody {
    fn as_ptr(&self) -> *const u8 {
        b"moody".as_ptr()
    }

    fn len(&self) -> usize {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| 5).expect("a buffer that panics, on purpose")
    }
}

#[test]
fn a_buffer_that_panics_when_it_is_asked_again_does_not_keep_the_lane() {
    everywhere(|_| async {
        for answers in 0..8 {
            let (stream, _peer) = half_std_pair();
            let mut cx = Context::from_waker(Waker::noop());
            let _ = catch_unwind(AssertUnwindSafe(|| {
                let sending = pin!(stream.send_off(Moody(AtomicUsize::new(answers))));
                assert!(sending.poll(&mut cx).is_ready());
            }));
            // What became of it is told, and the turn passes.
            let told = stream.all_sent().await;
            let next = stream.send_all("next").await.0;
            assert_eq!(told.is_err(), next.is_err(), "after {answers} answers: {told:?}, {next:?}");
        }
    });
}
