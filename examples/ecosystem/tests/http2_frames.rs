//! Frames of HTTP/2 that are wrong, and some that only look so: the server's word on each, as RFC 9113 has
//! it, on ringwork, behind the proxy, and on tokio. What a frame means is h2's affair; that each arrives as
//! it was sent, that the answer leaves before the connection closes, and that the server lives on, is ours.

mod kit;

use axum::{Router, routing::get};
use kit::{LIMIT, OnRingwork, OnTokio, Program, connect};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// `GET / http` of `localhost`, in HPACK: three indexed fields and a literal.
const GET: &[u8] = b"\x82\x86\x84\x41\x09localhost";

/// `POST / http` of `localhost`.
const POST: &[u8] = b"\x83\x86\x84\x41\x09localhost";

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;

use Word::{Answer, Goaway, Reset};

/// How the server takes what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// An error of the connection: GOAWAY with one of these codes, or with h2's word for all of them,
    /// PROTOCOL_ERROR; and the end.
    Goaway(&'static [u32]),
    /// An error of the stream: its reset, with this code; or an error of the connection, as RFC 9113, 5.4.2
    /// allows.
    Reset(u32),
    /// Nothing is wrong: the last request is answered.
    Answer,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn get_with(fields: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &[GET, fields].concat())
}

/// A literal field that is not indexed.
fn field(name: &str, value: &str) -> Vec<u8> {
    let string = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], string(name), string(value)].concat()
}

/// Its name, what is sent behind the preface and an empty SETTINGS, and what it leads to.
type Case = (&'static str, Vec<u8>, Word);

/// What a server must put up with.
fn unusual() -> Vec<Case> {
    let whole = frame(HEADERS, WHOLE, 1, GET);
    vec![
        ("a request", whole.clone(), Answer),
        ("a frame of no known kind", [frame(0x77, 0xff, 3, b"what"), whole.clone()].concat(), Answer),
        ("a setting of no known kind", [frame(SETTINGS, 0, 0, &[0xff; 6]), whole.clone()].concat(), Answer),
        ("padding", frame(HEADERS, WHOLE | 8, 1, &[&[3], GET, &[0; 3]].concat()), Answer),
        (
            "a head in three frames",
            [
                frame(HEADERS, END_STREAM, 1, &GET[..2]),
                frame(CONTINUATION, 0, 1, &GET[2..5]),
                frame(CONTINUATION, END_HEADERS, 1, &GET[5..]),
            ]
            .concat(),
            Answer,
        ),
        (
            "a priority of a stream to come",
            [frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 5]), whole.clone()].concat(),
            Answer,
        ),
    ]
}

/// Settings and streams that may not be.
fn wrong_streams() -> Vec<Case> {
    let protocol = Goaway(&[PROTOCOL_ERROR]);
    let size = Goaway(&[FRAME_SIZE_ERROR]);
    vec![
        ("SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), size),
        ("SETTINGS acknowledged with content", frame(SETTINGS, ACK, 0, &[0; 6]), size),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 9]), protocol),
        ("a push that is 2", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), protocol),
        (
            "a window over the limit",
            frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            Goaway(&[FLOW_CONTROL_ERROR]),
        ),
        ("a frame size below the least", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]), protocol),
        ("DATA on an idle stream", frame(DATA, 0, 1, b"x"), protocol),
        ("DATA on no stream", frame(DATA, 0, 0, b"x"), protocol),
        ("HEADERS on no stream", frame(HEADERS, WHOLE, 0, GET), protocol),
        ("HEADERS on a stream of the server's", frame(HEADERS, WHOLE, 2, GET), protocol),
        (
            "streams that go back",
            [frame(HEADERS, WHOLE, 5, GET), frame(HEADERS, WHOLE, 3, GET)].concat(),
            Goaway(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
    ]
}

/// Frames that may not be.
fn wrong_frames() -> Vec<Case> {
    let whole = frame(HEADERS, WHOLE, 1, GET);
    let protocol = Goaway(&[PROTOCOL_ERROR]);
    let size = Goaway(&[FRAME_SIZE_ERROR]);
    vec![
        ("PING of seven bytes", frame(PING, 0, 0, &[0; 7]), size),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8]), protocol),
        ("the reset of an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), protocol),
        ("a reset of three bytes", [whole.clone(), frame(RST_STREAM, 0, 1, &[0; 3])].concat(), size),
        ("a window update by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), protocol),
        ("a window update of three bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), size),
        (
            "a window beyond what there is",
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffffu32.to_be_bytes()),
            Goaway(&[FLOW_CONTROL_ERROR]),
        ),
        ("a CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, GET), protocol),
        (
            "a frame within a head",
            [frame(HEADERS, END_STREAM, 1, &GET[..3]), frame(PING, 0, 0, &[0; 8])].concat(),
            protocol,
        ),
        (
            "a push of the client's",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], GET].concat()),
            protocol,
        ),
        ("more padding than frame", frame(HEADERS, WHOLE | 8, 1, &[&[200], GET].concat()), protocol),
        ("a frame over the size", frame(DATA, 0, 1, &[0; 16_385]), size),
        (
            "an index that is not in the table",
            frame(HEADERS, WHOLE, 1, &[0xff, 0x70]),
            Goaway(&[COMPRESSION_ERROR]),
        ),
        ("an index of 0", frame(HEADERS, WHOLE, 1, &[0x80]), Goaway(&[COMPRESSION_ERROR])),
    ]
}

