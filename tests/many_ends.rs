//! Connections that end in every way there is: descriptors, tasks, ops and buffers return to where they were.

use ringwork::Serve;
use ringwork::net::{ListenOptions, TcpListener, TcpStream};
use ringwork::runtime::Handle;
use ringwork::time::timeout;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

mod support;
use support::{Levels, Random, alone, runtime, within};

const CONNECTIONS: usize = 20_000;
/// Threads and tasks that connect at the same time.
const CLIENTS: usize = 32;
const LIMIT: Duration = Duration::from_secs(120);
const REQUEST: usize = 100;
const ANSWER: usize = 20_000;

#[test]
fn twenty_thousand_connections_that_end_in_every_way_leave_nothing_behind() {
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let seed = random.fork();
            let serve = Serve::new("127.0.0.1:0".parse().unwrap()).options(ListenOptions::new().backlog(512));
            let server =
                serve.start(move |stream, peer| answer(stream, Random::of(seed.mixed(peer.port().into()))));
            let server = server.await.unwrap();
            let address = server.local_addr();
            let stuck = Stuck::new().await;
            // From here on there are the listeners, their loops, and the accepts in flight.
            let serving = Levels::of_idle_servers(&handle).await;
            let mut clients = Vec::new();
            for n in 0..CLIENTS {
                let seed = random.fork();
                let count = CONNECTIONS / CLIENTS;
                clients.push(if n % 2 == 0 {
                    handle.spawn_blocking(move || plain_clients(address, count, seed))
                } else {
                    let stuck = stuck.address;
                    handle.spawn(own_clients(handle.clone(), address, stuck, count, seed))
                });
            }
            let mut connected = 0;
            for client in clients {
                connected += client.await.expect("a client sees what it may see");
            }
            assert!(connected > CONNECTIONS / 2, "only {connected} were connected");
            serving.return_on(&handle).await;
            drop(stuck);
            assert!(server.stop(Duration::from_secs(20)).await, "no handler is left");
            start.return_on(&handle).await;
        });
        let report = runtime.shutdown_timeout(LIMIT);
        assert!(report.is_clean(), "{report}");
    });
}

/// A listener where every connect waits: its backlog is full and nobody accepts.
struct Stuck {
    address: SocketAddr,
    _listener: TcpListener,
    _first: TcpStream,
}

impl Stuck {
    async fn new() -> Self {
        let listener = ListenOptions::new().backlog(0).bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let first = TcpStream::connect(address).await.unwrap();
        Self { address, _listener: listener, _first: first }
    }
}

/// Reads requests and answers them, until the peer or its own mood ends it.
async fn answer(stream: TcpStream, mut random: Random) {
    let mood = random.below(10);
    let mut unanswered = 0;
    loop {
        let received = match mood {
            0 => match timeout(Duration::from_millis(2), stream.recv_pooled()).await {
                Ok(received) => received.map(|buf| buf.len()),
                // Gives up with the receive in flight.
                Err(_) => return,
            },
            1..5 => stream.recv(Vec::with_capacity(64)).await.0,
            _ => stream.recv_pooled().await.map(|buf| buf.len()),
        };
        match received {
            Ok(0) | Err(_) => return,
            Ok(n) => unanswered += n,
        }
        while unanswered >= REQUEST {
            unanswered -= REQUEST;
            match mood {
                // The server is the one who ends it, in order, in the middle of an answer, or with a reset.
                2 => return,
                3 => drop(stream.send_all(vec![b'a'; ANSWER / 2]).await),
                4 => stream.set_linger(Some(Duration::ZERO)).unwrap(),
                _ => {}
            }
            if mood == 3 || mood == 4 {
                return;
            }
            if stream.send_all(vec![b'a'; ANSWER]).await.0.is_err() {
                return;
            }
        }
    }
}

