//! Pooled receives: nobody waits for another holder, every buffer comes home, and bulk keeps its order.

use futures_util::future::join_all;
use futures_util::poll;
use ringwork::buf::PooledBuf;
use ringwork::net::TcpStream;
use ringwork::runtime::Handle;
use std::io::Write;
use std::pin::pin;
use std::time::{Duration, Instant};

mod support;
use support::{LIMIT, Levels, Random, SMALL, alone, assert_pattern, half_std_pair, pattern, runtime, within};

const LONG: Duration = Duration::from_secs(20);

/// Buffers of one core's pool.
async fn pool_size(handle: &Handle) -> usize {
    handle.spawn_on(0, || async {}).await.unwrap();
    handle.metrics().cores[0].pool_buffers as usize
}

/// Receives on core 0, from a connection of its own each, until its pool gives no more. Returns the buffers.
async fn drain_pool(handle: &Handle) -> Vec<PooledBuf> {
    let drained = handle.spawn_on(0, || async {
        let mut taken = Vec::new();
        loop {
            let (stream, mut peer) = half_std_pair();
            peer.write_all(b"one buffer").unwrap();
            let buf = stream.recv_pooled().await.unwrap();
            assert_eq!(&buf[..], b"one buffer");
            if !buf.is_from_pool() {
                return taken;
            }
            taken.push(buf);
        }
    });
    drained.await.unwrap()
}

#[test]
fn a_thousand_handlers_that_each_gather_64_kib_all_finish() {
    const HANDLERS: usize = 1_000;
    const EACH: usize = 64 << 10;
    let _alone = alone();
    within(LIMIT, || {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let (streams, peers): (Vec<_>, Vec<_>) = (0..HANDLERS).map(|_| half_std_pair()).unzip();
            let gather = |(n, stream): (usize, TcpStream)| {
                handle.spawn_on(n % 2, move || async move {
                    let (mut gathered, mut at) = (Vec::new(), 0);
                    while at < EACH {
                        let buf = stream.recv_pooled().await.unwrap();
                        assert!(!buf.is_empty(), "the stream ended after {at} bytes");
                        assert_pattern(at, &buf);
                        at += buf.len();
                        gathered.push(buf);
                    }
                    gathered
                })
            };
            let handlers: Vec<_> = streams.into_iter().enumerate().map(gather).collect();
            let written = handle.spawn_blocking(move || write_in_turn(peers, EACH));
            // Nobody gives a buffer back before all are done: the pools are empty for most of the time.
            let gathered = join_all(handlers).await;
            let bytes: usize =
                gathered.iter().flat_map(|all| all.as_ref().unwrap()).map(|buf| buf.len()).sum();
            assert_eq!(bytes, HANDLERS * EACH);
            written.await.unwrap();
            let misses: u64 = handle.metrics().cores.iter().map(|core| core.pool_misses).sum();
            assert!(misses > 0, "the pools never were empty");
            drop(gathered);
            start.return_on(&handle).await;
        });
    });
}

/// A piece to each peer, then the next piece to each.
fn write_in_turn(mut peers: Vec<std::net::TcpStream>, each: usize) {
    let all = pattern(0, each);
    let mut at = 0;
    while at < each {
        let piece = (at % 3000 + 500).min(each - at);
        for peer in &mut peers {
            peer.write_all(&all[at..at + piece]).unwrap();
        }
        at += piece;
    }
}

