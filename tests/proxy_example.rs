//! The `tcp_proxy` example as its users meet it: real sockets, a real process, real signals.
//!
//! Clients and upstreams here are std threads: nothing of ringwork judges ringwork.

#[allow(dead_code, reason = "shared with other tests, each uses a part")]
mod programs;

use programs::{PATIENCE, Server};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The bytes that travel: no period in common with any buffer, so that a piece that is lost, doubled or out
/// of place does not look right.
fn pattern(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..1_000_003).map(next).collect()
}

/// Sends `total` bytes of the pattern and closes this half.
fn send_pattern(mut to: &TcpStream, seed: u64, total: usize) {
    let bytes = pattern(seed);
    let mut left = total;
    while left > 0 {
        let piece = left.min(bytes.len());
        to.write_all(&bytes[..piece]).expect("the receiver takes all");
        left -= piece;
    }
    to.shutdown(Shutdown::Write).expect("the connection is whole");
}

/// Receives until the end; panics at the first byte that is not the pattern's. Returns how many there were.
fn check_pattern(mut from: &TcpStream, seed: u64) -> usize {
    let bytes = pattern(seed);
    let mut received = 0;
    let mut buf = vec![0; 256 * 1024];
    loop {
        let n = from.read(&mut buf).expect("the sender ends in order");
        if n == 0 {
            return received;
        }
        let mut chunk = &buf[..n];
        while !chunk.is_empty() {
            let at = received % bytes.len();
            let len = chunk.len().min(bytes.len() - at);
            assert!(chunk[..len] == bytes[at..at + len], "wrong bytes after {received}");
            received += len;
            chunk = &chunk[len..];
        }
    }
}

/// Sends one pattern and receives another at the same time.
fn exchange(stream: &TcpStream, sent: u64, received: u64, total: usize) {
    thread::scope(|scope| {
        scope.spawn(|| send_pattern(stream, sent, total));
        assert_eq!(check_pattern(stream, received), total);
    });
}

fn proxy(upstream: SocketAddr) -> Server {
    proxy_with(upstream, &[])
}

fn proxy_with(upstream: SocketAddr, options: &[&str]) -> Server {
    let mut command = programs::command("tcp_proxy");
    command.args(["--listen", "127.0.0.1:0", "--upstream", &upstream.to_string()]).args(options);
    Server::start(command)
}

fn connect(to: &Server) -> TcpStream {
    let stream = TcpStream::connect(to.address()).expect("the proxy accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    stream
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("the proxy connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    stream
}

/// Reads until the connection ends, in whatever way.
fn read_to_any_end(mut stream: &TcpStream) -> io::Result<u64> {
    let mut total = 0;
    let mut buf = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return Ok(total),
            Ok(n) => total += n as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the connection did not end"),
            Err(error) => return Err(error),
        }
    }
}

/// Waits until `level` is what it was; what the kernel and the proxy take back, they take back soon, not at
/// once.
#[track_caller]
fn comes_back_to(before: usize, mut level: impl FnMut() -> usize) {
    let until = Instant::now() + PATIENCE;
    while level() != before {
        assert!(Instant::now() < until, "{} instead of {before}", level());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the proxy has no more descriptors than before, but for the pipes that its cores keep for bulk
/// to come: two each.
fn all_but_kept_pipes_come_back(before: (usize, usize), proxy: &Server) {
    comes_back_to(before.1, || proxy.pipes_and_others().1);
    let kept = 4 * thread::available_parallelism().expect("there is a CPU").get();
    comes_back_to(0, || proxy.pipes_and_others().0.saturating_sub(before.0 + kept));
}

#[test]
fn both_directions_at_once_arrive_whole() {
    const TOTAL: usize = 32 << 20;
    let (listener, address) = listen();
    let proxy = proxy(address);
    thread::scope(|scope| {
        scope.spawn(|| exchange(&accept(&listener), 2, 1, TOTAL));
        exchange(&connect(&proxy), 1, 2, TOTAL);
    });
}

#[test]
fn fifty_connections_do_not_mix() {
    const CONNECTIONS: u64 = 50;
    const TOTAL: usize = (32 << 20) / CONNECTIONS as usize;
    let (listener, address) = listen();
    let proxy = proxy(address);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CONNECTIONS {
                let mut stream = accept(&listener);
                scope.spawn(move || {
                    let mut seed = [0; 8];
                    stream.read_exact(&mut seed).expect("the client names its pattern");
                    let seed = u64::from_le_bytes(seed);
                    exchange(&stream, seed + 1000, seed, TOTAL);
                });
            }
        });
        for seed in 1..=CONNECTIONS {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut stream = connect(proxy);
                stream.write_all(&seed.to_le_bytes()).expect("the proxy takes it");
                exchange(&stream, seed, seed + 1000, TOTAL);
            });
        }
    });
}

