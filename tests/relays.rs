//! Messages that a forwarding sends on without a turn of its task.

mod support;

use futures_util::{join, poll};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use ringwork::core::{current, move_to};
use ringwork::net::ForwardError;
use ringwork::task::yield_now;
use ringwork::time::{sleep, timeout};
use socket2::SockRef;
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Random, assert_pattern, half_std_pair, on_cores, pair, pattern};

/// As `future`; `polls` says how often it was polled.
async fn counting<F: Future>(polls: &Cell<usize>, future: F) -> F::Output {
    let mut future = pin!(future);
    let polled = poll_fn(|cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    });
    polled.await
}

#[test]
fn few_messages_come_to_the_task_of_a_forwarding_that_waits_and_some_do() {
    const MESSAGES: usize = 320;
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let ((user, client), (upstream, server)) = (pair().await, pair().await);
            let polls = Rc::new(Cell::new(0));
            let counted = Rc::clone(&polls);
            let task = ringwork::spawn_local(async move {
                let all = counting(&counted, client.forward_to(&upstream)).await.unwrap();
                upstream.shutdown_write().await.unwrap();
                all
            });
            for at in 0..MESSAGES {
                user.send_all(pattern(8 * at, 8)).await.0.unwrap();
                let (received, bytes) = server.recv_exact([0; 8]).await;
                received.unwrap();
                assert_pattern(8 * at, &bytes);
            }
            // So that a core that has nothing to do sees the task now and then.
            assert!(polls.get() >= MESSAGES / 16, "{} polls", polls.get());
            assert!(polls.get() <= MESSAGES / 4, "{} polls", polls.get());
            user.shutdown_write().await.unwrap();
            assert_eq!(task.await.unwrap(), 8 * MESSAGES as u64, "all are counted");
        });
        ran.await.unwrap();
    });
}

#[test]
fn forwardings_move_from_a_busy_core_to_an_idle_one() {
    const PAIRS: usize = 32;
    on_cores(2, |handle| async move {
        let moved = Arc::new(AtomicBool::new(false));
        let (mut users, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            let ((from, user), (to, server)) = (half_std_pair(), half_std_pair());
            users.push(user);
            servers.push(server);
            let moved = Arc::clone(&moved);
            let forwarding = async move {
                move_to(0).await;
                let mut forwarding = pin!(from.forward_to(&to));
                let mut before = None;
                let polled = poll_fn(|cx| {
                    // Polled here and now there: after the first time only a message wakes it.
                    if before.is_some_and(|before| Some(before) != current()) {
                        moved.store(true, Ordering::Relaxed);
                    }
                    before = current();
                    forwarding.as_mut().poll(cx)
                });
                polled.await.map(drop)
            };
            drop(handle.spawn(forwarding));
        }
        // What is woken on core 0 waits behind this.
        let busy = handle.spawn_on(0, || async {
            loop {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_micros(500) {}
                yield_now().await;
            }
        });
        let burst = handle.spawn_blocking(move || {
            while !moved.load(Ordering::Relaxed) {
                users.iter_mut().for_each(|user| user.write_all(&[7; 8]).unwrap());
                servers.iter_mut().for_each(|server| server.read_exact(&mut [0; 8]).unwrap());
            }
        });
        burst.await.unwrap();
        busy.abort();
    });
}

#[test]
fn what_comes_after_a_forwarding_was_dropped_stays_with_the_stream() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let ((user, client), (upstream, server)) = (pair().await, pair().await);
            assert!(poll!(pin!(client.forward_to(&upstream))).is_pending());
            user.send_all("kept").await.0.unwrap();
            let (received, bytes) = client.recv_exact([0; 4]).await;
            received.unwrap();
            assert_eq!(&bytes, b"kept");
            upstream.send_all("by hand").await.0.unwrap();
            assert_eq!(&server.recv_pooled().await.unwrap()[..], b"by hand");
        });
        ran.await.unwrap();
    });
}

#[test]
fn who_waits_for_the_turn_to_receive_gets_the_message_after_the_next_and_the_forwarding_goes_on() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let ((user, client), (upstream, server)) = (pair().await, pair().await);
            let client = Rc::new(client);
            let from = Rc::clone(&client);
            let task = ringwork::spawn_local(async move {
                let sent = from.forward_to(&upstream).await.unwrap();
                upstream.shutdown_write().await.unwrap();
                sent
            });
            let send = async |message: &'static str| {
                user.send_all(message).await.0.unwrap();
            };
            let receive = async |message: &str| {
                assert_eq!(&server.recv_pooled().await.unwrap()[..], message.as_bytes());
            };
            for message in ["one", "two"] {
                send(message).await;
                receive(message).await;
            }
            let mut between = pin!(client.recv_pooled());
            assert!(poll!(between.as_mut()).is_pending());
            send("three").await;
            receive("three").await;
            send("for another").await;
            assert_eq!(&between.await.unwrap()[..], b"for another");
            for message in ["four", "five", "six"] {
                send(message).await;
                receive(message).await;
            }
            user.shutdown_write().await.unwrap();
            assert_eq!(task.await.unwrap(), "onetwothreefourfivesix".len() as u64);
        });
        ran.await.unwrap();
    });
}

