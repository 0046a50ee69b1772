//! Streams under the poll-shaped traits: each promise of `compat` and of the headers of `net::poll_read` and
//! `net::poll_write`, on real sockets.

mod everywhere;
#[path = "../../support/mod.rs"]
mod support;

use everywhere::{everywhere, fill};
use ringwork::CoreMetrics;
use ringwork::net::TcpStream;
use std::future::poll_fn;
use std::io::{IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use support::{LIMIT, assert_pattern, half_std_pair, pair, pattern, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

fn poll_read_once(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    room: usize,
) -> Poll<std::io::Result<Vec<u8>>> {
    let mut bytes = vec![0; room];
    let mut buf = ReadBuf::new(&mut bytes);
    let polled = Pin::new(stream).poll_read(cx, &mut buf);
    let n = buf.filled().len();
    bytes.truncate(n);
    polled.map_ok(|()| bytes)
}

fn poll_write_once(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<std::io::Result<usize>> {
    Pin::new(stream).poll_write(cx, bytes)
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn bytes_cross_in_pieces_of_all_sizes() {
    everywhere(2, |_| async {
        let (mut one, mut other) = pair().await;
        let sender = ringwork::spawn(async move {
            let mut at = 0;
            for size in [1, 10, 4_000, 8_192, 70_000, 300_000, 3] {
                one.write_all(&pattern(at, size)).await.unwrap();
                at += size;
            }
            one.shutdown().await.unwrap();
            (at, one)
        });
        let (mut at, mut size) = (0, 1);
        loop {
            let mut bytes = vec![0; size];
            let n = other.read(&mut bytes).await.unwrap();
            if n == 0 {
                break;
            }
            assert_pattern(at, &bytes[..n]);
            at += n;
            size = size * 3 % 100_003 + 1;
        }
        assert_eq!(sender.await.unwrap().0, at);
    });
}

#[test]
fn a_read_that_is_never_polled_again_blocks_no_other_receiver_and_loses_nothing() {
    everywhere(1, |_| async {
        for read_ahead in [true, false] {
            let (mut stream, mut peer) = half_std_pair();
            stream.read_ahead(read_ahead);
            assert!(poll_read_once(&mut stream, &mut noop(), 100).is_pending());
            peer.write_all(b"one").unwrap();
            let (n, buf) = stream.recv(Vec::with_capacity(10)).await;
            assert_eq!((n.unwrap(), &buf[..]), (3, &b"one"[..]));
            assert!(poll_read_once(&mut stream, &mut noop(), 2).is_pending());
            peer.write_all(b"twofour").unwrap();
            let (received, buf) = stream.recv_exact([0; 3]).await;
            received.unwrap();
            assert_eq!(&buf, b"two");
            let mut rest = [0; 4];
            stream.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"four");
        }
    });
}

#[test]
fn a_reader_without_a_future_and_one_with_both_wait_and_both_are_woken() {
    everywhere(1, |_| async {
        let (stream, mut peer) = half_std_pair();
        let mut polled = std::pin::pin!(async {
            let (mut half, _) = stream.split();
            let mut byte = [0];
            half.read_exact(&mut byte).await.unwrap();
            byte[0]
        });
        assert!(polled.as_mut().poll(&mut noop()).is_pending());
        let mut owned = std::pin::pin!(stream.recv([0; 1]));
        assert!(owned.as_mut().poll(&mut noop()).is_pending());
        peer.write_all(b"ab").unwrap();
        let got = futures_lite::future::zip(owned, polled).await;
        let ((n, first), second) = got;
        n.unwrap();
        assert_eq!([first[0], second], *b"ab");
    });
}

/// Counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn who_waits_without_a_future_after_a_receive_with_one_is_woken_though_another_task_takes_its_place() {
    // The receive has taken bytes, or was given up while it waited.
    for takes in [true, false] {
        everywhere(1, move |_| woken_beside_another(takes));
    }
}

async fn woken_beside_another(takes: bool) {
    let (mut stream, mut peer) = half_std_pair();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    {
        let mut first = std::pin::pin!(stream.recv_pooled());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        if takes {
            peer.write_all(b"a").unwrap();
            let chunk = poll_fn(|own| {
                own.waker().wake_by_ref();
                first.as_mut().poll(&mut cx)
            });
            assert_eq!(&*chunk.await.unwrap(), b"a");
        }
    }
    assert!(poll_read_once(&mut stream, &mut cx, 1).is_pending());
    let before = wakes.0.load(Ordering::SeqCst);
    let mut other = std::pin::pin!(stream.recv([0; 1]));
    assert!(other.as_mut().poll(&mut noop()).is_pending());
    peer.write_all(b"b").unwrap();
    other.await.0.unwrap();
    // Elsewhere the core may wake it just after the other one. If it never does, the time limit says so.
    while wakes.0.load(Ordering::SeqCst) == before {
        ringwork::task::yield_now().await;
    }
}

#[test]
fn no_read_ahead_takes_no_more_than_the_call_had_room_for() {
    everywhere(1, |_| async {
        let (mut stream, mut peer) = half_std_pair();
        stream.read_ahead(false);
        peer.write_all(&pattern(0, 1_000)).unwrap();
        let mut first = [0; 10];
        stream.read_exact(&mut first).await.unwrap();
        assert_pattern(0, &first);
        let (fd, unread) = stream.release().await.unwrap();
        assert_eq!(unread, b"");
        let mut rest = vec![0; 990];
        std::net::TcpStream::from(fd).read_exact(&mut rest).unwrap();
        assert_pattern(10, &rest);
    });
}

#[test]
fn what_was_read_ahead_and_what_was_written_goes_before_a_release() {
    everywhere(1, |_| async {
        let (mut stream, mut peer) = half_std_pair();
        peer.write_all(b"headtail").unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.unwrap();
        stream.write_all(&pattern(0, 1_000_000)[..100_000]).await.unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        let (fd, unread) = stream.release().await.unwrap();
        assert_eq!(unread, b"tail");
        std::net::TcpStream::from(fd).write_all(b"end").unwrap();
        let all = reader.join().unwrap();
        assert_pattern(0, &all[..100_000]);
        assert_eq!(&all[100_000..], b"end");
    });
}

#[test]
fn a_full_stream_makes_a_write_wait_until_the_peer_reads() {
    everywhere(1, |_| async {
        let (mut stream, mut peer) = half_std_pair();
        let taken = fill(&mut stream).await;
        // The socket's own buffers are full, and two of ours: no less than those.
        assert!(taken >= 2 * 64 * 1024, "{taken}");
        let waits = poll_fn(|cx| poll_write_once(&mut stream, cx, b"x"));
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; taken + 1];
            peer.read_exact(&mut all).unwrap();
            all
        });
        assert_eq!(waits.await.unwrap(), 1);
        stream.flush().await.unwrap();
        let all = reader.join().unwrap();
        assert_pattern(0, &all[..taken]);
        assert_eq!(all[taken], b'x');
    });
}