/// Plain blocking clients, one after the other. Returns how many were connected.
fn plain_clients(address: SocketAddr, count: usize, mut random: Random) -> usize {
    let mut connected = 0;
    for _ in 0..count {
        // A full backlog may reset what it can not take.
        let Ok(socket) = std::net::TcpStream::connect(address) else { continue };
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // The server may be gone at any point: errors are ends like others.
        let _ = one_plain(socket, random.below(8));
        connected += 1;
    }
    connected
}

fn one_plain(mut socket: std::net::TcpStream, ending: u64) -> std::io::Result<()> {
    let reset =
        |socket: &std::net::TcpStream| socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    match ending {
        // At once, in order or with a reset that may come before the accept.
        0 => {}
        1 => reset(&socket)?,
        // In the middle of a request.
        2 => socket.write_all(&[b'r'; REQUEST / 2])?,
        3 => {
            socket.write_all(&[b'r'; REQUEST / 2])?;
            reset(&socket)?;
        }
        // Half-closed behind a request and a half; the answer is read to the end.
        4 => {
            socket.write_all(&[b'r'; REQUEST + REQUEST / 2])?;
            socket.shutdown(Shutdown::Write)?;
            let n = std::io::copy(&mut socket, &mut std::io::sink())?;
            assert!(n <= ANSWER as u64, "{n} bytes for one request");
        }
        // With the answer unread, or read in part: the server's send meets a reset.
        5 => socket.write_all(&[b'r'; 4 * REQUEST])?,
        6 => {
            socket.write_all(&[b'r'; 2 * REQUEST])?;
            socket.read_exact(&mut [0; 1000])?;
            reset(&socket)?;
        }
        // As it should be.
        _ => {
            for _ in 0..2 {
                socket.write_all(&[b'r'; REQUEST])?;
                socket.read_exact(&mut [0; ANSWER])?;
            }
        }
    }
    Ok(())
}

/// The runtime's own streams as clients; some are dropped while they connect.
async fn own_clients(
    handle: Handle,
    address: SocketAddr,
    stuck: SocketAddr,
    count: usize,
    mut random: Random,
) -> usize {
    let mut connected = 0;
    for _ in 0..count {
        let ending = random.below(8);
        let mut connect = Box::pin(TcpStream::connect(if ending == 0 { stuck } else { address }));
        if ending <= 1 {
            let polled = futures_util::poll!(connect.as_mut()).is_pending();
            if polled && random.chance(2) {
                ringwork::task::yield_now().await;
            }
            // Here or on another core.
            let core = random.below(2) as usize;
            drop(handle.spawn_on(core, move || async move { drop(connect) }));
            continue;
        }
        let Ok(stream) = connect.await else { continue };
        let _ = one_own(stream, ending).await;
        connected += 1;
    }
    connected
}

async fn one_own(stream: TcpStream, ending: u64) -> std::io::Result<()> {
    match ending {
        2 => stream.set_linger(Some(Duration::ZERO))?,
        3 => {
            // The last handle goes with a send and a receive in flight.
            let mut send = std::pin::pin!(stream.send_all(vec![b'r'; REQUEST * 20]));
            let mut receive = std::pin::pin!(stream.recv_pooled());
            let _ = (futures_util::poll!(send.as_mut()), futures_util::poll!(receive.as_mut()));
        }
        4 => {
            stream.send_all(vec![b'r'; REQUEST]).await.0?;
            stream.shutdown_write().await?;
            while !stream.recv_pooled().await?.is_empty() {}
        }
        5 => {
            let (receive, send) = stream.into_split();
            send.send_all(vec![b'r'; REQUEST]).await.0?;
            drop(send);
            receive.recv_exact(vec![0; ANSWER].into_boxed_slice()).await.0?;
        }
        6 => {
            stream.send_all(vec![b'r'; REQUEST]).await.0?;
            let (fd, unread) = stream.release().await?;
            drop((fd, unread));
        }
        _ => {
            stream.send_all(vec![b'r'; REQUEST]).await.0?;
            stream.recv_exact(vec![0; ANSWER].into_boxed_slice()).await.0?;
        }
    }
    Ok(())
}
