//! Proxies pass bytes, ends and back pressure on, both ways, and forget who has gone.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::kit::{LENGTH, Server, connect, pattern, reset_many, there_and_back};

const PROXIES: &[&str] = &[
    "floor_proxy",
    "floor-splice_proxy-bulk",
    "epoll_proxy",
    "tokio_proxy",
    "tokio-multi_proxy",
    "monoio_proxy",
    "glommio_proxy",
    "compio_proxy",
    "smol_proxy",
    #[cfg(feature = "ringwork")]
    "ringwork_proxy",
    #[cfg(feature = "ringwork")]
    "ringwork-hashed_proxy-all",
];
/// Those that keep the state of a connection themselves.
const RAW_PROXIES: &[&str] = &["floor_proxy", "floor-splice_proxy-bulk", "epoll_proxy"];
/// Those of them that learn of a reset although they have nothing to read or write.
const EPOLL_PROXIES: &[&str] = &["floor-splice_proxy-bulk", "epoll_proxy"];

#[test]
fn proxy_passes_bytes_and_half_closes_on_both_ways() {
    for program in PROXIES {
        let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let upstream_address = upstream.local_addr().expect("bound").to_string();
        let (_server, address) = Server::start(program, &[&format!("upstream={upstream_address}")]);
        let serving = thread::spawn(move || {
            let (mut stream, _) = upstream.accept().expect("the proxy connects");
            let mut all = Vec::new();
            // Answers only after the client's end has arrived: a swallowed half-close would hang here.
            stream.read_to_end(&mut all).expect("the stream ends");
            stream.write_all(&all).expect("the proxy takes it");
        });
        assert!(there_and_back(address) == pattern(LENGTH), "{program} changed bytes");
        serving.join().expect("no panic");
    }
}

#[test]
fn proxy_closes_the_client_when_the_upstream_refuses() {
    for program in PROXIES {
        let closed = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
        let (_server, address) = Server::start(program, &[&format!("upstream={closed}")]);
        for _ in 0..20 {
            let mut rest = Vec::new();
            // Reset or end: either tells the client.
            let _ = connect(address).read_to_end(&mut rest);
            assert!(rest.is_empty(), "{program}");
        }
    }
}

/// An upstream that takes what comes, over any number of connections, each until its end.
fn bottomless() -> SocketAddr {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = upstream.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in upstream.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
        }
    });
    address
}

/// Writes `message` over and over until nothing more is taken; how much was.
fn fill(stream: &mut TcpStream, message: &[u8]) -> usize {
    // On a busy machine it is over too early at worst, with less than could have been sent.
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a valid time");
    let mut sent = 0;
    while sent < 4 * LENGTH {
        match stream.write(&message[sent % message.len()..]) {
            Ok(n) => sent += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => panic!("it is open: {e}"),
        }
    }
    sent
}

#[test]
fn proxy_reads_no_more_than_the_other_side_takes() {
    for program in PROXIES {
        let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let upstream_address = upstream.local_addr().expect("bound").to_string();
        let (_server, address) = Server::start(program, &[&format!("upstream={upstream_address}")]);
        let mut client = connect(address);
        let (mut idle, _) = upstream.accept().expect("the proxy connects");
        let message = pattern(1 << 20);
        let sent = fill(&mut client, &message);
        assert!(sent < 2 * LENGTH, "{program} took {sent} bytes that nobody reads");
        client.shutdown(Shutdown::Write).expect("it is open");
        let mut all = Vec::new();
        idle.read_to_end(&mut all).unwrap_or_else(|e| panic!("{program}: {e}"));
        let is_right = |(at, byte): (usize, &u8)| *byte == message[at % message.len()];
        assert!(all.len() == sent && all.iter().enumerate().all(is_right), "{program} changed bytes");
    }
}

#[test]
fn proxy_forgets_a_client_that_is_reset_while_the_upstream_takes_nothing() {
    for program in EPOLL_PROXIES {
        let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let upstream_address = upstream.local_addr().expect("bound").to_string();
        let (server, address) = Server::start(program, &[&format!("upstream={upstream_address}")]);
        let pair = || (connect(address), upstream.accept().expect("the proxy connects").0);
        let (mut first, mut end_of_first) = pair();
        first.write_all(b"!").expect("it is open");
        end_of_first.read_exact(&mut [0]).unwrap_or_else(|e| panic!("{program}: {e}"));
        let with_one = server.descriptors();
        let (mut client, _idle) = pair();
        fill(&mut client, &pattern(1 << 20));
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a valid option");
        drop(client);
        server.has_at_most(with_one, program);
    }
}

#[test]
fn proxy_keeps_no_descriptor_of_a_connection_that_was_reset() {
    for program in RAW_PROXIES {
        let (server, address) = Server::start(program, &[&format!("upstream={}", bottomless())]);
        let at_first = {
            let mut stream = connect(address);
            stream.shutdown(Shutdown::Write).expect("it is open");
            stream.read_to_end(&mut Vec::new()).unwrap_or_else(|e| panic!("{program}: {e}"));
            server.descriptors()
        };
        reset_many(address);
        server.has_at_most(at_first, program);
    }
}
