//! How long a client may take: tests that wait for it, so they run when they are asked for.

use crate::data;
use crate::http::{Client, request};
use crate::programs;
use crate::site::Site;
use std::time::{Duration, Instant};

/// The read time-out of a client that waits for a time limit of the server.
const LONG: Duration = Duration::from_secs(100);

#[test]
#[ignore = "waits for 10 s"]
fn a_request_that_does_not_come_to_its_end_is_408() {
    let site = Site::new();
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    let begun = Instant::now();
    client.send("GET / HT");
    let answer = client.answer();
    assert_eq!((answer.status, answer.the("Connection")), (408, "close"));
    assert!(begun.elapsed() >= Duration::from_secs(9), "it had 10 s");
    client.assert_ended();
}

#[test]
#[ignore = "waits for 60 s"]
fn a_client_that_asks_for_nothing_is_closed_without_a_word() {
    let site = Site::new();
    site.write("file", "inside");
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    client.be_patient(LONG);
    assert_eq!(client.get("/file").status, 200);
    let begun = Instant::now();
    client.assert_ended();
    assert!(begun.elapsed() >= Duration::from_secs(55), "it had 60 s");
}

#[test]
#[ignore = "waits for 30 s"]
fn a_client_that_stops_reading_is_closed_whatever_it_has_asked_for() {
    const SMALL: usize = 16 * 1024;
    let site = Site::new();
    site.folder_with_a_long_listing("listed");
    site.write("large", data::file(32 << 20));
    site.write("small", data::file(SMALL));
    let server = site.serve(&["--cache", "0"]);
    let before = server.descriptors();
    let asked = [("/listed/", 1), ("/large", 1), ("/small", 1000)];
    let stuck = asked.map(|(target, times)| {
        let mut client = Client::connect_narrow(&server);
        client.send(request("GET", target, "").repeat(times));
        let len = client.head().len();
        (client, len * times)
    });
    let begun = Instant::now();
    programs::wait_until("their connections are closed", || server.descriptors() == before);
    assert!(begun.elapsed() >= Duration::from_secs(25), "they had 30 s");
    for (mut client, len) in stuck {
        let (received, _) = client.rest();
        assert!(received < len, "it has not read, so it cannot have it all");
    }
}