#[test]
fn a_flush_is_ready_when_the_kernel_has_everything() {
    everywhere(1, |_| async {
        let (mut stream, mut peer) = half_std_pair();
        let taken = fill(&mut stream).await;
        assert!(Pin::new(&mut stream).poll_flush(&mut noop()).is_pending());
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; taken];
            peer.read_exact(&mut all).unwrap();
            peer
        });
        stream.flush().await.unwrap();
        assert!(stream.into_std().is_ok(), "nothing is in flight after a flush");
        drop(reader.join().unwrap());
    });
}

#[test]
fn a_shutdown_comes_behind_what_was_written_and_the_other_direction_goes_on() {
    everywhere(1, |_| async {
        let (mut stream, mut peer) = half_std_pair();
        let taken = fill(&mut stream).await;
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            peer.write_all(b"answer").unwrap();
            all
        });
        stream.shutdown().await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
        assert_eq!(reader.join().unwrap().len(), taken);
        let after = stream.write_all(b"x").await.and(stream.flush().await);
        assert_eq!(after.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn an_error_of_bytes_that_were_taken_is_told_once_by_the_next_call() {
    for next in 0..3 {
        everywhere(1, move |_| async move {
            let (mut stream, peer) = half_std_pair();
            socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            fill(&mut stream).await;
            drop(peer);
            // The reset ends the send in flight, which makes the lane free.
            stream.flush().await.unwrap_err();
            match next {
                // Refused, if the reset has cut what was sent.
                0 => match stream.write(b"x").await {
                    Ok(n) => assert_eq!(n, 1),
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "the reset was told")
                    }
                },
                1 => stream.flush().await.unwrap(),
                _ => stream.shutdown().await.unwrap(),
            }
        });
    }
}

