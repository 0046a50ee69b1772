//! Tests of `request.rs`: requests as clients send them, whole, in pieces and too large.

use super::*;

fn parse(text: &str) -> Result<Option<Request<'_>>, Refusal> {
    Parser::default().parse(text.as_bytes())
}

fn request(text: &str) -> Request<'_> {
    parse(text).expect("accepted").expect("complete")
}

/// A GET of `/` with these field lines behind a `Host`.
fn with(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn refused(text: &str) -> Status {
    match parse(text) {
        Err(Refusal(status)) => status,
        other => panic!("{text:?} was not refused: {other:?}"),
    }
}

fn target_of(line: &str) -> Result<(String, Option<String>), Status> {
    let text = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
    match parse(&text) {
        Ok(Some(Request { target: Target::Path { path, query }, .. })) => {
            Ok((path.to_owned(), query.map(str::to_owned)))
        }
        Ok(Some(Request { target: Target::Server, .. })) => Ok(("*".to_owned(), None)),
        Ok(None) => panic!("{line:?} is not complete"),
        Err(Refusal(status)) => Err(status),
    }
}

#[test]
fn the_simplest_request() {
    let text = "GET /a?b=c HTTP/1.1\r\nHost: example.com:80\r\n\r\n";
    let request = request(text);
    assert_eq!(request.method, Method::Get);
    assert_eq!(request.target, Target::Path { path: "/a", query: Some("b=c") });
    assert_eq!(request.persistence, Persistence::Keep);
    assert_eq!(request.conditions, Preconditions::default());
    assert_eq!(request.length, text.len());
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let text = with("If-None-Match: \"x\"\r\nRange: bytes=0-1\r\n");
    let mut parser = Parser::default();
    for end in 0..text.len() {
        assert_eq!(parser.parse(&text.as_bytes()[..end]), Ok(None), "at {end}");
    }
    let found = parser.parse(text.as_bytes()).expect("accepted").expect("complete");
    assert_eq!(found, request(&text));
    assert_eq!(found.range, Some(&b"bytes=0-1"[..]));
}

#[test]
fn a_request_may_arrive_in_any_two_parts() {
    let text = "\r\nHEAD / HTTP/1.1\nHost: a\n\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let first = text.find("GET").expect("the second request");
    for split in 0..text.len() {
        let mut parser = Parser::default();
        let early = parser.parse(&text.as_bytes()[..split]).expect("accepted");
        assert_eq!(early.is_some(), split >= first, "split at {split}");
        if early.is_none() {
            let found = parser.parse(text.as_bytes()).expect("accepted").expect("complete");
            assert_eq!((found.method, found.length), (Method::Head, first));
        }
    }
}

#[test]
fn pipelined_requests_come_out_one_by_one() {
    let mut bytes = with("").into_bytes();
    bytes.extend_from_slice(b"HEAD /two HTTP/1.1\r\nHost: a\r\n\r\nGET /three HT");
    let mut parser = Parser::default();
    let one = parser.parse(&bytes).expect("accepted").expect("complete").length;
    let rest = &bytes[one..];
    let two = parser.parse(rest).expect("accepted").expect("complete");
    assert_eq!(two.target, Target::Path { path: "/two", query: None });
    assert_eq!(parser.parse(&rest[two.length..]), Ok(None));
}

#[test]
fn methods_are_told_apart() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("OPTIONS", Method::Options),
        ("POST", Method::NotAllowed),
        ("DELETE", Method::NotAllowed),
        ("get", Method::Unknown),
        ("BREW", Method::Unknown),
    ] {
        assert_eq!(request(&format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n")).method, method, "{name}");
    }
    assert_eq!(request("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").method, Method::NotAllowed);
}

#[test]
fn targets_in_all_forms() {
    let path = |path: &str, query: Option<&str>| Ok((path.to_owned(), query.map(str::to_owned)));
    assert_eq!(target_of("GET /a/b?"), path("/a/b", Some("")));
    assert_eq!(target_of("GET /a?b?c"), path("/a", Some("b?c")));
    assert_eq!(target_of("GET http://example.com/x?y"), path("/x", Some("y")));
    assert_eq!(target_of("GET HTTPS://[::1]:443/x"), path("/x", None));
    assert_eq!(target_of("GET http://example.com"), path("/", None));
    assert_eq!(target_of("GET http://example.com?q"), path("/", Some("q")));
    assert_eq!(target_of("OPTIONS *"), path("*", None));
    assert_eq!(target_of("OPTIONS http://example.com"), path("*", None));
    assert_eq!(target_of("OPTIONS /a"), path("/a", None));
    assert_eq!(target_of("GET //a"), path("//a", None));
    for line in [
        "GET *",
        "GET a",
        "GET ftp://a/",
        "GET http:///x",
        "GET http://a b/",
        "GET http://u@h/",
        "GET /a#b",
        "GET http://a#b",
        "GET a:443",
        "GET ://a/",
    ] {
        assert_eq!(target_of(line), Err(Status::BadRequest), "{line}");
    }
}

#[test]
fn lines_that_are_no_request_are_bad() {
    for text in [
        "\x16\x03\x01\x02\0",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET /a b HTTP/1.1\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "GET / FTP/1.1\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n",
    ] {
        assert_eq!(refused(text), Status::BadRequest, "{text:?}");
    }
    for fields in ["A : b\r\n", " A: b\r\n", "A: b\r\n c\r\n", "A\r\n", ": b\r\n", "A: \0\r\n", "A: b\rc\r\n"]
    {
        assert_eq!(refused(&with(fields)), Status::BadRequest, "{fields:?}");
    }
}

#[test]
fn other_versions_are_named_as_such() {
    for text in [
        "GET / HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/0.9\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(refused(text), Status::VersionNotSupported, "{text:?}");
    }
}

#[test]
fn a_host_is_needed_once() {
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Status::BadRequest);
    assert_eq!(refused(&with("Host: a\r\n")), Status::BadRequest);
    assert_eq!(refused(&with("host: b\r\n")), Status::BadRequest);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), Status::BadRequest);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), Status::BadRequest);
    assert_eq!(refused("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), Status::BadRequest);
    assert_eq!(request("GET / HTTP/1.1\r\nHost:\r\n\r\n").method, Method::Get);
    assert_eq!(request("GET / HTTP/1.1\r\nHOST: [::1]:8080\r\n\r\n").method, Method::Get);
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").method, Method::Get);
}

#[test]
fn connections_stay_or_end_as_each_version_says() {
    let of = |text: &str| request(text).persistence;
    assert_eq!(of(&with("Connection: close\r\n")), Persistence::Close);
    assert_eq!(of(&with("Connection: Keep-Alive, Close\r\n")), Persistence::Close);
    assert_eq!(of(&with("Connection: upgrade\r\nConnection: close\r\n")), Persistence::Close);
    assert_eq!(of(&with("Connection: closed\r\n")), Persistence::Keep);
    assert_eq!(of("GET / HTTP/1.0\r\n\r\n"), Persistence::Close);
    assert_eq!(of("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), Persistence::KeepOldClient);
    assert_eq!(of("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"), Persistence::Close);
}

#[test]
fn a_small_body_is_part_of_the_request() {
    let text = with("Content-Length: 5\r\n") + "12345GET";
    let mut parser = Parser::default();
    for end in 1..text.len() - 3 {
        assert_eq!(parser.parse(&text.as_bytes()[..end]), Ok(None), "at {end}");
    }
    let found = parser.parse(text.as_bytes()).expect("accepted").expect("complete");
    assert_eq!(found.length, text.len() - 3);
    assert_eq!(parser.parse(b"GET"), Ok(None));
}

#[test]
fn lengths_must_agree() {
    for good in
        ["Content-Length: 0\r\n", "Content-Length: 0, 0\r\n", "Content-Length: 0\r\nContent-Length: 00\r\n"]
    {
        assert_eq!(request(&with(good)).length, with(good).len());
    }
    for bad in [
        "Content-Length: 1, 2\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1 2\r\n",
        "Content-Length: x\r\n",
        "Content-Length:\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1,\r\n",
    ] {
        assert_eq!(refused(&with(bad)), Status::BadRequest, "{bad:?}");
    }
}

#[test]
fn a_body_that_is_too_long_to_skip_is_refused_at_once() {
    let large = format!("Content-Length: {}\r\n", BODY_MAX + 1);
    assert_eq!(refused(&with(&large)), Status::ContentTooLarge);
    assert_eq!(refused(&with("Content-Length: 99999999999999999999\r\n")), Status::ContentTooLarge);
    assert_eq!(refused(&with(&large).replace("GET", "PUT")), Status::MethodNotAllowed);
    assert_eq!(refused(&with(&large).replace("GET", "BREW")), Status::NotImplemented);
    let most = with(&format!("Content-Length: {BODY_MAX}\r\n"));
    assert_eq!(parse(&most), Ok(None));
}

#[test]
fn transfer_codings_are_refused_by_their_framing() {
    let coding = |value: &str| with(&format!("Transfer-Encoding: {value}\r\n"));
    assert_eq!(refused(&coding("chunked")), Status::NotImplemented);
    assert_eq!(refused(&coding("gzip, Chunked")), Status::NotImplemented);
    assert_eq!(refused(&coding("chunked").replace("GET", "POST")), Status::MethodNotAllowed);
    for bad in [
        "gzip",
        "identity",
        "",
        "chunked, gzip",
        "chunked, chunked",
        "xchunked",
        "chunked\r\nContent-Length: 3",
    ] {
        assert_eq!(refused(&coding(bad)), Status::BadRequest, "{bad:?}");
    }
    let two_lines = with("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n");
    assert_eq!(refused(&two_lines), Status::BadRequest);
    assert_eq!(refused("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Status::BadRequest);
}

#[test]
fn expectations_are_met_or_refused() {
    assert_eq!(refused(&with("Expect: tea\r\n")), Status::ExpectationFailed);
    assert_eq!(request(&with("Expect: 100-Continue\r\n")).method, Method::Get);
    let waiting = with("Expect: 100-continue\r\nContent-Length: 3\r\n");
    assert_eq!(refused(&waiting), Status::ExpectationFailed);
    assert_eq!(refused(&waiting.replace("GET", "PUT")), Status::MethodNotAllowed);
    assert_eq!(parse(&waiting.replace("1.1", "1.0")), Ok(None));
    assert_eq!(request(&(waiting.clone() + "abc")).length, waiting.len() + 3);
}

#[test]
fn lists_go_on_in_another_line_and_a_second_range_voids_both() {
    let text = with("If-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\nIf-Match: *\r\n");
    let found = request(&text);
    assert_eq!(found.conditions.if_none_match.as_deref(), Some(&b"\"a\", \"b\""[..]));
    assert_eq!(found.conditions.if_match.as_deref(), Some(&b"*"[..]));
    assert_eq!(request(&with("Range: bytes=0-1\r\nRange: bytes=2-3\r\n")).range, None);
}

#[test]
fn dates_and_if_range_are_handed_on() {
    let text = with("If-Modified-Since: x\r\nif-unmodified-since: y\r\nIF-RANGE: z\r\n");
    let conditions = request(&text).conditions;
    assert_eq!(conditions.if_modified_since, Some(&b"x"[..]));
    assert_eq!(conditions.if_unmodified_since, Some(&b"y"[..]));
    assert_eq!(conditions.if_range, Some(&b"z"[..]));
}

#[test]
fn parts_and_conditions_about_one_version_name_it() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let plain = ["", "If-None-Match: \"x\"\r\n", &format!("If-Modified-Since: {DATE}\r\n")];
    for fields in plain {
        assert!(!request(&with(fields)).names_a_version(), "{fields}");
    }
    let of_one = [
        "Range: bytes=0-1\r\n",
        "If-Range: \"x\"\r\n",
        "If-Match: \"x\"\r\n",
        &format!("If-Unmodified-Since: {DATE}\r\n"),
    ];
    for fields in of_one {
        assert!(request(&with(fields)).names_a_version(), "{fields}");
    }
}

#[test]
fn a_long_target_is_414_complete_or_not() {
    let fits = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(TARGET_MAX - 1));
    assert!(matches!(request(&fits).target, Target::Path { path, .. } if path.len() == TARGET_MAX));
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(TARGET_MAX));
    assert_eq!(refused(&long), Status::UriTooLong);
    let endless = format!("GET /{}", "x".repeat(HEAD_MAX));
    assert_eq!(refused(&endless), Status::UriTooLong);
}

#[test]
fn long_or_many_fields_are_431_complete_or_not() {
    assert_eq!(refused(&with(&format!("A: {}\r\n", "x".repeat(HEAD_MAX)))), Status::FieldsTooLarge);
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "x".repeat(HEAD_MAX));
    assert_eq!(refused(&endless), Status::FieldsTooLarge);
    assert_eq!(request(&with(&"A: b\r\n".repeat(FIELDS_MAX - 1))).method, Method::Get);
    assert_eq!(refused(&with(&"A: b\r\n".repeat(FIELDS_MAX))), Status::FieldsTooLarge);
    let longest = HEAD_MAX - with("A: \r\n").len();
    assert_eq!(request(&with(&format!("A: {}\r\n", "x".repeat(longest)))).length, HEAD_MAX);
    assert_eq!(refused(&with(&format!("A: {}\r\n", "x".repeat(longest + 1)))), Status::FieldsTooLarge);
}

#[test]
fn an_endless_head_is_refused_at_the_limit_and_not_before() {
    let mut parser = Parser::default();
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(HEAD_MAX)).into_bytes();
    for end in (1..HEAD_MAX).step_by(97) {
        assert_eq!(parser.parse(&endless[..end]), Ok(None), "at {end}");
    }
    assert_eq!(parser.parse(&endless[..HEAD_MAX]), Err(Refusal(Status::FieldsTooLarge)));
}