#[test]
fn two_forwardings_of_one_stream_and_one_of_a_stream_to_itself_lose_nothing() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let ((user, client), (upstream, server)) = (pair().await, pair().await);
            let echo = ringwork::spawn_local(async move {
                let sent = server.forward_to(&server).await.unwrap();
                server.shutdown_write().await.unwrap();
                sent
            });
            let passes = ringwork::spawn_local(async move {
                let both = join!(client.forward_to(&upstream), client.forward_to(&upstream));
                upstream.shutdown_write().await.unwrap();
                (both.0.unwrap() + both.1.unwrap(), upstream)
            });
            for at in 0..100 {
                user.send_all(pattern(8 * at, 8)).await.0.unwrap();
            }
            user.shutdown_write().await.unwrap();
            let (sent, upstream) = passes.await.unwrap();
            let (received, bytes) = upstream.recv_exact([0; 800]).await;
            received.unwrap();
            assert_pattern(0, &bytes);
            assert_eq!((sent, echo.await.unwrap()), (800, 800));
        });
        ran.await.unwrap();
    });
}

fn has_hung_up(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    nix::poll::poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
}

#[test]
fn what_comes_behind_a_send_that_has_failed_stays_with_the_stream() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let ((user, client), (upstream, mut reads)) = (pair().await, half_std_pair());
            user.set_nodelay(true).unwrap();
            let client = Rc::new(client);
            let from = Rc::clone(&client);
            let same_as_upstream = upstream.as_fd().try_clone_to_owned().unwrap();
            let polls = Rc::new(Cell::new(0));
            let counted = Rc::clone(&polls);
            let task =
                ringwork::spawn_local(async move { counting(&counted, from.forward_to(&upstream)).await });
            while polls.get() == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            let mut sent = 0u32;
            let mut send = async || {
                user.send_all(sent.to_ne_bytes()).await.0.unwrap();
                sent += 1;
            };
            send().await;
            reads.set_nonblocking(true).unwrap();
            while reads.read(&mut [0; 4]).is_err() {
                sleep(Duration::from_millis(1)).await;
            }
            SockRef::from(&reads).set_linger(Some(Duration::ZERO)).unwrap();
            drop(reads);
            while !has_hung_up(&same_as_upstream) {
                sleep(Duration::from_millis(1)).await;
            }
            while !task.is_finished() {
                send().await;
                sleep(Duration::from_millis(1)).await;
            }
            let error = task.await.unwrap().unwrap_err();
            assert!(matches!(&error, ForwardError::Send { .. }), "{error:?}");
            assert_eq!(polls.get(), 2, "one to wait, and one to tell");
            assert_eq!(error.sent(), 8, "the first one arrived, the second one failed: {error:?}");
            let (received, next) = client.recv_exact([0; 4]).await;
            received.unwrap();
            assert_eq!(u32::from_ne_bytes(next), 2);
        });
        ran.await.unwrap();
    });
}

#[test]
fn a_forwarding_dropped_by_another_thread_while_messages_come_loses_none_and_sends_none_twice() {
    const LEN: usize = 80_000;
    on_cores(1, |handle| async move {
        let pool = handle.clone();
        let ran = handle.spawn_on(0, move || async move {
            let mut random = Random::announced();
            let ((from, mut writes), (to, mut reads)) = (half_std_pair(), half_std_pair());
            let (from, to) = (Arc::new(from), Arc::new(to));
            SockRef::from(&writes).set_tcp_nodelay(true).unwrap();
            to.set_nodelay(true).unwrap();
            let writing = std::thread::spawn(move || {
                for at in (0..LEN).step_by(8) {
                    writes.write_all(&pattern(at, 8)).unwrap();
                    // Most of them come one by one, or the task gets them all.
                    std::thread::sleep(Duration::from_micros(5));
                }
            });
            let reading = std::thread::spawn(move || {
                let (mut buf, mut at) = (vec![0; 4096], 0);
                while let n @ 1.. = reads.read(&mut buf).unwrap() {
                    assert_pattern(at, &buf[..n]);
                    at += n;
                }
                at
            });
            let mut drops = 0;
            loop {
                let (here, there) = (Arc::clone(&from), Arc::clone(&to));
                let mut forwarding = Box::pin(async move { here.forward_to(&*there).await });
                if timeout(Duration::from_micros(random.below(500)), &mut forwarding).await.is_ok() {
                    break;
                }
                drops += 1;
                pool.spawn_blocking(move || drop(forwarding)).await.unwrap();
            }
            assert!(drops > 0);
            to.shutdown_write().await.unwrap();
            writing.join().unwrap();
            assert_eq!(reading.join().unwrap(), LEN);
        });
        ran.await.unwrap();
    });
}