#[test]
fn streams_that_are_armed_on_an_empty_pool_are_served_from_the_heap() {
    let _alone = alone();
    within(LIMIT, || {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let armed = handle.spawn_on(0, || async {
                let (streams, peers): (Vec<_>, Vec<_>) = (0..50).map(|_| half_std_pair()).unzip();
                for stream in &streams {
                    let mut waiting = pin!(stream.recv_pooled());
                    assert!(poll!(waiting.as_mut()).is_pending());
                }
                (streams, peers)
            });
            let (streams, mut peers) = armed.await.unwrap();
            let held = drain_pool(&handle).await;
            let size = pool_size(&handle).await;
            assert!(held.len() + 8 >= size && size > 0, "{} of {size} buffers are held", held.len());
            for (n, peer) in peers.iter_mut().enumerate() {
                peer.write_all(&pattern(n, 10_000)).unwrap();
            }
            let served = handle.spawn_on(0, move || async move {
                let mut heap = 0;
                for (n, stream) in streams.iter().enumerate() {
                    let mut received = 0;
                    while received < 10_000 {
                        let buf = stream.recv_pooled().await.unwrap();
                        assert_pattern(n + received, &buf);
                        received += buf.len();
                        heap += usize::from(!buf.is_from_pool());
                    }
                }
                heap
            });
            let heap =
                ringwork::time::timeout(LONG, served).await.expect("nobody waits for a buffer").unwrap();
            assert!(heap > 0, "none was served from the heap");
            assert!(handle.metrics().cores[0].pool_starved > 0, "the kernel never found the pool empty");
            drop((held, peers));
            start.return_on(&handle).await;
        });
    });
}

#[test]
fn buffers_returned_only_from_elsewhere_revive_a_parked_starved_core() {
    let _alone = alone();
    within(LIMIT, || {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let start = runtime.block_on(Levels::at_start(&handle));
        for round in 0..6 {
            let mut held = runtime.block_on(drain_pool(&handle));
            // Core 0 has nothing more to do: it parks with an empty pool, and only a return can wake it.
            let mut rung = until_parked(&handle);
            if round >= 3 {
                // One that comes home first is too few to receive with: the others are to ring, too.
                drop(held.pop());
                available_above(&handle, 0);
                rung = until_parked(&handle);
            }
            match round % 3 {
                0 => runtime.block_on(handle.spawn_on(1, move || async move { drop(held) })).unwrap(),
                1 => runtime.block_on(handle.spawn_blocking(move || drop(held))).unwrap(),
                _ => drop(held),
            }
            available_above(&handle, 1);
            assert!(handle.metrics().cores[0].doorbells > rung, "a return rings the starved core");
            let again = handle.spawn_on(0, || async {
                let (stream, mut peer) = half_std_pair();
                peer.write_all(b"x").unwrap();
                stream.recv_pooled().await.unwrap().is_from_pool()
            });
            assert!(runtime.block_on(again).unwrap(), "the pool serves again");
        }
        runtime.block_on(start.return_on(&handle));
    });
}

/// Waits until core 0 has found more buffers than these at home.
fn available_above(handle: &Handle, count: u64) {
    let until = Instant::now() + LONG;
    while handle.metrics().cores[0].pool_available <= count {
        assert!(Instant::now() < until, "the buffers are home and the core sleeps on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until core 0 has not turned for a while; says how often its doorbell had been rung by then.
fn until_parked(handle: &Handle) -> u64 {
    let mut before = handle.metrics().cores[0].clone();
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let now = handle.metrics().cores[0].clone();
        if now == before {
            return now.doorbells;
        }
        before = now;
    }
}

#[test]
fn a_receive_that_is_cancelled_or_dropped_gives_its_buffer_back() {
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            for core in [0, 1] {
                let mut random = random.fork();
                let ran = handle.spawn_on(core, move || async move {
                    for _ in 0..500 {
                        let (stream, mut peer) = half_std_pair();
                        let mut receive = stream.recv_pooled();
                        assert!(poll!(&mut receive).is_pending());
                        if random.chance(2) {
                            peer.write_all(&pattern(0, 1 + random.below(30_000) as usize)).unwrap();
                        }
                        for _ in 0..random.below(3) {
                            ringwork::task::yield_now().await;
                        }
                        match random.below(3) {
                            0 => drop(receive),
                            1 => drop(receive.cancel().await),
                            _ => drop(receive.timeout(Duration::from_micros(100)).await),
                        }
                        // Unread buffers go home with the stream.
                        drop(stream);
                    }
                });
                ran.await.unwrap();
            }
            start.return_on(&handle).await;
        });
    });
}

