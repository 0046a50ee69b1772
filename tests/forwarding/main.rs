//! What one stream receives, sent on by another: every byte once and in order, whatever is in between.

#[path = "../support/mod.rs"]
mod support;

use futures_util::future::{Either, select};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringwork::net::{ForwardError, TcpStream, UnixStream};
use ringwork::time::timeout;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::pin::pin;
use std::process::Command;
use std::time::Duration;
use support::{Random, assert_pattern, everywhere, forwarding_pipes, half_std_pair, on_cores, pair, pattern};

/// Writes the pattern in pieces, runs of small and of large ones, and ends.
fn write_pieces(mut to: impl Write + AsFd, mut random: Random, len: usize) {
    // No matter for a Unix socket.
    let _ = SockRef::from(&to).set_tcp_nodelay(true);
    let mut at = 0;
    while at < len {
        let most = if random.chance(2) { 200 } else { 400_000 };
        for _ in 0..8 {
            let piece = (1 + random.below(most) as usize).min(len - at);
            to.write_all(&pattern(at, piece)).unwrap();
            at += piece;
        }
    }
}

/// Reads the pattern to its end; `rests` is called before each read.
fn read_pattern(mut from: impl Read, len: usize, mut rests: impl FnMut()) {
    let (mut buf, mut at) = (vec![0; 100_000], 0);
    loop {
        rests();
        let n = from.read(&mut buf).unwrap();
        if n == 0 {
            break assert_eq!(at, len);
        }
        assert_pattern(at, &buf[..n]);
        at += n;
    }
}

#[test]
fn messages_and_bulk_arrive_whole_and_in_order_both_ways_at_once() {
    const LEN: usize = 16 << 20;
    everywhere(|handle| async move {
        let mut random = Random::announced();
        let ((client, user), (upstream, server)) = (half_std_pair(), half_std_pair());
        let ends = [user, server].map(|end| {
            let (reads, writes, random) = (end.try_clone().unwrap(), end, random.fork());
            let writing = handle.spawn_blocking(move || {
                write_pieces(&writes, random, LEN);
                writes.shutdown(std::net::Shutdown::Write).unwrap();
            });
            (writing, handle.spawn_blocking(move || read_pattern(reads, LEN, || ())))
        });
        let pass = async |from: &TcpStream, to: &TcpStream| {
            assert_eq!(from.forward_to(to).await.unwrap(), LEN as u64);
            to.shutdown_write().await.unwrap();
            assert!(from.recv_pooled().await.unwrap().is_empty(), "the end stays");
        };
        futures_util::join!(pass(&client, &upstream), pass(&upstream, &client));
        for (writing, reading) in ends {
            writing.await.unwrap();
            reading.await.unwrap();
        }
    });
}

#[test]
fn a_forwarding_that_is_dropped_at_any_moment_loses_no_byte_and_sends_none_twice() {
    const LEN: usize = 3 << 20;
    everywhere(|handle| async move {
        let mut random = Random::announced();
        let ((from, writes), (to, reads)) = (half_std_pair(), half_std_pair());
        to.set_nodelay(true).unwrap();
        // Little fits, so that there is always something on its way.
        SockRef::from(&to).set_send_buffer_size(32 << 10).unwrap();
        let (random_there, mut random_here) = (random.fork(), random.fork());
        let writing = handle.spawn_blocking(move || write_pieces(writes, random_there, LEN));
        let reading = handle.spawn_blocking(move || {
            let rests = || {
                if random_here.chance(50) {
                    std::thread::sleep(Duration::from_micros(300));
                }
            };
            read_pattern(reads, LEN, rests);
        });
        let (mut drops, mut by_hand) = (0, 0);
        while timeout(Duration::from_millis(random.below(4)), from.forward_to(&to))
            .await
            .map(Result::unwrap)
            .is_err()
        {
            drops += 1;
            // What was on its way is the next that is received.
            if random.chance(3) {
                let bytes = from.recv_pooled().await.unwrap();
                by_hand += bytes.len();
                to.send_all(bytes).await.0.unwrap();
            }
        }
        to.shutdown_write().await.unwrap();
        writing.await.unwrap();
        reading.await.unwrap();
        assert!(drops > 0 && by_hand > 0, "{drops} drops, {by_hand} bytes by hand");
    });
}

