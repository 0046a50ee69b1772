//! The program `grpc`, as server and as client, and each against another implementation.
#![forbid(unsafe_code)]

mod foreign;

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A program that is killed with the test.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// A server with these arguments, and where it listens.
    fn serve(args: &[&str]) -> (Self, SocketAddr) {
        let mut server =
            Self::start(grpc().args(["serve", "--listen", "127.0.0.1:0", "--cores", "2"]).args(args));
        let address = server.address();
        (server, address)
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("there is another line").unwrap()
    }

    fn address(&mut self) -> SocketAddr {
        self.line().strip_prefix("listening on ").expect("it says where").parse().unwrap()
    }

    fn terminate(&self) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn grpc() -> Command {
    Command::new(env!("CARGO_BIN_EXE_grpc"))
}

/// A call with these words of a command line.
fn call(server: SocketAddr, words: &str) -> Command {
    let mut command = grpc();
    command.arg("call").args(words.split(' ')).args(["--server", &format!("http://{server}")]);
    command
}

/// What a call that succeeds prints.
fn answers(server: SocketAddr, words: &str) -> String {
    let output = call(server, words).output().unwrap();
    assert!(output.status.success(), "{words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a call that fails says on its one line.
fn failure(server: SocketAddr, words: &str) -> String {
    one_line(&call(server, words).output().unwrap(), 1)
}

fn one_line(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
fn each_kind_of_call_prints_its_answers() {
    let (_server, address) = Program::serve(&[]);
    assert_eq!(answers(address, "square 12"), "144\n");
    assert_eq!(answers(address, "count 3"), "1\n2\n3\n");
    assert_eq!(answers(address, "sum 1 2 3"), "3 numbers: 6\n");
    assert_eq!(answers(address, "totals 1 2 3"), "1 numbers: 1\n2 numbers: 3\n3 numbers: 6\n");
    assert_eq!(answers(address, "count 0 --take 2"), "1\n2\n");
}

#[test]
fn a_call_that_fails_says_why_on_one_line() {
    let (server, address) = Program::serve(&[]);
    assert_eq!(
        failure(address, "square 4294967296"),
        "grpc: OutOfRange: the square of 4294967296 does not fit into 64 bits\n"
    );
    let late = failure(address, "count 0 --pause 10 --deadline 100");
    assert_eq!(late, "grpc: DeadlineExceeded: the call took longer than its deadline\n");
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let alone = failure(address, "square 2");
    assert!(alone.starts_with("grpc: Unavailable: "), "{alone}");
}

#[test]
fn a_servers_limit_ends_calls() {
    let (_server, address) = Program::serve(&["--limit", "100"]);
    assert_eq!(answers(address, "count 3"), "1\n2\n3\n");
    let late = failure(address, "count 0 --pause 10");
    assert_eq!(late, "grpc: DeadlineExceeded: the call took longer than its deadline\n");
}

#[test]
fn a_server_that_is_told_to_stop_finishes_its_streams() {
    let (server, address) = Program::serve(&[]);
    let mut client = Program::start(&mut call(address, "count 50 --pause 20"));
    assert_eq!(client.line(), "1");
    server.terminate();
    for value in 2..=50 {
        assert_eq!(client.line(), value.to_string());
    }
    assert_eq!(client.ended(), Some(0));
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn a_server_whose_clients_were_killed_has_nothing_left_to_wait_for() {
    let (server, address) = Program::serve(&[]);
    for _ in 0..10 {
        let mut client = Program::start(&mut call(address, "count 0 --pause 1"));
        assert_eq!(client.line(), "1");
    }
    assert_eq!(answers(address, "square 3"), "9\n");
    server.terminate();
    let told = Instant::now();
    assert_eq!(server.ended(), Some(0));
    // The grace for streams that go on is 4 s.
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
}

#[test]
fn wrong_arguments_are_one_line_and_exit_2() {
    for words in [
        "",
        "what",
        "serve --tls-cert only",
        "serve --listen nowhere",
        "call",
        "call cube 3",
        "call square",
        "call square x",
        "call count 1 2",
    ] {
        let ended = grpc().args(words.split_whitespace()).output().unwrap();
        one_line(&ended, 2);
    }
}
