//! How long a client may take: tests that wait for it, so they run when they are asked for.

use crate::http::Client;
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
