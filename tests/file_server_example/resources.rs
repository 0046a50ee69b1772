//! What many clients cost: memory stays bounded and descriptors come back, however a connection ends.

use crate::data;
use crate::http::{Client, get, request};
use crate::programs::{self, Server};
use crate::site::Site;
use std::thread;

#[test]
fn a_large_file_for_64_clients_at_once_costs_less_memory_than_one_copy() {
    const CLIENTS: usize = 64;
    const SIZE: usize = 64 << 20;
    let site = Site::new();
    site.write("large", data::file(SIZE));
    let server = site.serve(&[]);
    let clients = Vec::from_iter((0..CLIENTS).map(|_| {
        let mut client = Client::connect(&server);
        client.send(request("GET", "/large", "Connection: close\r\n"));
        assert_eq!(client.head().len(), SIZE);
        client
    }));
    // All have begun.
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                client.check_body(SIZE, 0);
                client.assert_ended();
            });
        }
    });
    let peak = server.peak_memory();
    assert!(peak < SIZE, "{} KiB", peak / 1024);
}

#[test]
fn a_thousand_connections_ended_in_every_way_leave_no_descriptor_behind() {
    let site = Site::new();
    site.write("file", "inside");
    site.write("large", data::file(1 << 20));
    let server = site.serve(&["--cache", "0"]);
    let before = server.descriptors();
    for round in 0..1000 {
        connect_and_end(&server, round % 10);
    }
    programs::wait_until("all descriptors are closed", || server.descriptors() == before);
    assert_eq!(get(&server, "/file").text(), "inside");
}

/// One connection and one of the ways it may end.
fn connect_and_end(server: &Server, way: usize) {
    let mut client = Client::connect(server);
    match way {
        0 => {}
        1 => client.reset(),
        2 => client.send("GET /file HT"),
        3 => {
            client.send("GET /file HT");
            client.reset();
        }
        4 => assert_eq!(client.get("/file").text(), "inside"),
        5 => {
            client.send(request("GET", "/large", ""));
            assert_eq!(client.head().status, 200);
        }
        6 => {
            client.send(request("GET", "/large", ""));
            assert_eq!(client.head().status, 200);
            client.reset();
        }
        7 => {
            client.send(request("GET", "/large", ""));
            client.end_sending();
            client.head();
            client.check_body(1 << 20, 0);
            client.assert_ended();
        }
        8 => {
            client.send("no request at all\r\n\r\n");
            assert_eq!(client.answer().status, 400);
        }
        _ => {
            client.send("GET /file HTTP/1.0\r\n\r\n");
            client.answer();
            client.assert_ended();
        }
    }
}

#[test]
fn a_file_nobody_asks_for_again_is_closed() {
    let site = Site::new();
    for name in 0..20 {
        site.write(name.to_string(), "inside");
    }
    let server = site.serve(&["--cache", "1", "--cores", "1"]);
    let before = server.descriptors();
    let mut client = Client::connect(&server);
    for name in 0..20 {
        assert_eq!(client.get(&format!("/{name}")).status, 200);
    }
    drop(client);
    assert!(server.descriptors() > before, "open files are kept for a while");
    programs::wait_until("all files are closed", || server.descriptors() == before);
}
