//! File servers send whole files, and close those that nobody wants any more.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use socket2::SockRef;

use crate::kit::{LENGTH, Server, connect, connect_with_a_small_window, pattern};

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
