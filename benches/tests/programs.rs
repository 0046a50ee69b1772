//! The programs under measurement do the work they claim: an echo that loses bytes or a proxy that swallows
//! an end of stream would be fast and worthless.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

const ECHOES: &[&str] = &[
    "floor_echo",
    "epoll_echo",
    "tokio_echo",
    "tokio-multi_echo",
    "monoio_echo",
    "glommio_echo",
    "compio_echo",
    "compio-managed_echo-one-cpu",
    "smol_echo",
    #[cfg(feature = "ringwork")]
    "ringwork_echo",
    #[cfg(feature = "ringwork")]
    "ringwork-hashed_echo-all",
];
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
const SOURCES: &[&str] = &[
    "floor_source",
    "epoll_source",
    "tokio_source",
    "tokio-multi_source",
    "monoio_source",
    "glommio_source",
    "compio_source",
    "smol_source",
    #[cfg(feature = "ringwork")]
    "ringwork_source",
];
const STORES: &[&str] = &[
    "floor_kv",
    "epoll_kv",
    "tokio_kv",
    "tokio-multi_kv",
    "monoio_kv",
    #[cfg(feature = "ringwork")]
    "ringwork_kv",
    #[cfg(feature = "ringwork")]
    "ringwork-ported_kv",
];
/// Servers of a file that stays open, and those that open it for each request.
const FILES: &[&str] = &[
    "floor_files",
    "floor-parsing_files",
    "epoll_files",
    #[cfg(feature = "ringwork")]
    "ringwork-bare_files",
    "floor_files-nocache",
    "epoll_files-nocache",
    #[cfg(feature = "ringwork")]
    "ringwork-bare_files-nocache",
];
/// More than sockets and buffer pools hold together.
const LENGTH: usize = 24 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

struct Server(Child);

