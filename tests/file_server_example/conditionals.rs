//! Requests with a condition: 304 and 412, and the ranges that a condition lets through.

use crate::http::{Client, get, once};
use crate::programs::Server;
use crate::site::Site;
use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const SOMEWHAT_LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

/// A server with a file of [`LONG_AGO`], and the file's tag.
fn dated() -> (Site, Server, String) {
    let site = Site::new();
    site.write("hello.txt", "hello world\n");
    let file = File::options().write(true).open(site.path("hello.txt")).expect("the file is there");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(784_111_777)).expect("its time can be set");
    let server = site.serve(&[]);
    let answer = get(&server, "/hello.txt");
    assert_eq!(answer.the("Last-Modified"), LONG_AGO);
    let tag = answer.the("ETag").to_owned();
    (site, server, tag)
}

#[test]
fn a_copy_that_is_still_good_is_304_without_a_body() {
    let (_site, server, tag) = dated();
    // One connection: a body behind a 304 would be taken for the next answer.
    let mut client = Client::connect(&server);
    for method in ["GET", "HEAD"] {
        for condition in [
            format!("If-None-Match: {tag}"),
            format!("If-None-Match: W/{tag}"),
            format!("If-None-Match: \"x\", {tag}"),
            "If-None-Match: *".to_owned(),
            format!("If-Modified-Since: {LONG_AGO}"),
            format!("If-Modified-Since: {SOMEWHAT_LATER}"),
            // A tag knows better than a date.
            format!("If-None-Match: {tag}\r\nIf-Modified-Since: {EARLIER}"),
            // The condition comes before the range.
            format!("If-None-Match: {tag}\r\nRange: bytes=0-1"),
        ] {
            let answer = client.ask(method, "/hello.txt", &format!("{condition}\r\n"));
            assert_eq!((answer.status, answer.the("ETag")), (304, tag.as_str()), "{method} {condition}");
        }
    }
}

#[test]
fn a_copy_that_is_old_is_replaced() {
    let (_site, server, tag) = dated();
    let mut client = Client::connect(&server);
    for condition in [
        "If-None-Match: \"x\"".to_owned(),
        format!("If-Modified-Since: {EARLIER}"),
        format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {LONG_AGO}"),
        format!("If-Match: {tag}"),
        "If-Match: *".to_owned(),
        format!("If-Unmodified-Since: {LONG_AGO}"),
        format!("If-Match: {tag}\r\nIf-Unmodified-Since: {EARLIER}"),
        "If-Modified-Since: yesterday".to_owned(),
    ] {
        let answer = client.ask("GET", "/hello.txt", &format!("{condition}\r\n"));
        assert_eq!((answer.status, answer.text()), (200, "hello world\n"), "{condition}");
    }
}

#[test]
fn a_file_that_is_not_the_one_meant_is_412() {
    let (_site, server, tag) = dated();
    let mut client = Client::connect(&server);
    for condition in [
        "If-Match: \"x\"".to_owned(),
        format!("If-Match: W/{tag}"),
        format!("If-Unmodified-Since: {EARLIER}"),
        format!("If-Match: \"x\"\r\nIf-None-Match: {tag}"),
        "If-Match: \"x\"\r\nRange: bytes=0-1".to_owned(),
    ] {
        let answer = client.ask("GET", "/hello.txt", &format!("{condition}\r\n"));
        assert_eq!(answer.status, 412, "{condition}");
    }
}

#[test]
fn a_range_on_condition_is_served_only_from_the_same_file() {
    let (_site, server, tag) = dated();
    let part_if = |condition: &str| {
        let fields = format!("Range: bytes=0-1\r\nIf-Range: {condition}\r\n");
        let answer = once(&server, "GET", "/hello.txt", &fields);
        match (answer.status, answer.text()) {
            (206, "he") => true,
            (200, "hello world\n") => false,
            (status, body) => panic!("{condition}: {status} {body:?}"),
        }
    };
    assert!(part_if(&tag));
    assert!(part_if(LONG_AGO));
    for other in ["\"x\"", &format!("W/{tag}"), EARLIER, SOMEWHAT_LATER, "nonsense"] {
        assert!(!part_if(other), "{other}");
    }
    let beyond = format!("Range: bytes=99-\r\nIf-Range: {tag}\r\n");
    assert_eq!(once(&server, "GET", "/hello.txt", &beyond).status, 416);
    let ignored = "Range: bytes=99-\r\nIf-Range: \"x\"\r\n";
    assert_eq!(once(&server, "GET", "/hello.txt", ignored).status, 200);
}
