//! A stream dropped on one core while another still holds its unsubmitted op, with sockets that want its
//! number: no byte goes to, or is taken from, a connection that is not its own.

use ringwork::net::{TcpListener, TcpStream};
use ringwork::runtime::Handle;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mod support;
use support::{LIMIT, Levels, Random, alone, half_std_pair, runtime, within};

const ROUNDS: u64 = 400;
/// Sockets that are opened as soon as the stream is gone: one of them gets its number, should it be free.
const FRESH: usize = 4;

type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;

#[test]
fn an_unsubmitted_op_of_a_dropped_stream_never_reaches_the_next_owner_of_its_number() {
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            for round in 0..ROUNDS {
                let (random, there) = (random.fork(), handle.clone());
                let one = handle.spawn_on(0, move || one_round(there, round, random));
                one.await.expect("every connection has its own bytes");
            }
            start.return_on(&handle).await;
        });
    });
}

/// Core 0: starts an op, which is in its ring's queue and not submitted; core 1 drops it and the stream, and
/// opens sockets, all while core 0 stays in this one poll.
async fn one_round(handle: Handle, round: u64, mut random: Random) {
    let (stream, mut peer) = half_std_pair();
    let stream = Arc::new(stream);
    // Longer than what is sent on the spot, without an op.
    let own = tag("own", round).repeat(20_000);
    let mut pending = start(&random.below(4), &stream, own.clone());
    let polled = futures_util::poll!(pending.as_mut());
    assert!(polled.is_pending(), "an op is not done before it is submitted");
    let opened = Arc::new(AtomicBool::new(false));
    let (says_opened, by_ringwork) = (Arc::clone(&opened), random.chance(2));
    let opener = handle.spawn_on(1, move || async move {
        // The future first: while it borrows the stream it keeps it.
        drop(pending);
        drop(stream);
        let fresh = if by_ringwork { accept_by_ringwork().await } else { accept_by_std() };
        says_opened.store(true, Ordering::SeqCst);
        fresh
    });
    let until = Instant::now() + Duration::from_secs(20);
    while !opened.load(Ordering::SeqCst) {
        assert!(Instant::now() < until, "core 1 does not get on");
        std::hint::spin_loop();
    }
    let fresh = opener.await.unwrap();
    let checked = handle.spawn_blocking(move || {
        for (n, (mut accepted, mut client)) in fresh.into_iter().enumerate() {
            let (there, back) = (tag("there", round * 100 + n as u64), tag("back", round * 100 + n as u64));
            client.write_all(&there).unwrap();
            accepted.write_all(&back).unwrap();
            assert_eq!(read_exact(&mut accepted, there.len()), there, "bytes of connection {n} were taken");
            assert_eq!(read_exact(&mut client, back.len()), back, "foreign bytes on connection {n}");
            drop(accepted);
            assert_eq!(read_to_end(&mut client), b"");
        }
        let received = read_to_end(&mut peer);
        assert!(own.starts_with(&received), "{received:?} on the stream of {own:?}");
    });
    checked.await.unwrap();
}

/// An op of the stream: a send or a receive.
fn start(kind: &u64, stream: &Arc<TcpStream>, own: Vec<u8>) -> Pending {
    let stream = Arc::clone(stream);
    match kind {
        0 => Box::pin(async move { drop(stream.send_all(own).await) }),
        1 => Box::pin(async move { drop(stream.send_vectored(vec![own]).await) }),
        2 => Box::pin(async move { drop(stream.recv(Vec::with_capacity(64)).await) }),
        _ => Box::pin(async move { drop(stream.recv_pooled().await) }),
    }
}

/// Both ends of fresh connections as plain sockets.
type Fresh = Vec<(std::net::TcpStream, std::net::TcpStream)>;

fn accept_by_std() -> Fresh {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pair = |_| {
        let client = connect(address);
        (listener.accept().unwrap().0, client)
    };
    (0..FRESH).map(pair).collect()
}

async fn accept_by_ringwork() -> Fresh {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut fresh = Vec::new();
    for _ in 0..FRESH {
        let client = connect(address);
        let (accepted, _) = listener.accept().await.unwrap();
        fresh.push((accepted.into_std().expect("nothing was received yet"), client));
    }
    fresh
}

fn connect(address: SocketAddr) -> std::net::TcpStream {
    std::net::TcpStream::connect(address).unwrap()
}

fn tag(what: &str, number: u64) -> Vec<u8> {
    format!("<{what} {number}>").into_bytes()
}

fn read_exact(socket: &mut std::net::TcpStream, len: usize) -> Vec<u8> {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = vec![0; len];
    socket.read_exact(&mut bytes).expect("its bytes come");
    bytes
}

fn read_to_end(socket: &mut std::net::TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        // The stream was closed with bytes unread.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("the connection does not end: {error}"),
    }
}
