//! The orderly end: what a signal does to those who are connected.

use crate::data;
use crate::http::{Client, request};
use crate::programs::{self, Server};
use crate::site::Site;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// The server promises to be gone 5 s after the signal. A busy machine needs a little more to notice.
const GONE_AFTER: Duration = Duration::from_secs(5 + 2);
/// More than lies between a server and a client that does not read.
const LARGE: usize = 32 << 20;

fn site() -> Site {
    let site = Site::new();
    site.write("file", "inside");
    site.write("large", data::file(LARGE));
    site
}

/// Clients that are connected and ask for nothing.
fn idle(server: &Server, count: usize) -> Vec<Client> {
    let mut clients = Vec::from_iter((0..count).map(|_| Client::connect(server)));
    for client in &mut clients {
        // Its core knows it.
        assert_eq!(client.get("/file").status, 200);
    }
    clients
}

/// A client that has begun to receive a large file.
fn in_flight(server: &Server) -> Client {
    let (client, len) = begun(server, "/large");
    assert_eq!(len, LARGE);
    client
}

/// A client that has begun to receive this, and how long it is.
fn begun(server: &Server, target: &str) -> (Client, usize) {
    let mut client = Client::connect_narrow(server);
    client.send(request("GET", target, ""));
    let head = client.head();
    assert_eq!(head.status, 200);
    (client, head.len())
}

/// It ends with 0 and in time. Gives what it says beside that it is stopping.
#[track_caller]
fn ends_in_time(server: Server, signalled: Instant) -> String {
    let (code, said) = server.end();
    let took = signalled.elapsed();
    assert_eq!(code, Some(0), "{said}");
    assert!(took < GONE_AFTER, "it took {took:?}");
    let stopping = programs::stopping("file_server");
    said.strip_prefix(&stopping).expect("it says so first").to_owned()
}

#[test]
fn a_signal_closes_who_is_idle() {
    let site = site();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let server = site.serve(&[]);
        let mut clients = idle(&server, 20);
        let signalled = Instant::now();
        server.signal(signal);
        clients.iter_mut().for_each(Client::assert_ended);
        assert_eq!(ends_in_time(server, signalled), "");
    }
}

#[test]
fn a_signal_lets_what_was_begun_be_finished() {
    let site = site();
    // One core: who sees the idle client go knows that all others were told too.
    let server = site.serve(&["--cores", "1"]);
    let mut idle = idle(&server, 2);
    let mut half_asked = idle.pop().expect("there are two");
    half_asked.send("GET /file HTTP/1.1\r\n");
    let mut receiving = in_flight(&server);
    let signalled = Instant::now();
    server.signal(libc::SIGTERM);
    idle[0].assert_ended();

    half_asked.send("Host: test\r\n\r\n");
    let answer = half_asked.answer();
    assert_eq!((answer.status, answer.text()), (200, "inside"));
    assert_eq!(answer.the("Connection"), "close");
    half_asked.assert_ended();
    receiving.check_body(LARGE, 0);
    receiving.assert_ended();
    assert_eq!(ends_in_time(server, signalled), "");
}

#[test]
fn a_signal_lets_a_listing_that_was_begun_be_read_to_its_end() {
    let site = site();
    site.folder_with_a_long_listing("listed");
    let server = site.serve(&["--cores", "1"]);
    let mut idle = idle(&server, 1);
    let (mut receiving, len) = begun(&server, "/listed/");
    assert!(len > 8 << 20, "{len} bytes may lie between them");
    let signalled = Instant::now();
    server.signal(libc::SIGTERM);
    idle[0].assert_ended();
    // A reader that takes its time: more than the runtime has for its end.
    thread::sleep(Duration::from_secs(1));
    let (received, end) = receiving.rest();
    end.expect("the connection ends in order");
    assert_eq!(received, len);
    assert_eq!(ends_in_time(server, signalled), "");
}

#[test]
fn a_signal_closes_the_door() {
    let site = site();
    let server = site.serve(&[]);
    // It holds the server while the test looks.
    let mut receiving = in_flight(&server);
    server.signal(libc::SIGTERM);
    programs::wait_until("nobody listens", || {
        TcpStream::connect(server.address()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    receiving.check_body(LARGE, 0);
    receiving.assert_ended();
    assert_eq!(server.end(), (Some(0), programs::stopping("file_server")));
}

#[test]
fn a_signal_cuts_off_who_does_not_read() {
    let site = site();
    let server = site.serve(&[]);
    let mut stuck = in_flight(&server);
    let mut silent = Client::connect(&server);
    silent.send("GET /file HT");
    let signalled = Instant::now();
    server.signal(libc::SIGTERM);
    let said = ends_in_time(server, signalled);
    assert_eq!(said.lines().count(), 1, "{said}");
    let (received, _) = stuck.rest();
    assert!(received < LARGE, "it has not read, so it cannot have it all");
}