#[test]
fn a_half_that_ends_leaves_the_other_open() {
    let (listener, address) = listen();
    let proxy = proxy(address);
    // The client ends first, as with a request; the answer comes afterwards.
    let client = connect(&proxy);
    let upstream = accept(&listener);
    send_pattern(&client, 1, 10_000);
    assert_eq!(check_pattern(&upstream, 1), 10_000);
    send_pattern(&upstream, 2, 3_000_000);
    assert_eq!(check_pattern(&client, 2), 3_000_000);
    // The upstream ends first.
    let client = connect(&proxy);
    let upstream = accept(&listener);
    send_pattern(&upstream, 3, 10_000);
    assert_eq!(check_pattern(&client, 3), 10_000);
    send_pattern(&client, 4, 3_000_000);
    assert_eq!(check_pattern(&upstream, 4), 3_000_000);
}

#[test]
fn a_refused_upstream_resets_the_client_and_the_next_one_is_served() {
    // Bound and not listening: the port is ours and refuses.
    let upstream = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    upstream.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).expect("a port is free");
    let address = upstream.local_addr().expect("it has an address").as_socket().expect("of the internet");
    let mut proxy = proxy(address);
    let before = proxy.descriptors();

    let error = read_to_any_end(&connect(&proxy)).expect_err("nothing was said, so nothing has ended");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let line = proxy.complaint();
    assert!(line.contains(&address.to_string()) && line.contains("refused"), "{line}");
    comes_back_to(before, || proxy.descriptors());

    upstream.listen(16).expect("it can listen now");
    let listener = TcpListener::from(upstream);
    let client = connect(&proxy);
    send_pattern(&accept(&listener), 1, 1000);
    assert_eq!(check_pattern(&client, 1), 1000);
}

#[test]
fn a_client_that_breaks_off_resets_its_upstream() {
    let (listener, address) = listen();
    let proxy = proxy(address);
    let before = proxy.descriptors();
    let mut client = connect(&proxy);
    let upstream = accept(&listener);
    client.write_all(b"half of a mess").expect("the proxy takes it");
    let mut first = [0];
    (&upstream).read_exact(&mut first).expect("bytes arrive");
    Socket::from(client).set_linger(Some(Duration::ZERO)).expect("the next close resets");
    // The socket was closed at the end of the line above.
    let error = read_to_any_end(&upstream).expect_err("the stream was torn");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    comes_back_to(before, || proxy.descriptors());
}

#[test]
fn an_upstream_killed_in_mid_stream_ends_every_client_and_leaks_nothing() {
    const CLIENTS: usize = 40;
    let mut echo = programs::command("echo");
    echo.args(["--listen", "127.0.0.1:0"]);
    let echo = Server::start(echo);
    let mut proxy = proxy(echo.address());
    let before = proxy.pipes_and_others();
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(&proxy)).collect();
    thread::scope(|scope| {
        let (flowing, flows) = std::sync::mpsc::channel();
        for mut client in &clients {
            // Sends for as long as it can. An error is the end that the test is about.
            scope.spawn(move || while client.write_all(&[7; 4096]).is_ok() {});
            let flowing = flowing.clone();
            scope.spawn(move || {
                let mut first = [0];
                client.read_exact(&mut first).expect("the echo answers");
                flowing.send(()).expect("the test waits");
                let _ = read_to_any_end(client);
                // Its writer is to end too: the proxy may have passed on a FIN and wait for ours.
                let _ = client.shutdown(Shutdown::Both);
            });
        }
        for _ in 0..CLIENTS {
            flows.recv_timeout(PATIENCE).expect("every client is in mid-stream");
        }
        echo.kill();
    });
    drop(clients);
    assert!(proxy.complaint().contains("upstream"), "a lost upstream is worth a line");
    all_but_kept_pipes_come_back(before, &proxy);
}

/// An upstream that sends for ever to clients that say `s`, and echoes to others. A thread per connection.
fn stream_or_echo(listener: TcpListener) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut buf) {
                while buf[0] == b's' && stream.write_all(&[b'.'; 65536]).is_ok() {}
                if stream.write_all(&buf[..n]).is_err() {
                    return;
                }
            }
        });
    }
}

