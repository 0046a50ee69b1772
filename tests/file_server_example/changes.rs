//! Files that change while they are open, kept for later, or being sent.

use crate::data;
use crate::http::{Client, get, request};
use crate::programs;
use crate::site::Site;
use std::fs;
use std::io::Write;
use std::time::Duration;

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

/// Writes other bytes into a file, as many as it has, and gives it another time, since the kernel's clock for
/// files may stand still between two writes: an earlier one, as nothing is from the future.
fn overwrite(site: &Site, name: &str, bytes: &[u8]) {
    let mut file = fs::File::options().write(true).open(site.path(name)).expect("the file is there");
    let before = file.metadata().and_then(|metadata| metadata.modified()).expect("the kernel knows it");
    file.write_all(bytes).expect("a file can be written");
    file.set_modified(before - Duration::from_secs(1)).expect("the file is ours");
}

#[test]
fn parts_of_two_versions_of_an_open_file_are_not_joined() {
    const SIZE: usize = 50_000;
    let site = Site::new();
    site.write("index.html", data::file(SIZE));
    let server = site.serve(&KEEP);
    let mut client = Client::connect(&server);
    for (version, target) in [(1, "/index.html"), (2, "/")] {
        let first = client.ask("GET", target, "Range: bytes=0-9999\r\n");
        assert_eq!((first.status, first.body.len()), (206, 10_000));
        data::check(&first.body, (version - 1) * SIZE);
        overwrite(&site, "index.html", &data::bytes(version * SIZE..(version + 1) * SIZE));
        let fields = format!("Range: bytes=10000-\r\nIf-Range: {}\r\n", first.the("ETag"));
        let whole = client.ask("GET", target, &fields);
        assert_eq!((whole.status, whole.body.len()), (200, SIZE));
        assert_ne!(whole.the("ETag"), first.the("ETag"));
        data::check(&whole.body, version * SIZE);
        // What was found out holds for whoever asks next, too.
        assert_eq!(client.get(target).the("ETag"), whole.the("ETag"));
    }
}

#[test]
fn what_is_said_of_a_part_or_a_version_of_an_open_file_is_true_when_it_is_said() {
    let site = Site::new();
    site.write("file", "0000");
    let server = site.serve(&KEEP);
    let mut client = Client::connect(&server);
    let old = client.get("/file");
    let old = old.the("ETag");
    overwrite(&site, "file", b"1111");
    let part = client.ask("GET", "/file", "Range: bytes=2-\r\n");
    assert_eq!((part.status, part.text()), (206, "11"));
    let mut tags = vec![old.to_owned(), part.the("ETag").to_owned()];
    overwrite(&site, "file", b"2222");
    let failed = client.ask("GET", "/file", &format!("If-Match: {}\r\n", tags[1]));
    assert_eq!(failed.status, 412);
    tags.push(client.get("/file").the("ETag").to_owned());
    tags.dedup();
    assert_eq!(tags.len(), 3, "each version has a tag of its own: {tags:?}");
    let good = client.ask("GET", "/file", &format!("If-Match: {}\r\nRange: bytes=0-0\r\n", tags[2]));
    assert_eq!((good.status, good.text()), (206, "2"));
}
