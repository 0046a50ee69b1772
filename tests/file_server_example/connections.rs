//! More than one request on a connection: kept alive, pipelined, in odd pieces, half closed; and clients that
//! stop reading.

use crate::data::{self, Random};
use crate::http::{Client, get, last_answer, request};
use crate::site::Site;
use std::io::Write;
use std::thread;

/// Files on both sides of the size from which on a body is no longer read behind its head.
const FILES: [(&str, usize); 4] = [("/empty", 0), ("/few", 12), ("/small", 16_384), ("/large", 16_385)];

fn site() -> Site {
    let site = Site::new();
    for (name, size) in FILES {
        site.write(&name[1..], data::file(size));
    }
    site.folder("folder");
    site
}

#[test]
fn a_connection_outlives_answers_of_every_kind() {
    let site = site();
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    let mut random = Random::new(3);
    let kinds = [("/few", 200), ("/missing", 404), ("/large", 200), ("/folder", 301), ("/folder/", 200)];
    for _ in 0..50 {
        let (target, status) = random.choice(&kinds);
        // A body has no use here. It is skipped, also where it looks like a request.
        let body = random.choice(&["", "x", "GET / HTTP/1.1\r\n\r\n"]);
        let answer = client.ask("GET", target, &format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!((answer.status, answer.field("Connection")), (status, None), "{target}");
    }
}

#[test]
fn pipelined_requests_in_odd_pieces_are_answered_in_order() {
    const REQUESTS: usize = 200;
    let site = site();
    let server = site.serve(&[]);
    let mut random = Random::new(4);
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..REQUESTS {
        let (target, size) = random.choice(&FILES);
        let padding = "p".repeat(random.below(400));
        bytes.extend(request("GET", target, &format!("X-Padding: {padding}\r\n")).bytes());
        expected.push(size);
    }
    let mut client = Client::connect(&server);
    let mut sender = client.sender();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = random.choice(&[1, 7, 100, 1000, 20_000]).min(rest.len());
                let (piece, behind) = rest.split_at(len);
                sender.write_all(piece).expect("the server takes it");
                rest = behind;
            }
        });
        for size in expected {
            let answer = client.answer();
            assert_eq!((answer.status, answer.body.len()), (200, size));
            data::check(&answer.body, 0);
        }
    });
}

#[test]
fn a_client_that_has_said_all_gets_every_answer() {
    const SIZE: usize = 8 << 20;
    let site = site();
    site.write("huge", data::file(SIZE));
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    let targets = ["/few", "/huge", "/missing", "/huge", "/small"];
    client.send(targets.map(|target| request("GET", target, "")).concat());
    client.end_sending();
    for (target, status) in targets.into_iter().zip([200, 200, 404, 200, 200]) {
        let answer = client.answer();
        assert_eq!(answer.status, status, "{target}");
        if status == 200 {
            data::check(&answer.body, 0);
        }
    }
    client.assert_ended();
}

#[test]
fn half_a_request_at_the_end_is_no_request() {
    let site = site();
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    client.send(request("GET", "/few", ""));
    client.send("GET /few HTTP/1.1\r\nHo");
    client.end_sending();
    assert_eq!(client.answer().status, 200);
    client.assert_ended();
}

#[test]
fn nothing_is_answered_behind_the_request_that_asked_to_close() {
    let site = site();
    let server = site.serve(&[]);
    let answer = last_answer(
        &server,
        [request("GET", "/few", "Connection: close\r\n"), request("GET", "/small", "")].concat(),
    );
    assert_eq!((answer.status, answer.body.len()), (200, 12));
}

#[test]
fn a_client_of_http_1_0_is_closed_unless_it_asks() {
    let site = site();
    let server = site.serve(&[]);
    let answer = last_answer(&server, "GET /few HTTP/1.0\r\n\r\n");
    assert_eq!((answer.status, answer.body.len()), (200, 12));
    let mut client = Client::connect(&server);
    for _ in 0..3 {
        client.send("GET /large HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.status, answer.the("Connection")), (200, "keep-alive"));
        data::check(&answer.body, 0);
    }
    client.send("GET /few HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().the("Connection"), "close");
    client.assert_ended();
}

#[test]
fn readers_that_have_stopped_hold_up_nobody() {
    let site = site();
    site.write("huge", data::file(16 << 20));
    let server = site.serve(&["--cores", "1"]);
    let stopped = Vec::from_iter((0..50).map(|_| {
        let mut client = Client::connect_narrow(&server);
        client.send(request("GET", "/huge", ""));
        assert_eq!(client.head().status, 200);
        client
    }));
    for _ in 0..100 {
        assert_eq!(get(&server, "/large").body.len(), 16_385);
    }
    // They were only slow.
    for mut client in stopped.into_iter().take(3) {
        client.check_body(16 << 20, 0);
    }
}