#[test]
fn it_says_which_side_has_failed() {
    everywhere(|handle| async move {
        for len in [100, 4 << 20] {
            // The receiving side is reset behind what it sent.
            let ((from, mut writes), (to, reads)) = (half_std_pair(), half_std_pair());
            let reading = handle.spawn_blocking(move || {
                let (mut buf, mut all) = (vec![0; 100_000], 0);
                let mut reads = &reads;
                while let Ok(n @ 1..) = reads.read(&mut buf) {
                    all += n as u64;
                }
                all
            });
            let writing = handle.spawn_blocking(move || {
                writes.write_all(&pattern(0, len)).unwrap();
                SockRef::from(&writes).set_linger(Some(Duration::ZERO)).unwrap();
            });
            let error = from.forward_to(&to).await.unwrap_err();
            assert!(matches!(&error, ForwardError::Recv { .. }), "{error:?}");
            let sent = error.sent();
            assert_eq!(std::io::Error::from(error).kind(), ErrorKind::ConnectionReset);
            writing.await.unwrap();
            drop(to);
            assert_eq!(reading.await.unwrap(), sent, "what was sent on arrives");

            // The sending side goes, with more to come.
            let ((from, mut writes), (to, mut reads)) = (half_std_pair(), half_std_pair());
            let writing = handle.spawn_blocking(move || while writes.write_all(&pattern(0, len)).is_ok() {});
            let reading = handle.spawn_blocking(move || {
                reads.read_exact(&mut vec![0; len]).unwrap();
                SockRef::from(&reads).set_linger(Some(Duration::ZERO)).unwrap();
            });
            let error = from.forward_to(&to).await.unwrap_err();
            assert!(matches!(&error, ForwardError::Send { .. }), "{error:?}");
            assert!(error.sent() >= len as u64, "what has arrived was sent on");
            drop(from);
            writing.await.unwrap();
            reading.await.unwrap();
        }
    });
}

#[test]
fn streams_of_different_kinds_and_their_halves_forward_to_each_other() {
    const LEN: usize = 4 << 20;
    on_cores(2, |handle| async move {
        let (tcp, writes) = half_std_pair();
        let (unix, far) = UnixStream::pair().unwrap();
        let (back, reads) = half_std_pair();
        let writing = handle.spawn_blocking(move || write_pieces(writes, Random::of(7), LEN));
        let reading = handle.spawn_blocking(move || read_pattern(reads, LEN, || ()));
        let (receives, _keeps) = tcp.into_split();
        let (_keeps_too, sends) = unix.into_split();
        let there = handle.spawn(async move {
            assert_eq!(receives.forward_to(&sends).await.unwrap(), LEN as u64);
        });
        let (receives, _) = far.split();
        assert_eq!(receives.forward_to(&back.split().1).await.unwrap(), LEN as u64);
        back.shutdown_write().await.unwrap();
        there.await.unwrap();
        writing.await.unwrap();
        reading.await.unwrap();
    });
}

#[test]
fn an_urgent_byte_in_bulk_neither_stops_nor_cuts_it() {
    const LEN: usize = 2 << 20;
    everywhere(|handle| async move {
        for ends_there in [false, true] {
            let ((from, writes), (to, reads)) = (half_std_pair(), half_std_pair());
            let writing = handle.spawn_blocking(move || {
                (&writes).write_all(&pattern(0, LEN)).unwrap();
                SockRef::from(&writes).send_out_of_band(b"!").unwrap();
                if !ends_there {
                    (&writes).write_all(&pattern(LEN, LEN)).unwrap();
                }
            });
            let len = if ends_there { LEN } else { 2 * LEN };
            let reading = handle.spawn_blocking(move || read_pattern(reads, len, || ()));
            // The urgent byte is none of the stream's.
            assert_eq!(from.forward_to(&to).await.unwrap(), len as u64);
            to.shutdown_write().await.unwrap();
            writing.await.unwrap();
            reading.await.unwrap();
        }
    });
}

