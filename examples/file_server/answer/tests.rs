//! Tests of `answer.rs`: one per status, over plain facts.

use std::time::Duration;

use super::*;
use crate::request::Parser;

const DATE: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn now() -> SystemTime {
    at(784_111_777 + 86_400)
}

fn facts() -> Facts {
    Facts::new(Path::new("a/b.txt"), 1000, at(784_111_777), 0xabc, now())
}

fn reply(head_only: bool) -> Reply<'static> {
    Reply { head_only, persistence: Persistence::Keep, now: now(), date: DATE }
}

/// Asks for `facts()` with a method and field lines; the answer as text, and the part of the file.
fn ask(method: &str, fields: &str) -> (String, Option<Range<u64>>) {
    ask_for(&facts(), method, fields)
}

fn ask_for(facts: &Facts, method: &str, fields: &str) -> (String, Option<Range<u64>>) {
    let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let request = Parser::default().parse(text.as_bytes()).expect("accepted").expect("complete");
    let answer = reply(method == "HEAD").file(Vec::new(), &request, facts);
    (String::from_utf8(answer.bytes).expect("text"), answer.file)
}

fn status(text: &str) -> &str {
    &text[9..12]
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_whole_file() {
    let (head, file) = ask("GET", "");
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nDate: Mon, 07 Nov 1994 08:49:37 GMT\r\nServer: ringwork-file-server\r\n\
         ETag: \"3e8-ae1b981bc490a00-abc\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: 1000\r\nAccept-Ranges: bytes\r\n\
         X-Content-Type-Options: nosniff\r\n\r\n"
    );
    assert_eq!(file, Some(0..1000));
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    assert_eq!(ask("HEAD", ""), (ask("GET", "").0, None));
    let (text, file) = ask("HEAD", "Range: bytes=0-1\r\n");
    assert_eq!((status(&text), file), ("200", None));
    let missing = |head_only| reply(head_only).error(Vec::new(), Status::NotFound).bytes;
    let head = missing(true);
    assert!(head.ends_with(b"\r\n\r\n"));
    assert!(missing(false).starts_with(&head));
}

#[test]
fn a_part_of_a_file() {
    let (head, file) = ask("GET", "Range: bytes=-10\r\n");
    assert_eq!(status(&head), "206");
    assert_eq!(field(&head, "Content-Range"), Some("bytes 990-999/1000"));
    assert_eq!(field(&head, "Content-Length"), Some("10"));
    assert_eq!(file, Some(990..1000));
}

#[test]
fn a_part_outside_the_file() {
    let (text, file) = ask("GET", "Range: bytes=1000-\r\n");
    assert_eq!(status(&text), "416");
    assert_eq!(field(&text, "Content-Range"), Some("bytes */1000"));
    assert_eq!(file, None);
}

#[test]
fn a_part_of_another_version_becomes_the_whole() {
    let etag = facts().etag;
    let (head, _) = ask("GET", &format!("Range: bytes=0-0\r\nIf-Range: {etag}\r\n"));
    assert_eq!(status(&head), "206");
    let (head, file) = ask("GET", "Range: bytes=0-0\r\nIf-Range: \"old\"\r\n");
    assert_eq!((status(&head), file), ("200", Some(0..1000)));
    let (head, _) = ask("GET", "Range: bytes=5000-\r\nIf-Range: \"old\"\r\n");
    assert_eq!(status(&head), "200");
}

#[test]
fn a_copy_that_is_still_good() {
    let etag = facts().etag;
    let (text, file) = ask("GET", &format!("If-None-Match: {etag}\r\nRange: bytes=5000-\r\n"));
    assert_eq!(status(&text), "304");
    assert_eq!(field(&text, "ETag"), Some(&*etag));
    assert_eq!(field(&text, "Content-Length"), None);
    assert!(text.ends_with("\r\n\r\n"));
    assert_eq!(file, None);
    let (text, _) = ask("HEAD", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_eq!(status(&text), "304");
}

#[test]
fn a_failed_precondition() {
    let (text, file) = ask("GET", "If-Match: \"other\"\r\n");
    assert_eq!((status(&text), file), ("412", None));
}

#[test]
fn an_empty_file_has_no_body_to_send() {
    let empty = Facts::new(Path::new("x"), 0, at(5), 1, now());
    let (head, file) = ask_for(&empty, "GET", "");
    assert_eq!((status(&head), field(&head, "Content-Length"), file), ("200", Some("0"), None));
}

#[test]
fn a_file_from_the_future_is_of_now_and_one_from_before_1970_has_no_date() {
    let future = Facts::new(Path::new("x"), 1, now() + Duration::from_secs(3600), 1, now());
    let (head, _) = ask_for(&future, "GET", "");
    assert_eq!(field(&head, "Last-Modified"), Some(DATE));
    let past = Facts::new(Path::new("x"), 1, UNIX_EPOCH - Duration::from_nanos(1), 1, now());
    let (head, _) = ask_for(&past, "GET", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_eq!((status(&head), field(&head, "Last-Modified")), ("200", None));
    assert_eq!(field(&head, "ETag"), Some("\"1-ffffffffffffffff-1\""));
}

#[test]
fn a_tag_changes_with_size_time_and_file() {
    let tag = |len, nanos, inode| {
        Facts::new(Path::new("x"), len, UNIX_EPOCH + Duration::from_nanos(nanos), inode, now()).etag
    };
    let original = tag(1, 1, 1);
    assert!([tag(2, 1, 1), tag(1, 2, 1), tag(1, 1, 2)].iter().all(|other| *other != original));
    assert_eq!(tag(1, 1, 1), original);
}

#[test]
fn pages_carry_their_length_and_forbid_scripts() {
    let answer = reply(false).error(Vec::new(), Status::MethodNotAllowed);
    let text = String::from_utf8(answer.bytes).expect("text");
    let (_, page) = text.split_once("\r\n\r\n").expect("a body");
    assert_eq!(field(&text, "Content-Length"), Some(&*page.len().to_string()));
    assert_eq!(field(&text, "Allow"), Some("GET, HEAD, OPTIONS"));
    assert!(
        field(&text, "Content-Security-Policy").is_some_and(|policy| policy.contains("default-src 'none'"))
    );
}

#[test]
fn a_folder_without_its_slash_moves() {
    let text = String::from_utf8(reply(false).moved(Vec::new(), "/a%20b/?q").bytes).expect("text");
    assert_eq!((status(&text), field(&text, "Location")), ("301", Some("/a%20b/?q")));
}

#[test]
fn options_names_the_methods() {
    let text = String::from_utf8(reply(false).allowed(Vec::new()).bytes).expect("text");
    assert_eq!((status(&text), field(&text, "Allow")), ("204", Some("GET, HEAD, OPTIONS")));
    assert!(text.ends_with("\r\n\r\n"));
    assert_eq!(field(&text, "Content-Length"), None);
}

#[test]
fn a_listing_is_a_page_that_can_be_asked_for_conditionally() {
    let ask = |fields: &str| {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let request = Parser::default().parse(text.as_bytes()).expect("accepted").expect("complete");
        String::from_utf8(reply(false).listing(Vec::new(), &request, "<p>hi").bytes).expect("text")
    };
    assert!(ask("").ends_with("\r\n\r\n<p>hi"));
    assert_eq!(status(&ask("If-None-Match: *\r\n")), "304");
    assert_eq!(status(&ask("If-Match: \"x\"\r\n")), "412");
}