/// Requests that may not be: their connection may go on.
fn wrong_requests() -> Vec<Case> {
    vec![
        ("a stream that depends on itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 5]), Reset(PROTOCOL_ERROR)),
        ("capital letters in a name", get_with(&field("X-Loud", "1")), Reset(PROTOCOL_ERROR)),
        ("a field of the connection", get_with(&field("connection", "keep-alive")), Reset(PROTOCOL_ERROR)),
        ("a TE that is not trailers", get_with(&field("te", "gzip")), Reset(PROTOCOL_ERROR)),
        ("a pseudo field of no known name", get_with(&field(":what", "1")), Reset(PROTOCOL_ERROR)),
        ("two methods", frame(HEADERS, WHOLE, 1, &[b"\x82", GET].concat()), Reset(PROTOCOL_ERROR)),
        ("no path", frame(HEADERS, WHOLE, 1, b"\x82\x86\x41\x09localhost"), Reset(PROTOCOL_ERROR)),
        ("no method", frame(HEADERS, WHOLE, 1, b"\x86\x84\x41\x09localhost"), Reset(PROTOCOL_ERROR)),
        (
            "a window update of a stream by nothing",
            [frame(HEADERS, END_HEADERS, 1, GET), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat(),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "more content than its length says",
            [
                frame(HEADERS, END_HEADERS, 1, &[GET, &field("content-length", "1")[..]].concat()),
                frame(DATA, END_STREAM, 1, b"two"),
            ]
            .concat(),
            Reset(PROTOCOL_ERROR),
        ),
    ]
}

/// What a server says to these bytes, up to its first word on them.
fn word(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(to);
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b""), bytes].concat()).unwrap();
    loop {
        let mut head = [0; 9];
        match stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return format!("the end, {:?}", error.kind());
            }
            Err(error) => panic!("neither a frame nor an end: {error}"),
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).unwrap();
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match head[3] {
            GOAWAY => {
                let code = code(4);
                // The connection must end after it.
                let mut rest = Vec::new();
                let _reset_or_end = stream.read_to_end(&mut rest).map_err(|error| {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it ends behind its GOAWAY");
                });
                return format!("goaway {code}");
            }
            RST_STREAM => return format!("reset {}", code(0)),
            HEADERS => return format!("status {:#x}", payload[0]),
            _ => {}
        }
    }
}

#[test]
fn each_frame_that_is_wrong_is_answered_as_the_protocol_says_and_the_server_lives_on() {
    let app = || Router::new().route("/", get(|body: axum::body::Bytes| async move { body }));
    let ours = OnRingwork::start(app());
    let proxy = Program::proxy(ours.address);
    let tokios = OnTokio::start(app());
    let mut wrong = Vec::new();
    for (case, bytes, expected) in [unusual(), wrong_streams(), wrong_frames(), wrong_requests()].concat() {
        let all = [ours.address, proxy.address, tokios.address].map(|to| word(to, &bytes));
        let is_right = |word: &String| match expected {
            Word::Goaway(codes) => {
                codes.iter().chain(&[PROTOCOL_ERROR]).any(|code| *word == format!("goaway {code}"))
            }
            Word::Reset(code) => [format!("reset {code}"), format!("goaway {code}")].contains(word),
            Word::Answer => word == "status 0x88",
        };
        if !all.iter().all(is_right) || all[0] != all[2] {
            wrong.push(format!("{case}: expected {expected:?}; ringwork, proxy, tokio: {all:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What an upstream over HTTP/1 gets of an upload over HTTP/2 that is reset with this code, up to the end of
/// its connection.
fn broken_upload(code: u32, is_answered: bool, comes_with_data: bool) -> String {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Program::proxy(upstream.local_addr().unwrap());
    let mut client = connect(proxy.address);
    let begin = [frame(HEADERS, END_HEADERS, 1, POST), frame(DATA, 0, 1, b"first")].concat();
    client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b""), &begin].concat()).unwrap();
    let (mut stream, _) = upstream.accept().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"first\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        asked.push(byte[0]);
    }
    if is_answered {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
    }
    let more = if comes_with_data { frame(DATA, 0, 1, b"more") } else { Vec::new() };
    client.write_all(&[more, frame(RST_STREAM, 0, 1, &code.to_be_bytes())].concat()).unwrap();
    let mut piece = [0; 64];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => asked.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("neither more nor an end: {error}"),
        }
        if asked.ends_with(b"0\r\n\r\n") {
            // One that is whole leaves its connection open for the next request.
            break;
        }
    }
    String::from_utf8(asked).unwrap()
}

#[test]
fn an_upload_that_its_client_resets_is_never_passed_on_as_whole() {
    for code in [NO_ERROR, CANCEL] {
        for (is_answered, comes_with_data) in [(false, false), (false, true), (true, false), (true, true)] {
            let asked = broken_upload(code, is_answered, comes_with_data);
            let case = format!("reset {code}, answered {is_answered}, with data {comes_with_data}: {asked}");
            assert!(asked.contains("\r\ntransfer-encoding: chunked\r\n"), "{case}");
            assert!(!asked.ends_with("0\r\n\r\n"), "{case}");
        }
    }
}
