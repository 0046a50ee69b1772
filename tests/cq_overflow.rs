//! More completions at a time than a small completion queue holds: nothing is lost, nothing hangs.

use futures_util::future::{AbortHandle, abortable, join_all, try_join, try_join_all};
use ringwork::net::TcpStream;
use ringwork::runtime::{Builder, Handle, Pin};
use ringwork::serve_per_core;
use std::cell::RefCell;
use std::future::pending;
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

mod support;
use support::{LIMIT, Levels, Random, alone, assert_pattern, pattern, within};

const CONNECTIONS: usize = 500;
const THREADS: usize = 5;
const ROUNDS: usize = 12;
/// The first three each make the kernel have twice as many buffers as before: then it has all there are.
const FLOODS: usize = 4;
/// What the completion queue of a ring of 32 entries holds.
const CQ: u64 = 128;

#[test]
fn a_small_ring_under_a_flood_of_completions_loses_nothing() {
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        let builder = Builder::new().cores(1).pin(Pin::Off).ring_entries(32);
        let runtime = builder.build().unwrap();
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let server =
                serve_per_core("127.0.0.1:0".parse().unwrap(), |stream, _| echo(stream)).await.unwrap();
            let address = server.local_addr();
            let over = Arc::new(AtomicBool::new(false));
            let stalls = handle.spawn_on(0, {
                let over = Arc::clone(&over);
                move || stall_now_and_then(over)
            });
            let written = Arc::new(AtomicUsize::new(0));
            let floods = handle.spawn_on(0, {
                let written = Arc::clone(&written);
                async move || {
                    let mut found = Vec::new();
                    for nth in 1..=FLOODS {
                        found.push(answer_all_at_once(&written, nth).await);
                    }
                    found
                }
            });
            let clients = (0..THREADS).map(|_| {
                let (mut seed, written) = (random.fork(), Arc::clone(&written));
                handle.spawn_blocking(move || {
                    for _ in 0..FLOODS {
                        let connect = |_| std::net::TcpStream::connect(address).unwrap();
                        let sockets: Vec<_> = (0..CONNECTIONS / THREADS).map(connect).collect();
                        flood(sockets, &written, &mut seed);
                    }
                })
            });
            let (floods, _) = try_join(floods, try_join_all(clients))
                .await
                .expect("every answer comes, whole and in order");
            over.store(true, Ordering::SeqCst);
            stalls.await.unwrap();
            for Found { completions, .. } in &floods {
                assert!(*completions >= CQ, "{completions} completions at once: it never was full");
            }
            // A multishot that meets the full queue with data in its hand is the delicate case.
            let in_vain = floods.last().unwrap().in_vain;
            assert_eq!(in_vain, 0, "the queue was full of receives that had found no buffer");
            assert!(server.stop(Duration::from_secs(20)).await);
            start.return_on(&handle).await;
        });
    });
}

thread_local! {
    /// The connections whose first messages are not answered yet, and what lets each echo go on by itself.
    static NEW: RefCell<Vec<(Arc<TcpStream>, AbortHandle)>> = const { RefCell::new(Vec::new()) };
}

async fn echo(stream: TcpStream) {
    let stream = Arc::new(stream);
    let (answered, answer) = abortable(pending::<()>());
    NEW.with_borrow_mut(|new| new.push((Arc::clone(&stream), answer)));
    assert!(answered.await.is_err());
    loop {
        match stream.recv_pooled().await {
            Ok(buf) if !buf.is_empty() => stream.send_all(buf).await.0.unwrap(),
            _ => return,
        }
    }
}

/// What the core found at once.
struct Found {
    completions: u64,
    /// Receives for which there was no buffer.
    in_vain: u64,
}

