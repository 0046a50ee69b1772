//! Files that change while they are open, kept for later, or being sent.

use crate::data;
use crate::http::{Client, get, request};
use crate::programs;
use crate::site::Site;
use std::fs;
use std::io::Write;

/// Longer than any test: what is open stays open.
const KEEP: [&str; 4] = ["--cache", "3600", "--cores", "1"];
/// Nothing stays open.
const FORGET: [&str; 2] = ["--cache", "0"];

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_its_connection_and_no_other() {
    const SIZE: usize = 64 << 20;
    let site = Site::new();
    site.write("shrinking", "");
    site.resize("shrinking", SIZE as u64);
    site.write("other", "inside");
    let server = site.serve(&[]);
    let mut client = Client::connect_narrow(&server);
    client.send(request("GET", "/shrinking", ""));
    // It is being sent, and most of it has not left.
    assert_eq!(client.head().len(), SIZE);
    site.resize("shrinking", 1000);
    let (received, _) = client.rest();
    assert!(received < SIZE, "nothing was lost");
    assert_eq!(get(&server, "/other").text(), "inside");
}

#[test]
fn a_small_file_that_has_shrunk_since_it_was_opened_ends_its_connection() {
    let site = Site::new();
    site.write("small", data::file(10_000));
    let server = site.serve(&KEEP);
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/small").body.len(), 10_000);
    site.resize("small", 100);
    // The length was announced; what is missing cannot be made up for.
    client.send(request("GET", "/small", ""));
    assert_eq!(client.head().len(), 10_000);
    client.check_body(100, 0);
    client.assert_ended();
}

#[test]
fn a_file_that_grows_while_it_is_sent_arrives_as_long_as_was_said() {
    const SIZE: usize = 32 << 20;
    let site = Site::new();
    site.write("growing", data::file(SIZE));
    site.write("other", "inside");
    let server = site.serve(&[]);
    let mut client = Client::connect_narrow(&server);
    client.send(request("GET", "/growing", ""));
    assert_eq!(client.head().len(), SIZE);
    let mut file = fs::File::options().append(true).open(site.path("growing")).expect("the file is there");
    file.write_all(&[b'!'; 100_000]).expect("a file can grow");
    client.check_body(SIZE, 0);
    assert_eq!(client.get("/other").text(), "inside");
}

#[test]
fn a_small_file_that_has_grown_since_it_was_opened_arrives_as_long_as_was_said() {
    let site = Site::new();
    site.write("small", data::file(100));
    let server = site.serve(&KEEP);
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/small").body.len(), 100);
    site.write("small", data::file(200));
    for _ in 0..2 {
        let answer = client.get("/small");
        assert_eq!((answer.status, answer.body.len()), (200, 100));
        data::check(&answer.body, 0);
    }
}

#[test]
fn an_open_file_is_used_again_for_as_long_as_was_asked_for() {
    let site = Site::new();
    site.write("file", "old");
    let server = site.serve(&KEEP);
    assert_eq!(get(&server, "/file").text(), "old");
    site.write("new", "new and longer");
    fs::rename(site.path("new"), site.path("file")).expect("a file can be replaced");
    assert_eq!(get(&server, "/file").text(), "old");
}

#[test]
fn without_a_cache_every_change_is_seen_at_once() {
    let site = Site::new();
    site.write("file", "1");
    let server = site.serve(&FORGET);
    let mut client = Client::connect(&server);
    let first = client.get("/file");
    assert_eq!(first.text(), "1");
    site.write("file", "22");
    let second = client.get("/file");
    assert_eq!(second.text(), "22");
    assert_ne!(first.the("ETag"), second.the("ETag"));
    fs::remove_file(site.path("file")).expect("it is there");
    assert_eq!(client.get("/file").status, 404);
    site.folder("file");
    assert_eq!(client.get("/file").status, 301);
}

#[test]
fn with_the_usual_cache_a_change_is_seen_soon() {
    let site = Site::new();
    site.write("file", "old");
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/file").text(), "old");
    site.write("new", "new");
    fs::rename(site.path("new"), site.path("file")).expect("a file can be replaced");
    programs::wait_until("the new file is served", || client.get("/file").text() == "new");
    fs::remove_file(site.path("file")).expect("it is there");
    programs::wait_until("the file is gone", || client.get("/file").status == 404);
}