impl Server {
    fn start(program: &str, args: &[&str]) -> (Server, SocketAddr) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"))
            .args(["serve", program])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the harness starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("asked for");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().parse().expect("an address");
        (Server(child), address)
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0.id())).expect("it runs").count()
    }

    /// Fails unless it soon has no more than so many.
    fn has_at_most(&self, descriptors: usize, program: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.descriptors() > descriptors {
            assert!(Instant::now() < deadline, "{program}: {} descriptors", self.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    stream
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

fn ping(address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(address);
    let mut answer = [0; 5];
    stream.write_all(b"hello")?;
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

/// A connection on which little can be under way to its client.
fn connect_with_a_small_window(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    socket.set_recv_buffer_size(32 << 10).expect("a valid size");
    socket.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    socket.connect(&address.into()).expect("it listens");
    socket.into()
}

/// Writes everything and ends the stream; reads slowly, through a small window, until the end comes back,
/// so that the program has to hold back what it was sent.
fn there_and_back(address: SocketAddr) -> Vec<u8> {
    let mut reader = connect_with_a_small_window(address);
    let mut writer = reader.try_clone().expect("a descriptor");
    let sending = thread::spawn(move || {
        writer.write_all(&pattern(LENGTH))?;
        writer.shutdown(Shutdown::Write)
    });
    let (mut received, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        match reader.read(&mut piece) {
            // A process that is stopped and goes on: a socket with a time limit is not read again by itself.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => break,
            Ok(n) => received.extend_from_slice(&piece[..n]),
            Err(error) => panic!("the stream goes on: {error}"),
        }
    }
    sending.join().expect("no panic").expect("all was sent");
    received
}

#[test]
fn echo_returns_more_than_its_buffers_hold_and_passes_the_end_on() {
    for program in ECHOES {
        let (_server, address) = Server::start(program, &[]);
        assert!(there_and_back(address) == pattern(LENGTH), "{program} changed bytes");
        ping(address).unwrap_or_else(|e| panic!("{program}: {e}"));
    }
}

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
fn source_sends_the_same_to_fast_and_slow_readers_and_forgets_those_that_leave() {
    for program in SOURCES {
        let (server, address) = Server::start(program, &[]);
        let mut slow = connect(address);
        let mut first = vec![0; 1];
        slow.read_exact(&mut first).unwrap_or_else(|e| panic!("{program}: {e}"));
        let with_one = server.descriptors();
        let mut all = vec![0; LENGTH];
        for _ in 0..2 {
            // The other one has not read on: that must not hold this one up.
            connect(address).read_exact(&mut all).unwrap_or_else(|e| panic!("{program}: {e}"));
        }
        let of_place = |at: usize| (at % 251) as u8 ^ (at >> 8) as u8;
        let is_right = |(at, byte): (usize, &u8)| *byte == of_place(at % (64 << 10));
        assert!(all.iter().enumerate().all(is_right), "{program} changed bytes");
        first.resize(LENGTH, 0);
        slow.read_exact(&mut first[1..]).unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(first == all, "{program} sent others");
        server.has_at_most(with_one, program);
    }
}

/// Makes connections that are reset behind a message of another length each.
fn reset_many(address: SocketAddr) {
    let message = pattern(64 << 10);
    for round in 0..200 {
        let mut stream = connect(address);
        let _ = stream.write(&message[..1 + round * 300]);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a valid option");
    }
}

#[test]
fn echo_keeps_no_descriptor_of_a_connection_that_was_reset() {
    for program in ECHOES {
        let (server, address) = Server::start(program, &[]);
        ping(address).unwrap_or_else(|e| panic!("{program}: {e}"));
        let at_first = server.descriptors();
        reset_many(address);
        ping(address).unwrap_or_else(|e| panic!("{program}: {e}"));
        server.has_at_most(at_first, program);
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

#[test]
fn stores_answer_in_order_however_the_commands_are_cut() {
    let (long, mut say) = (pattern(300 << 10), Vec::new());
    say.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nset\r\n$1\r\na\r\n$4\r\n\r\n$9\r\n");
    say.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n${}\r\n", long.len()).as_bytes());
    say.extend_from_slice(&long);
    say.extend_from_slice(b"\r\n*1\r\n$4\r\nWHAT\r\n*2\r\n$3\r\nGET\r\n$4\r\nlong\r\n");
    say.extend_from_slice(b"*2\r\n$3\r\nget\r\n$1\r\na\r\n");
    let mut hear = b"$-1\r\n+OK\r\n+OK\r\n-ERR unknown command\r\n".to_vec();
    hear.extend_from_slice(format!("${}\r\n", long.len()).as_bytes());
    hear.extend_from_slice(&long);
    hear.extend_from_slice(b"\r\n$4\r\n\r\n$9\r\n");
    for program in STORES {
        let (server, address) = Server::start(program, &[]);
        let mut stream = connect(address);
        // The beginning and the end in pieces that end anywhere, each in a segment of its own.
        stream.set_nodelay(true).expect("a valid option");
        let (first, rest) = say.split_at(40);
        let (middle, last) = rest.split_at(rest.len() - 40);
        for piece in first.chunks(3).chain([middle]).chain(last.chunks(7)) {
            stream.write_all(piece).unwrap_or_else(|e| panic!("{program}: {e}"));
        }
        let mut heard = vec![0; hear.len()];
        stream.read_exact(&mut heard).unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(heard == hear, "{program}: {}", String::from_utf8_lossy(&heard[..60]));
        let with_one = server.descriptors();
        let mut wrong = connect(address);
        wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_or_else(|e| panic!("{program}: {e}"));
        // An end or a reset: either says that nothing more will come.
        assert!(!matches!(wrong.read(&mut heard), Ok(1..)), "{program}");
        drop((stream, wrong));
        server.has_at_most(with_one - 1, program);
    }
}

#[test]
fn stores_answer_a_client_that_asks_for_more_than_it_reads() {
    let value = pattern(300 << 10);
    let mut ask = format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n${}\r\n", value.len()).into_bytes();
    ask.extend_from_slice(&value);
    ask.extend_from_slice(b"\r\n");
    let (ask, get) = (ask, b"*2\r\n$3\r\nGET\r\n$4\r\nlong\r\n");
    let answer = [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
    for program in STORES {
        let (_server, address) = Server::start(program, &[]);
        let mut stream = connect_with_a_small_window(address);
        stream.write_all(&ask).unwrap_or_else(|e| panic!("{program}: {e}"));
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).unwrap_or_else(|e| panic!("{program}: {e}"));
        assert_eq!(&heard, b"+OK\r\n", "{program}");
        let times = LENGTH / value.len();
        stream.write_all(&get.repeat(times)).unwrap_or_else(|e| panic!("{program}: {e}"));
        for time in 0..times {
            let mut heard = vec![0; answer.len()];
            stream.read_exact(&mut heard).unwrap_or_else(|e| panic!("{program}, {time}: {e}"));
            assert!(heard == answer, "{program} changed bytes of {time}");
        }
    }
}

/// A folder with a short and a long file in it.
struct Folder(PathBuf);

impl Folder {
    const SHORT: (&str, usize) = ("short", 1 << 10);
    const LONG: (&str, usize) = ("long", LENGTH);

    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ringwork-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for temporary files");
        for (name, length) in [Folder::SHORT, Folder::LONG] {
            fs::write(path.join(name), pattern(length)).expect("the folder is ours");
        }
        Folder(path)
    }

    /// Starts a program that serves `name` from here, kept open or not as its role has it.
    fn serve(&self, program: &str, name: &str) -> (Server, SocketAddr) {
        let cache = u8::from(!program.ends_with("nocache"));
        let root = format!("root={}", self.0.display());
        Server::start(program, &[&root, &format!("name={name}"), &format!("cache={cache}")])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn request(name: &str) -> Vec<u8> {
    format!("GET /{name} HTTP/1.1\r\nhost: here\r\n\r\n").into_bytes()
}

/// Fails unless an answer follows whose body is the file of that length.
fn expect_file(stream: &mut TcpStream, length: usize, program: &str) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap_or_else(|e| panic!("{program}: {e}"));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let says = |field: &str| head.lines().any(|line| line == field);
    assert!(says("HTTP/1.1 200 OK") && says(&format!("content-length: {length}")), "{program}: {head}");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(body == pattern(length), "{program} changed bytes");
}

#[test]
fn files_are_sent_whole_to_a_reader_with_a_small_window_and_again() {
    let folder = Folder::new("whole");
    for program in FILES {
        for (name, length) in [Folder::SHORT, Folder::LONG] {
            let (_server, address) = folder.serve(program, name);
            let mut stream = connect_with_a_small_window(address);
            for _ in 0..3 {
                stream.write_all(&request(name)).unwrap_or_else(|e| panic!("{program}: {e}"));
                expect_file(&mut stream, length, program);
            }
        }
    }
}

#[test]
fn files_are_closed_with_the_connection_that_gives_them_up() {
    let folder = Folder::new("given-up");
    for program in FILES {
        let (name, length) = Folder::LONG;
        let (server, address) = folder.serve(program, name);
        let ask = || {
            let mut stream = connect_with_a_small_window(address);
            stream.write_all(&request(name)).unwrap_or_else(|e| panic!("{program}: {e}"));
            stream
        };
        let mut first = ask();
        expect_file(&mut first, length, program);
        let at_first = server.descriptors();
        for _ in 0..50 {
            // The answer has begun, and most of it has no room.
            let mut stream = ask();
            stream.read_exact(&mut [0; 100]).unwrap_or_else(|e| panic!("{program}: {e}"));
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a valid option");
        }
        server.has_at_most(at_first, program);
        first.write_all(&request(name)).unwrap_or_else(|e| panic!("{program}: {e}"));
        expect_file(&mut first, length, program);
    }
}

#[test]
fn the_epoll_loop_of_files_takes_requests_in_pieces_and_ends_for_an_error_its_connection_alone() {
    let folder = Folder::new("pieces");
    for program in ["epoll_files", "epoll_files-nocache"] {
        let (name, length) = Folder::SHORT;
        let (_server, address) = folder.serve(program, name);
        let mut stream = connect(address);
        // Each in a segment of its own.
        stream.set_nodelay(true).expect("a valid option");
        for cut in [1, 7, 30, request(name).len() - 1] {
            let whole = request(name);
            for piece in [&whole[..cut], &whole[cut..]] {
                stream.write_all(piece).unwrap_or_else(|e| panic!("{program}: {e}"));
            }
            expect_file(&mut stream, length, program);
        }
        // Without an end, and for what is not there if that is looked for.
        let endless = pattern(64 << 10);
        let missing = request("missing");
        for wrong in [&endless, &missing] {
            if program == "epoll_files" && wrong == &missing {
                continue;
            }
            let mut other = connect(address);
            // It may be refused before all of it has gone.
            let _ = other.write_all(wrong);
            assert!(!matches!(other.read(&mut [0; 100]), Ok(1..)), "{program}");
        }
        stream.write_all(&request(name)).unwrap_or_else(|e| panic!("{program}: {e}"));
        expect_file(&mut stream, length, program);
    }
}