/// Begins a receive on every connection in one poll, when something is there for each of them to receive:
/// what the kernel completes while it takes them is more than the queue holds. Then answers all. `nth` says
/// how often the clients have flooded the server then.
async fn answer_all_at_once(written: &AtomicUsize, nth: usize) -> Found {
    let handle = Handle::current();
    let counted = || handle.metrics().cores[0].clone();
    let all_are_there = || NEW.with_borrow(Vec::len) == CONNECTIONS;
    while written.load(Ordering::SeqCst) < nth * THREADS || !all_are_there() {
        ringwork::time::sleep(Duration::from_millis(1)).await;
    }
    let (streams, answers): (Vec<_>, Vec<_>) = NEW.take().into_iter().unzip();
    let mut received = pin!(join_all(streams.iter().map(|stream| stream.recv_pooled())));
    let before = counted();
    assert!(futures_util::poll!(&mut received).is_pending());
    assert_eq!(counted().cqes, before.cqes, "nothing is taken from the queue within a poll");
    let mut after = counted();
    while after.cqes == before.cqes {
        ringwork::task::yield_now().await;
        after = counted();
    }
    let sends = streams.iter().zip(received.await).map(|(stream, buf)| stream.send_all(buf.unwrap()));
    assert!(join_all(sends).await.into_iter().all(|(sent, _)| sent.is_ok()));
    answers.into_iter().for_each(|answer| answer.abort());
    Found { completions: after.cqes - before.cqes, in_vain: after.pool_starved - before.pool_starved }
}

/// Keeps the core from looking at its ring, so that completions pile up, wherever the clients are.
async fn stall_now_and_then(over: Arc<AtomicBool>) {
    while !over.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(10));
        ringwork::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A message on every socket, and then the answers of all.
fn flood(mut sockets: Vec<std::net::TcpStream>, written: &AtomicUsize, random: &mut Random) {
    for socket in &sockets {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.set_nodelay(true).unwrap();
    }
    let mut at = 0;
    for round in 0..ROUNDS {
        let len = 1 + random.below(300) as usize;
        let parts = 1 + random.below(3) as usize;
        for part in 0..parts {
            for socket in &mut sockets {
                socket.write_all(&pattern(at + part * len, len)).unwrap();
            }
        }
        if round == 0 {
            written.fetch_add(1, Ordering::SeqCst);
        }
        for socket in &mut sockets {
            let mut answer = vec![0; len * parts];
            socket.read_exact(&mut answer).unwrap();
            assert_pattern(at, &answer);
        }
        at += len * parts;
    }
}

#[test]
fn more_ops_than_the_submission_queue_holds_are_all_submitted() {
    const OPS: usize = 400;
    let _alone = alone();
    within(LIMIT, || {
        let builder = Builder::new().cores(1).pin(Pin::Off).ring_entries(32);
        let runtime = builder.build().unwrap();
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let ran = handle.spawn_on(0, || async {
                let file = ringwork::fs::File::open("/proc/self/exe").await.unwrap();
                file.cached_reads(false);
                let (streams, mut peers): (Vec<_>, Vec<_>) =
                    (0..OPS).map(|_| support::half_std_pair()).unzip();
                // All in one poll of one task.
                let receives = streams.iter().map(|stream| stream.recv(Vec::with_capacity(8)));
                let mut receives: Vec<_> = receives.collect();
                for receive in &mut receives {
                    assert!(futures_util::poll!(receive).is_pending());
                }
                let sends = streams.iter().map(|stream| stream.send_vectored(vec!["ve", "ct", "or"]));
                let reads = (0..OPS).map(|n| file.read_at(vec![0u8; 64].into_boxed_slice(), n as u64 * 64));
                let sent = join_all(sends);
                let read = join_all(reads);
                let (sent, read) = futures_util::join!(sent, read);
                assert!(sent.into_iter().all(|(n, _)| n.unwrap() == 6));
                assert!(read.into_iter().all(|(n, _)| n.unwrap() == 64));
                for (n, peer) in peers.iter_mut().enumerate() {
                    let mut vector = [0; 6];
                    peer.read_exact(&mut vector).unwrap();
                    assert_eq!(&vector, b"vector");
                    // Every other receive is cancelled, all within one poll as well.
                    if n % 2 == 0 {
                        peer.write_all(&n.to_le_bytes()).unwrap();
                    }
                }
                let mut cancels = Vec::new();
                for (n, receive) in receives.into_iter().enumerate() {
                    if n % 2 == 0 {
                        let (received, bytes) = receive.await;
                        assert_eq!((received.unwrap(), &bytes[..]), (8, &n.to_le_bytes()[..]));
                    } else {
                        cancels.push(receive.cancel());
                    }
                }
                for (result, _) in join_all(cancels).await {
                    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
                }
            });
            ran.await.unwrap();
            start.return_on(&handle).await;
        });
    });
}