#[test]
fn buffers_outlive_their_runtime_and_are_dropped_after_it() {
    let _alone = alone();
    within(LIMIT, || {
        let first = runtime(2);
        let (stream, mut peer) = half_std_pair();
        peer.write_all(b"remember me").unwrap();
        let receive = first.handle().spawn_on(0, move || async move {
            let buf = stream.recv_pooled().await.unwrap();
            (buf, stream)
        });
        let (buf, stream) = first.block_on(receive).unwrap();
        assert!(buf.is_from_pool());
        let held = first.block_on(drain_pool(first.handle()));
        assert!(first.shutdown_timeout(LONG).is_clean());
        assert_eq!(&buf[..], b"remember me");
        // Its memory is still its own: another runtime sends it.
        let second = runtime(1);
        second.block_on(async {
            let (sent, buf) = stream.send_all(buf).await;
            sent.unwrap();
            assert_eq!(&buf[..], b"remember me");
        });
        drop(second);
        let dropped = std::thread::spawn(move || drop(held));
        dropped.join().unwrap();
    });
}

#[test]
fn bulk_and_messages_in_turn_keep_their_order() {
    const BYTES: usize = 64 << 20;
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let (stream, peer) = half_std_pair();
            let seed = random.fork();
            let written = handle.spawn_blocking(move || write_in_moods(peer, seed, BYTES));
            let read = handle.spawn_on(0, move || async move {
                let (mut at, mut small, mut large) = (0, 0, 0);
                while at < BYTES {
                    let buf = stream.recv_pooled().await.unwrap();
                    assert!(!buf.is_empty(), "the stream ended after {at} bytes");
                    assert_pattern(at, &buf);
                    at += buf.len();
                    if buf.len() <= SMALL {
                        small += 1
                    } else {
                        large += 1
                    }
                    if random.chance(40) {
                        let (n, plain) =
                            stream.recv(Vec::with_capacity(1 + random.below(9000) as usize)).await;
                        assert_pattern(at, &plain);
                        at += n.unwrap();
                    }
                    if random.chance(200) {
                        // The high-water mark is passed meanwhile.
                        ringwork::time::sleep(Duration::from_millis(2)).await;
                    }
                }
                assert!(stream.recv_pooled().await.unwrap().is_empty());
                (small, large)
            });
            let (small, large) = read.await.expect("every byte comes once and in order");
            assert!(small > 0 && large > 0, "{small} buffers were small and {large} large");
            written.await.unwrap();
            start.return_on(&handle).await;
        });
    });
}

/// Now a flood, now single messages with a moment in between.
fn write_in_moods(mut peer: std::net::TcpStream, mut random: Random, bytes: usize) {
    peer.set_nodelay(true).unwrap();
    let mut at = 0;
    while at < bytes {
        if random.chance(3) {
            for _ in 0..random.below(40) {
                let len = (1 + random.below(500) as usize).min(bytes - at);
                peer.write_all(&pattern(at, len)).unwrap();
                at += len;
                std::thread::sleep(Duration::from_micros(20));
            }
        } else {
            let len = (random.below(4 << 20) as usize).min(bytes - at);
            peer.write_all(&pattern(at, len)).unwrap();
            at += len;
        }
    }
}

#[test]
fn unread_bytes_of_a_stream_nobody_reads_stay_below_its_share_of_the_pool() {
    let _alone = alone();
    within(LIMIT, || {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let size = pool_size(&handle).await;
            let (stream, mut peer) = half_std_pair();
            let stream = handle.spawn_on(0, move || async move {
                {
                    let mut waiting = pin!(stream.recv_pooled());
                    assert!(poll!(waiting.as_mut()).is_pending());
                }
                stream
            });
            let stream = stream.await.unwrap();
            // Small pieces, each a buffer of its own, and nobody reads.
            for at in 0..400 {
                peer.write_all(&pattern(at * 10, 10)).unwrap();
                handle.spawn_on(0, || async {}).await.unwrap();
            }
            let out = Levels::now(&handle).buffers_out as usize;
            assert!(out > 0 && out <= size / 8, "{out} of {size} buffers are out for one stream");
            drop(peer);
            let mut at = 0;
            loop {
                let buf = stream.recv_pooled().await.unwrap();
                if buf.is_empty() {
                    break;
                }
                assert_pattern(at, &buf);
                at += buf.len();
            }
            assert_eq!(at, 4_000);
            drop(stream);
            start.return_on(&handle).await;
        });
    });
}