#[test]
fn the_error_of_a_write_is_the_result_of_whichever_call_comes_next() {
    for next in 0..3 {
        everywhere(1, move |_| async move {
            let (mut stream, peer) = half_std_pair();
            socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            fill(&mut stream).await;
            drop(peer);
            let error = match next {
                // The write that waits for room is told why there will be none; some may be made before.
                0 => loop {
                    if let Err(error) = stream.write(b"x").await {
                        break error;
                    }
                },
                1 => stream.flush().await.unwrap_err(),
                _ => stream.shutdown().await.unwrap_err(),
            };
            let expected = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
            assert!(expected.contains(&error.kind()), "{error}");
        });
    }
}

#[test]
fn who_takes_the_socket_over_is_told_of_bytes_that_were_taken_and_lost() {
    everywhere(1, |_| async move {
        let (mut stream, peer) = half_std_pair();
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        fill(&mut stream).await;
        drop(peer);
        // Waits for the turn of what was written.
        let error = stream.release().await.unwrap_err();
        let expected = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
        assert!(expected.contains(&error.kind()), "{error}");
    });
}

#[test]
fn several_slices_go_in_one_write_and_one_send() {
    everywhere(1, |handle| async move {
        let (mut stream, mut peer) = half_std_pair();
        assert!(stream.is_write_vectored());
        // The ring has begun its own work.
        stream.write_all(b"first").await.unwrap();
        stream.flush().await.unwrap();
        let before = handle.metrics().cores[0].clone();
        let parts = [IoSlice::new(b"head "), IoSlice::new(b""), IoSlice::new(b"and body")];
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 13);
        stream.flush().await.unwrap();
        let after = handle.metrics().cores[0].clone();
        let sends_and_ops = |core: &CoreMetrics| core.sends_on_the_spot + core.sqes;
        assert_eq!(sends_and_ops(&after) - sends_and_ops(&before), 1);
        let mut all = [0; 18];
        peer.read_exact(&mut all).unwrap();
        assert_eq!(&all, b"firsthead and body");
    });
}

#[test]
fn sends_with_a_place_and_writes_without_one_leave_in_the_order_of_the_calls() {
    everywhere(1, |_| async {
        let (mut stream, mut peer) = half_std_pair();
        let taken = fill(&mut stream).await;
        let (_, half) = stream.split();
        let mut writer = half;
        let mut owned = std::pin::pin!(half.send_all("second"));
        assert!(owned.as_mut().poll(&mut noop()).is_pending());
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        // Behind the send, although there may be room before it.
        let third = async {
            writer.write_all(b"third").await.unwrap();
            writer.flush().await.unwrap();
        };
        let ((sent, _), ()) = futures_lite::future::zip(owned, third).await;
        sent.unwrap();
        stream.shutdown_write().await.unwrap();
        let all = reader.join().unwrap();
        assert_pattern(0, &all[..taken]);
        assert_eq!(&all[taken..], b"secondthird");
    });
}

