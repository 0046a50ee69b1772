//! A server that may open few files: whom it accepts, it serves, and the others wait.

use crate::http::{Client, request};
use crate::programs::{self, Server};
use crate::site::Site;
use std::thread;

/// A server that may have `most` descriptors.
fn serve(site: &Site, most: u32, options: &[&str]) -> Server {
    let mut command = programs::with_descriptors(most, "file_server");
    command.arg("--root").arg(site.root()).args(["--listen", "127.0.0.1:0"]).args(options);
    Server::start(command)
}

/// How many clients the server says it has when it can take no more.
fn clients_at_most(server: &mut Server) -> usize {
    let line = server.complaint();
    let number = line.strip_prefix("file_server: ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{line:?} does not begin with a number of clients"))
}

#[test]
fn whoever_is_accepted_is_served_a_file_of_its_own_and_the_others_once_there_is_room() {
    const CLIENTS: usize = 40;
    let site = Site::new();
    for name in 0..CLIENTS {
        site.write(name.to_string(), "");
        // Holes, and more than lies between a server and a client that does not read.
        site.resize(&name.to_string(), 32 << 20);
    }
    let mut server = serve(&site, 60, &["--cores", "1"]);
    let mut clients = Vec::from_iter((0..CLIENTS).map(|_| Client::connect_narrow(&server)));
    for (name, client) in clients.iter_mut().enumerate() {
        client.send(request("GET", &format!("/{name}"), ""));
    }
    assert_eq!(clients[0].head().status, 200);
    // One listener accepts them in the order in which they have come.
    let at_once = clients_at_most(&mut server);
    assert!((2..CLIENTS).contains(&at_once), "{at_once}");
    for client in &mut clients[1..at_once] {
        assert_eq!(client.head().status, 200);
    }
    let mut waiting = clients.split_off(at_once).into_iter();
    for served in clients {
        served.reset();
        if let Some(mut next) = waiting.next() {
            assert_eq!(next.head().status, 200);
            next.reset();
        }
    }
    for mut next in waiting {
        assert_eq!(next.head().status, 200);
        next.reset();
    }
}

#[test]
fn two_hundred_clients_who_ask_twice_are_served_in_turn_on_two_cores() {
    let site = Site::new();
    for name in 0..200 {
        site.write(format!("{name}/file"), "inside");
    }
    let server = serve(&site, 60, &["--cores", "2"]);
    thread::scope(|scope| {
        for name in 0..200 {
            let server = &server;
            scope.spawn(move || {
                let mut client = Client::connect(server);
                assert_eq!(client.get(&format!("/{name}/file")).text(), "inside");
                assert_eq!(client.get(&format!("/{name}/")).status, 200);
            });
        }
    });
}

#[test]
fn a_client_that_is_refused_for_want_of_descriptors_is_told_and_its_connection_ends() {
    let site = Site::new();
    site.write("file", "inside");
    let server = site.serve(&["--cores", "1", "--cache", "0"]);
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/file").text(), "inside");
    let before = server.limit_descriptors(1);
    let answer = client.get("/file");
    assert_eq!((answer.status, answer.field("Connection")), (503, Some("close")));
    assert_eq!(answer.the("Retry-After"), "1");
    client.assert_ended();
    server.limit_descriptors(before);
    assert_eq!(Client::connect(&server).get("/file").text(), "inside");
}
