//! A program as a process, and clients that are slow, that leave, or that look at every byte.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

/// More than sockets and buffer pools hold together.
pub(crate) const LENGTH: usize = 24 << 20;
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn start(program: &str, args: &[&str]) -> (Server, SocketAddr) {
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

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0.id())).expect("it runs").count()
    }

    /// Fails unless it soon has no more than so many.
    pub(crate) fn has_at_most(&self, descriptors: usize, program: &str) {
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

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    stream
}

pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// A connection on which little can be under way to its client.
pub(crate) fn connect_with_a_small_window(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    socket.set_recv_buffer_size(32 << 10).expect("a valid size");
    socket.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    socket.connect(&address.into()).expect("it listens");
    socket.into()
}

/// Writes everything and ends the stream; reads slowly, through a small window, until the end comes back,
/// so that the program has to hold back what it was sent.
pub(crate) fn there_and_back(address: SocketAddr) -> Vec<u8> {
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

/// Makes connections that are reset behind a message of another length each.
pub(crate) fn reset_many(address: SocketAddr) {
    let message = pattern(64 << 10);
    for round in 0..200 {
        let mut stream = connect(address);
        let _ = stream.write(&message[..1 + round * 300]);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a valid option");
    }
}