#[test]
fn a_dropped_send_half_closes_behind_what_was_written() {
    everywhere(1, |_| async {
        let (stream, mut peer) = half_std_pair();
        let (mut receiver, mut sender) = stream.into_split();
        sender.write_all(&pattern(0, 200_000)[..120_000]).await.unwrap();
        drop(sender);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            peer.write_all(b"late").unwrap();
            all
        });
        let mut late = [0; 4];
        receiver.read_exact(&mut late).await.unwrap();
        assert_eq!(&late, b"late");
        assert_pattern(0, &reader.join().unwrap());
    });
}

#[test]
fn both_directions_work_at_once_from_two_tasks() {
    everywhere(2, |_| async {
        const ALL: usize = 3_000_000;
        let (one, other) = pair().await;
        let ends = [one, other].map(|stream| {
            let (mut reader, mut writer) = tokio::io::split(stream);
            let sends = ringwork::spawn(async move {
                writer.write_all(&pattern(0, ALL)).await.unwrap();
                writer.shutdown().await.unwrap();
                writer
            });
            let receives = ringwork::spawn(async move {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).await.unwrap();
                assert_eq!(all.len(), ALL);
                assert_pattern(0, &all);
                reader
            });
            (sends, receives)
        });
        for (sends, receives) in ends {
            sends.await.unwrap();
            receives.await.unwrap();
        }
    });
}

#[test]
fn a_stream_is_used_from_a_thread_that_is_no_core() {
    within(LIMIT, || {
        let runtime = support::runtime(2);
        runtime.block_on(async {
            let (mut one, mut other) = pair().await;
            let sends = async {
                one.write_all(&pattern(0, 1_000_000)).await.unwrap();
                one.shutdown().await.unwrap();
            };
            let receives = async {
                let mut all = Vec::new();
                other.read_to_end(&mut all).await.unwrap();
                assert_eq!(all.len(), 1_000_000);
                assert_pattern(0, &all);
            };
            futures_lite::future::zip(sends, receives).await;
        });
        assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
    });
}

#[test]
fn bytes_that_were_taken_leave_although_the_runtime_goes_down() {
    within(LIMIT, || {
        for keeps_stream in [false, true] {
            let runtime = support::runtime(1);
            let (mut stream, mut peer) = half_std_pair();
            let taken = runtime.block_on(async { fill(&mut stream).await });
            let reader = std::thread::spawn(move || {
                let mut all = vec![0; taken];
                peer.read_exact(&mut all).unwrap();
                all
            });
            let kept = keeps_stream.then_some(stream);
            let report = runtime.shutdown_timeout(LIMIT);
            assert!(report.is_clean(), "{report}");
            assert_pattern(0, &reader.join().unwrap());
            if let Some(mut stream) = kept {
                let told = Pin::new(&mut stream).poll_flush(&mut noop());
                assert!(matches!(told, Poll::Ready(Ok(()))), "{told:?}");
            }
        }
    });
}

#[test]
fn a_runtime_that_goes_down_gives_up_what_nobody_takes_and_the_next_call_says_so_once() {
    within(LIMIT, || {
        let runtime = support::runtime(1);
        let (mut stream, mut peer) = half_std_pair();
        let taken = runtime.block_on(async { fill(&mut stream).await });
        assert!(taken > 0);
        let report = runtime.shutdown_timeout(Duration::from_secs(2));
        assert!(report.is_clean(), "{report}");
        let told = Pin::new(&mut stream).poll_flush(&mut noop());
        assert!(matches!(told, Poll::Ready(Err(_))), "{told:?}");
        let told = Pin::new(&mut stream).poll_flush(&mut noop());
        assert!(matches!(told, Poll::Ready(Ok(()))), "{told:?}");
        drop(stream);
        let ended = peer.read_to_end(&mut Vec::new());
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "a part is not all");
    });
}

#[test]
#[should_panic(expected = "no ringwork runtime in reach")]
fn a_write_with_no_runtime_in_reach_says_what_to_do() {
    let (mut stream, _peer) = half_std_pair();
    let _ = poll_write_once(&mut stream, &mut noop(), b"x");
}