#[test]
fn a_duplicate_that_was_put_into_blocking_mode_holds_up_no_core() {
    const LEN: usize = 1 << 20;
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let ((from, writes), (to, reads)) = (half_std_pair(), half_std_pair());
            let duplicates = [from.as_fd(), to.as_fd()].map(|fd| fd.try_clone_to_owned().unwrap());
            let reading = std::thread::spawn(move || {
                // Late, so that there is no room at times.
                let rests = || std::thread::sleep(Duration::from_micros(100));
                read_pattern(reads, 3 * LEN, rests);
            });
            {
                let mut forwarding = Box::pin(from.forward_to(&to));
                for at in 0..3 {
                    for duplicate in &duplicates {
                        SockRef::from(duplicate).set_nonblocking(false).unwrap();
                    }
                    let writing = writes.try_clone().unwrap();
                    let piece = std::thread::spawn(move || {
                        (&writing).write_all(&pattern(at * LEN, LEN)).unwrap();
                    });
                    // The core is free all the while: this sleep ends.
                    while !piece.is_finished() {
                        assert!(timeout(Duration::from_millis(1), &mut forwarding).await.is_err());
                    }
                }
                drop(writes);
                assert_eq!(forwarding.await.unwrap(), 3 * LEN as u64);
            }
            to.shutdown_write().await.unwrap();
            reading.join().unwrap();
            // Given away, a socket waits again.
            let to = to.into_std().expect("nothing is under way");
            assert!(!SockRef::from(&to).nonblocking().unwrap());
        });
        ran.await.unwrap();
    });
}

#[test]
fn another_sender_comes_in_between_two_pieces_and_not_into_one() {
    on_cores(1, |_| async {
        let ((user, client), (upstream, server)) = (pair().await, pair().await);
        user.send_all("first").await.0.unwrap();
        {
            let mut forwarding = Box::pin(client.forward_to(&upstream));
            match select(&mut forwarding, pin!(server.recv_exact([0u8; 5]))).await {
                Either::Right(((Ok(()), bytes), _)) => assert_eq!(&bytes, b"first"),
                _ => panic!("five bytes come, and the user has not ended"),
            }
            upstream.send_all("between").await.0.unwrap();
            user.send_all("second").await.0.unwrap();
            user.shutdown_write().await.unwrap();
            assert_eq!(forwarding.await.unwrap(), 11);
        }
        let (received, bytes) = server.recv_exact([0u8; 13]).await;
        received.unwrap();
        assert_eq!(&bytes, b"betweensecond");
    });
}

const ROLE: &str = "RINGWORK_TEST_FEW_DESCRIPTORS";

#[test]
fn bulk_takes_a_pipe_and_where_there_is_none_it_goes_through_buffers() {
    const TEST: &str = "bulk_takes_a_pipe_and_where_there_is_none_it_goes_through_buffers";
    const LEN: usize = 4 << 20;
    let few = std::env::var_os(ROLE).is_some();
    // Descriptors are the process's, so each case has one of its own: this binary again.
    if std::env::var_os("RINGWORK_TEST_CHILD").is_none() {
        for few in [false, true] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args([TEST, "--exact", "--nocapture"]).env("RINGWORK_TEST_CHILD", "1");
            let child = if few { child.env(ROLE, "1") } else { &mut child };
            assert!(child.status().unwrap().success(), "few descriptors: {few}");
        }
        return;
    }
    on_cores(1, move |handle| async move {
        let ran = handle.spawn_on(0, move || async move {
            let ((from, writes), (to, reads)) = (half_std_pair(), half_std_pair());
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            if few {
                // The one that lists the others is among them.
                let used = support::descriptors() as u64 - 1;
                setrlimit(Resource::RLIMIT_NOFILE, used, most).unwrap();
            }
            let writing = std::thread::spawn(move || {
                (&writes).write_all(&pattern(0, LEN)).unwrap();
            });
            let reading = std::thread::spawn(move || read_pattern(reads, LEN, || ()));
            assert_eq!(from.forward_to(&to).await.unwrap(), LEN as u64);
            to.shutdown_write().await.unwrap();
            writing.join().unwrap();
            reading.join().unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
            assert_eq!(forwarding_pipes() == 0, few);
            if !few {
                idle_after_bulk().await;
            }
        });
        ran.await.unwrap();
    });
}

/// Connections that had bulk and wait for more hold no pipe; a core keeps two for all.
async fn idle_after_bulk() {
    let mut all = Vec::new();
    for _ in 0..30 {
        let ((from, writes), (to, mut reads)) = (half_std_pair(), half_std_pair());
        let forwarding = ringwork::spawn_local(async move { from.forward_to(&to).await });
        for _ in 0..4 {
            (&writes).write_all(&[7; 100_000]).unwrap();
            let mut bytes = vec![0; 100_000];
            reads.set_nonblocking(true).unwrap();
            let mut at = 0;
            while at < bytes.len() {
                match reads.read(&mut bytes[at..]) {
                    Ok(n) => at += n,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                ringwork::task::yield_now().await;
            }
        }
        all.push((forwarding, writes, reads));
    }
    let pipes = forwarding_pipes();
    assert!((1..=2 * 2).contains(&pipes), "{pipes} ends of pipes for {} idle connections", all.len());
}
