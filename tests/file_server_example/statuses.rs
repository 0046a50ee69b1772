//! What is said to each kind of request: the status, and the fields that go with it.

use crate::data;
use crate::http::{Client, get, last_answer, once, request};
use crate::programs::{self, Server};
use crate::site::Site;
use std::path::Path;

fn site() -> Site {
    let site = Site::new();
    site.write("hello.txt", "hello world\n");
    site
}

#[test]
fn a_file_is_200_with_what_a_client_needs_to_know_about_it() {
    let site = site();
    let server = site.serve(&[]);
    let answer = get(&server, "/hello.txt");
    assert_eq!((answer.status, answer.text()), (200, "hello world\n"));
    assert_eq!(answer.the("Content-Type"), "text/plain; charset=utf-8");
    assert_eq!(answer.the("Accept-Ranges"), "bytes");
    let modified = std::fs::metadata(site.path("hello.txt")).and_then(|file| file.modified());
    assert_eq!(answer.the("Last-Modified"), httpdate::fmt_http_date(modified.expect("the file is there")));
    httpdate::parse_http_date(answer.the("Date")).expect("a date");
    let tag = answer.the("ETag");
    assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{tag} is no strong tag");
}

#[test]
fn files_of_every_size_arrive_whole() {
    // Around the size from which on a body is no longer read behind its head, and far beyond.
    let sizes = [0, 1, 16 * 1024, 16 * 1024 + 1, 256 * 1024, (20 << 20) + 17];
    let site = Site::new();
    for size in sizes {
        site.write(size.to_string(), data::file(size));
    }
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    for size in sizes {
        let answer = client.get(&format!("/{size}"));
        assert_eq!((answer.status, answer.len()), (200, size));
        data::check(&answer.body, 0);
    }
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let site = site();
    site.write("large", data::file(100_000));
    site.write("folder/file", "");
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    for target in ["/hello.txt", "/large", "/folder/", "/folder", "/missing"] {
        let whole = client.get(target);
        let head = client.ask("HEAD", target, "");
        assert_eq!(head.status, whole.status, "{target}");
        assert_eq!(head.lasting_fields(), whole.lasting_fields(), "{target}");
        assert_eq!(head.len(), whole.body.len(), "{target}");
    }
}

#[test]
fn options_is_204_and_says_what_is_allowed() {
    let site = site();
    let server = site.serve(&[]);
    for target in ["/hello.txt", "*", "http://test"] {
        let answer = once(&server, "OPTIONS", target, "");
        assert_eq!((answer.status, answer.the("Allow")), (204, "GET, HEAD, OPTIONS"), "{target}");
    }
}