#[test]
fn readers_that_have_stopped_hold_up_nobody() {
    let (listener, address) = listen();
    thread::spawn(move || stream_or_echo(listener));
    let proxy = proxy(address);
    let before = proxy.pipes_and_others();
    let stalled: Vec<TcpStream> = (0..100).map(|_| connect(&proxy)).collect();
    for mut client in &stalled {
        client.write_all(b"s").expect("the proxy takes it");
        // The flood has begun; from here on nobody reads it.
        client.read_exact(&mut [0]).expect("the upstream sends");
    }
    let mut client = connect(&proxy);
    client.set_nodelay(true).expect("an option");
    for round in 0..1000u32 {
        let sent = [b'e', round as u8, 1, 2, 3, 4, 5, 6];
        let mut received = [0; 8];
        client.write_all(&sent).expect("the proxy takes it");
        client.read_exact(&mut received).expect("the answer comes");
        assert_eq!(sent, received);
    }
    drop(client);
    drop(stalled);
    all_but_kept_pipes_come_back(before, &proxy);
}

#[test]
fn a_signal_lets_what_is_in_flight_finish_and_accepts_nobody_new() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (listener, address) = listen();
        // One core has one listener: when one descriptor less is open, nobody listens any more.
        let proxy = proxy_with(address, &["--cores", "1"]);
        let client = connect(&proxy);
        let upstream = accept(&listener);
        send_pattern(&client, 1, 1000);
        assert_eq!(check_pattern(&upstream, 1), 1000);
        let open = proxy.descriptors();
        proxy.signal(signal);
        // Connecting to see whether it still listens would make one more connection to wait for.
        comes_back_to(0, || usize::from(proxy.descriptors() >= open));
        let refused = TcpStream::connect(proxy.address()).expect_err("nobody new is accepted");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // The answer under way is finished.
        send_pattern(&upstream, 2, 1_000_000);
        assert_eq!(check_pattern(&client, 2), 1_000_000);
        let (code, said) = proxy.end();
        assert_eq!((code, said), (Some(0), programs::stopping("tcp_proxy")));
    }
}

#[test]
fn a_signal_resets_what_does_not_end_and_the_exit_code_is_0() {
    let (listener, address) = listen();
    let proxy = proxy(address);
    let client = connect(&proxy);
    let upstream = accept(&listener);
    proxy.signal(libc::SIGTERM);
    let (code, said) = proxy.end();
    assert_eq!(code, Some(0));
    let said = said.strip_prefix(&programs::stopping("tcp_proxy")).expect("it says so first");
    assert_eq!(said.lines().count(), 1, "{said}");
    for side in [client, upstream] {
        assert_eq!(read_to_any_end(&side).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    }
}

#[track_caller]
fn refuses(code: i32, args: &[&str]) {
    let mut command = programs::command("tcp_proxy");
    command.args(args);
    let output = programs::outcome(command);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert_eq!((stdout.as_ref(), stderr.lines().count()), ("", 1), "{args:?}: {stderr}");
}

#[test]
fn wrong_arguments_are_one_line_and_exit_2() {
    let up = ["--upstream", "127.0.0.1:9"];
    let listen = ["--listen", "127.0.0.1:0"];
    refuses(2, &[]);
    refuses(2, &listen);
    refuses(2, &up);
    refuses(2, &["--no-such-option"]);
    refuses(2, &[&up[..], &listen, &["extra"]].concat());
    refuses(2, &[&up[..], &["--listen", "nowhere"]].concat());
    refuses(2, &[&up[..], &listen, &["--cores", "0"]].concat());
    refuses(2, &[&up[..], &["--listen"]].concat());
}

#[test]
fn a_port_in_use_is_one_line_and_exit_1() {
    let (_taken, address) = listen();
    let address = address.to_string();
    refuses(1, &["--listen", &address, "--upstream", "127.0.0.1:9"]);
    // Also one that another proxy shares among its cores.
    let proxy = proxy(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
    let address = proxy.address().to_string();
    refuses(1, &["--listen", &address, "--upstream", "127.0.0.1:9"]);
}

#[test]
fn help_is_on_stdout_and_exit_0() {
    let mut command = programs::command("tcp_proxy");
    command.arg("--help");
    let output = programs::outcome(command);
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(output.stdout.starts_with(b"usage: tcp_proxy"));
}
