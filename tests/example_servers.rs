//! What the example servers have in common: a second signal ends them at once, and a server without
//! descriptors says so.

#[allow(dead_code, reason = "shared with other tests, each uses a part")]
mod programs;

use programs::{Server, wait_until};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

/// Descriptors of a server that has few.
const FEW: u32 = 80;
/// More than these are good for.
const CLIENTS: usize = 120;

/// A server, with what it passes its clients on to, if it does.
fn command(name: &str, upstream: &TcpListener) -> Command {
    with_arguments(programs::command(name), name, upstream)
}

/// The same with a limit of descriptors.
fn limited(name: &str, upstream: &TcpListener, descriptors: u32) -> Command {
    with_arguments(programs::with_descriptors(descriptors, name), name, upstream)
}

fn with_arguments(mut command: Command, name: &str, upstream: &TcpListener) -> Command {
    command.args(["--listen", "127.0.0.1:0", "--cores", "1"]);
    if name == "tcp_proxy" {
        command.arg("--upstream").arg(upstream.local_addr().unwrap().to_string());
    }
    command
}

fn upstream() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Opens a connection that the server will wait for, and waits until it serves it.
fn busy_client(name: &str, server: &Server, upstream: &TcpListener) -> Vec<TcpStream> {
    let mut client = TcpStream::connect(server.address()).unwrap();
    match name {
        "echo" => {
            client.write_all(b"?").unwrap();
            client.read_exact(&mut [0]).unwrap();
            vec![client]
        }
        "tcp_proxy" => vec![client, upstream.accept().unwrap().0],
        _ => {
            // A request was begun and is waited for, behind one that was answered.
            client.write_all(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nGET").unwrap();
            client.read_exact(&mut [0]).unwrap();
            vec![client]
        }
    }
}

#[test]
fn a_second_signal_ends_a_server_at_once() {
    for name in ["echo", "tcp_proxy", "file_server"] {
        let upstream = upstream();
        let server = Server::start(command(name, &upstream));
        let clients = busy_client(name, &server, &upstream);
        let open = server.descriptors();
        server.signal(libc::SIGTERM);
        wait_until("the server listens no more", || server.descriptors() < open);
        server.signal(libc::SIGINT);
        let (code, said) = server.end();
        assert_eq!(code, Some(0), "{name}: {said}");
        let at_once = format!("{name}: stopping at once: whoever is still connected is cut off\n");
        assert_eq!(said, programs::stopping(name) + &at_once);
        drop(clients);
    }
}

/// Whether an echo server that is sent the same signal twice in a row still serves its client to the end.
fn ends_in_order_in_spite_of_an_echo() -> bool {
    let upstream = upstream();
    let mut server = Server::start(command("echo", &upstream));
    let mut client = busy_client("echo", &server, &upstream).remove(0);
    server.signal(libc::SIGTERM);
    assert_eq!(server.complaint(), programs::stopping("echo"));
    server.signal(libc::SIGTERM);
    // When answers come, the server has seen what came before the questions.
    let mut answers = || client.write_all(b"?").and_then(|()| client.read_exact(&mut [0])).is_ok();
    let served = answers() && answers();
    drop(client);
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    served && said.is_empty()
}

#[test]
fn the_same_signal_twice_in_a_row_is_one_request_to_end() {
    // A machine that holds the server up for long in between makes two of it: then once more.
    assert!((0..5).any(|_| ends_in_order_in_spite_of_an_echo()));
}

#[test]
fn a_server_without_descriptors_says_why_nobody_is_served_and_what_to_do() {
    for name in ["echo", "tcp_proxy", "file_server"] {
        let upstream = upstream();
        let began = Instant::now();
        let mut server = Server::start(limited(name, &upstream, FEW));
        let clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
        let line = server.complaint();
        assert!(line.starts_with(&format!("{name}: ")) && line.contains("`ulimit -n`"), "{line:?}");
        // The others have counted beforehand what they can take.
        if name == "echo" {
            assert!(line.contains("Too many open files"), "{line:?}");
        }
        drop(clients);
        drop(upstream);
        server.signal(libc::SIGTERM);
        let (code, said) = server.end();
        assert_eq!(code, Some(0), "{name}: {said}");
        // Once in ten seconds, and not for each try.
        let again = said.lines().filter(|line| line.contains("ulimit")).count() as u64;
        assert!(again <= began.elapsed().as_secs() / 10, "{name}: {said}");
    }
}

/// The line that a server ends with instead of listening.
#[track_caller]
fn refusal(name: &str, command: Command) -> String {
    let output = programs::outcome(command);
    let line = String::from_utf8(output.stderr).expect("it is text");
    assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(output.stdout.is_empty() && line.starts_with(&format!("{name}: ")), "{line}");
    line
}

#[test]
fn a_server_that_has_descriptors_for_no_client_does_not_start_and_says_what_to_do() {
    for name in ["tcp_proxy", "file_server"] {
        let stderr = refusal(name, limited(name, &upstream(), 24));
        let words = ["too few descriptors", "limit of open files is 24", "`ulimit -n`"];
        assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
    }
}

#[test]
fn a_server_starts_or_says_what_to_do_however_few_descriptors_it_may_have() {
    for name in ["echo", "tcp_proxy", "file_server"] {
        let upstream = upstream();
        // Below that not even libraries can be loaded.
        for descriptors in 5.. {
            match Server::try_start(limited(name, &upstream, descriptors)) {
                Ok(server) => {
                    server.kill();
                    break;
                }
                Err(why) => {
                    let is_told = why.starts_with(&format!("{name}: ")) && why.contains("`ulimit -n`");
                    assert!(is_told && why.lines().count() == 1, "{descriptors}: {why}");
                }
            }
        }
    }
}

#[test]
fn a_server_that_cannot_say_where_it_listens_serves_all_the_same() {
    for name in ["echo", "tcp_proxy", "file_server"] {
        let upstream = upstream();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = command(name, &upstream);
        command.args(["--listen", &address.to_string()]);
        let server = Server::start_unheard(command, address);
        server.signal(libc::SIGTERM);
        drop(upstream);
        let (code, said) = server.end();
        assert_eq!(code, Some(0), "{name}: {said}");
        let (_, behind) = said.split_once(&programs::stopping(name)).expect("it says that it stops");
        // The proxy may say behind it that its upstream went while a client was there, and nothing else.
        let is_of_upstream = |line: &str| line.starts_with("tcp_proxy: client ") && line.contains("upstream");
        assert!(behind.lines().all(is_of_upstream), "{name}: {said}");
    }
}

#[test]
fn a_server_whose_port_is_taken_says_so_and_how_to_take_another_one() {
    for name in ["echo", "tcp_proxy", "file_server"] {
        let taken = upstream();
        let address = taken.local_addr().unwrap().to_string();
        let mut command = command(name, &taken);
        command.args(["--listen", &address]);
        let line = refusal(name, command);
        let words = [&address, "another program listens there", "--listen", "port 0"];
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
}