#[test]
fn a_method_that_would_change_something_is_405_and_told_what_is_allowed() {
    let site = site();
    let server = site.serve(&[]);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = once(&server, method, "/hello.txt", "Content-Length: 0\r\n");
        assert_eq!((answer.status, answer.the("Allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
    }
    assert_eq!(get(&server, "/hello.txt").text(), "hello world\n");
}

#[test]
fn a_method_or_coding_nobody_knows_here_is_501() {
    let site = site();
    let server = site.serve(&[]);
    assert_eq!(once(&server, "BREW", "/hello.txt", "").status, 501);
    assert_eq!(once(&server, "get", "/hello.txt", "").status, 501, "methods are told apart by case");
    assert_eq!(once(&server, "GET", "/hello.txt", "Transfer-Encoding: chunked\r\n").status, 501);
}

#[test]
fn a_missing_file_is_404_and_a_person_can_read_it() {
    let site = site();
    let server = site.serve(&[]);
    for target in ["/missing", "/missing/", "/hello.txt/", "/hello.txt/x", "/a%2Fb"] {
        let answer = get(&server, target);
        assert_eq!(answer.status, 404, "{target}");
        assert_eq!(answer.the("Content-Type"), "text/html; charset=utf-8", "{target}");
        assert!(answer.text().contains("<h1>404 Not Found</h1>"), "{target}");
    }
    let (long_name, deep) = (format!("/{}", "x".repeat(300)), "/x".repeat(3000));
    assert_eq!([get(&server, &long_name).status, get(&server, &deep).status], [404, 404]);
}

#[test]
fn what_breaks_the_rules_is_400() {
    let site = site();
    let server = site.serve(&[]);
    for target in ["*", "hello.txt", "/%", "/%zz", "/a%00b", "/..", "/../hello.txt", "ftp://test/hello.txt"] {
        assert_eq!(get(&server, target).status, 400, "{target}");
    }
    for bytes in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /\r\n\r\n",
        "\x16\x03\x01\x02",
    ] {
        assert_eq!(last_answer(&server, bytes).status, 400, "{bytes:?}");
    }
}

#[test]
fn a_head_that_is_refused_has_no_body_either() {
    let server = site().serve(&[]);
    for (status, bytes) in [
        (400, "HEAD / HTTP/1.1\r\n\r\n"),
        (413, "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n"),
        (501, "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (505, "\r\nHEAD / HTTP/1.9\r\nHost: a\r\n\r\n"),
    ] {
        let mut client = Client::connect(&server);
        client.send(bytes);
        let answer = client.answer_to("HEAD");
        assert_eq!((answer.status, answer.the("Connection")), (status, "close"), "{bytes:?}");
        assert!(answer.len() > 0);
        client.end_sending();
        client.assert_ended();
    }
}

/// The speed of a network device that has none is such a file.
#[test]
fn a_file_that_cannot_be_read_is_500() {
    let folder = Path::new("/sys/devices/virtual/net/lo");
    if !folder.join("speed").exists() || std::fs::read(folder.join("speed")).is_ok() {
        return println!("skipped: {} has no such file", folder.display());
    }
    let mut command = programs::command("file_server");
    command.args(["--listen", "127.0.0.1:0", "--cores", "1", "--root"]).arg(folder);
    let answer = get(&Server::start(command), "/speed");
    assert_eq!((answer.status, answer.the("Connection")), (500, "close"));
}

#[test]
fn another_version_is_505() {
    let site = site();
    let server = site.serve(&[]);
    for version in ["2.0", "0.9", "1.2"] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        assert_eq!(last_answer(&server, bytes).status, 505, "{version}");
    }
}

#[test]
fn a_target_in_absolute_form_names_the_same_file() {
    let site = site();
    let server = site.serve(&[]);
    assert_eq!(get(&server, "http://anywhere/hello.txt?query").text(), "hello world\n");
}

#[test]
fn too_much_of_anything_is_refused_by_name() {
    let site = site();
    let server = site.serve(&[]);
    let fields = |count: usize| (0..count).map(|at| format!("A{at}: x\r\n")).collect::<String>();
    let long_field = format!("A: {}\r\n", "x".repeat(20_000));
    assert_eq!(get(&server, &format!("/{}", "x".repeat(9_000))).status, 414);
    assert_eq!(get(&server, &format!("/{}", "x".repeat(50_000))).status, 414);
    assert_eq!(once(&server, "GET", "/hello.txt", &long_field).status, 431);
    assert_eq!(once(&server, "GET", "/hello.txt", &fields(100)).status, 431);
    assert_eq!(once(&server, "GET", "/hello.txt", &fields(50)).status, 200);
    assert_eq!(once(&server, "GET", "/hello.txt", "Content-Length: 99999999\r\n").status, 413);
    let beyond_any_number = "Content-Length: 99999999999999999999999\r\n";
    assert_eq!(once(&server, "GET", "/hello.txt", beyond_any_number).status, 413);
}

#[test]
fn an_expectation_is_417_unless_its_body_is_there() {
    let site = site();
    let server = site.serve(&[]);
    let expects = |fields: &str| once(&server, "GET", "/hello.txt", fields).status;
    assert_eq!(expects("Expect: a miracle\r\n"), 417);
    assert_eq!(expects("Expect: 100-continue\r\nContent-Length: 5\r\n"), 417);
    assert_eq!(expects("Expect: 100-continue\r\n"), 200);
}

#[test]
fn a_refused_client_that_still_sends_gets_its_answer() {
    let site = site();
    let server = site.serve(&[]);
    answer_to_unread_body(&server, "POST", 405);
    answer_to_unread_body(&server, "GET", 413);
}

/// A reset would overtake the answer if the server closed the connection with bytes unread.
#[track_caller]
fn answer_to_unread_body(server: &Server, method: &str, status: u16) {
    const BODY: usize = 200_000;
    let mut sent = request(method, "/x", &format!("Content-Length: {BODY}\r\n")).into_bytes();
    sent.resize(sent.len() + BODY, b'x');
    assert_eq!(last_answer(server, sent).status, status);
}
