//! WebSocket over the streams of ringwork: the cases that tungstenite is tested with by the Autobahn suite,
//! by family, against an echo on ringwork, the same behind the proxy, and the same on tokio. What the frames
//! mean is tungstenite's affair; that each arrives as it was sent, however it was cut, and that the
//! connection ends as it should, is ours.

mod kit;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use axum::http::{Response, StatusCode};
use axum::{Router, routing::get};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use kit::{OnRingwork, OnTokio, Program, connect, head};
use ringwork_ecosystem::for_hyper;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

type Echo = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn echo(upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket = WebSocketStream::from_raw_socket(for_hyper(upgraded), Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// An application that echoes messages, in tasks of the runtime it is on.
fn app(spawn: fn(Echo)) -> Router {
    let enter = move |mut request: Request| async move {
        let accept = derive_accept_key(request.headers()[SEC_WEBSOCKET_KEY].as_bytes());
        spawn(Box::pin(echo(request.extensions_mut().remove::<OnUpgrade>().unwrap())));
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_ACCEPT, accept)
            .body(Body::empty())
            .unwrap()
    };
    Router::new().route("/", get(enter))
}

/// Runs the cases against all three, and says which it was that failed.
fn everywhere(cases: impl Fn(SocketAddr)) {
    let ours = OnRingwork::start(app(|echo| drop(ringwork::spawn(echo))));
    println!("on ringwork");
    cases(ours.address);
    let proxy = Program::proxy(ours.address);
    println!("behind the proxy");
    cases(proxy.address);
    let tokios = OnTokio::start(app(|echo| drop(tokio::spawn(echo))));
    println!("on tokio");
    cases(tokios.address);
}

const ASK: &[u8] = b" HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client that says and hears frames.
struct Client(TcpStream);

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ ..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

impl Client {
    fn enter(to: SocketAddr) -> Self {
        Self::enter_with(to, "/", b"")
    }

    /// Enters, with bytes right behind the request.
    fn enter_with(to: SocketAddr, path: &str, more: &[u8]) -> Self {
        let mut stream = connect(to);
        stream.set_nodelay(true).unwrap();
        stream.write_all(&[b"GET ", path.as_bytes(), ASK, more].concat()).unwrap();
        let head = head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Self(stream)
    }

    fn say(&mut self, first: u8, payload: &[u8]) {
        self.0.write_all(&frame(first, payload)).unwrap();
    }

    /// The next frame, if the connection does not end before it.
    fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut start = [0; 2];
        match self.0.read_exact(&mut start) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return None;
            }
            Err(error) => panic!("neither a frame nor an end: {error}"),
        }
        let mut long = [0; 8];
        let len = match start[1] {
            126 => {
                self.0.read_exact(&mut long[6..]).unwrap();
                u64::from_be_bytes(long)
            }
            127 => {
                self.0.read_exact(&mut long).unwrap();
                u64::from_be_bytes(long)
            }
            len => u64::from(len),
        };
        let mut payload = vec![0; len as usize];
        self.0.read_exact(&mut payload).unwrap();
        Some((start[0], payload))
    }

    fn hears(&mut self, first: u8, payload: &[u8]) {
        let (heard, content) = self.hear().expect("a frame");
        assert_eq!((heard, content.len()), (first, payload.len()));
        assert!(content == payload, "another payload");
    }

    /// The server must fail the connection: it ends, with nothing before but a close frame.
    fn is_failed(&mut self, case: &str) {
        if let Some((first, payload)) = self.hear() {
            assert_eq!(first, FIN | CLOSE, "{case}: {payload:?}");
            assert!(self.hear().is_none(), "{case}");
        }
    }
}

/// Bytes of this length that are text.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| b'a' + (at % 23) as u8).collect()
}

#[test]
fn messages_of_all_lengths_come_back_however_they_are_cut() {
    everywhere(|to| {
        let mut client = Client::enter(to);
        for len in [0, 1, 125, 126, 127, 128, 1024, 65_535, 65_536, 1 << 20] {
            for kind in [TEXT, BINARY] {
                client.say(FIN | kind, &text(len));
                client.hears(FIN | kind, &text(len));
            }
            let pieces = frame(FIN | BINARY, &text(len));
            for piece in pieces.chunks(if len < 2000 { 1 } else { 997 }) {
                client.0.write_all(piece).unwrap();
            }
            client.hears(FIN | BINARY, &text(len));
        }
        // Many in one write.
        let all: Vec<u8> = (0..500).flat_map(|len| frame(FIN | TEXT, &text(len))).collect();
        client.0.write_all(&all).unwrap();
        for len in 0..500 {
            client.hears(FIN | TEXT, &text(len));
        }
    });
}

#[test]
fn frames_right_behind_the_request_are_not_lost() {
    everywhere(|to| {
        let mut client = Client::enter_with(to, "/", &frame(FIN | TEXT, b"early"));
        client.hears(FIN | TEXT, b"early");
        client.say(FIN | TEXT, b"later");
        client.hears(FIN | TEXT, b"later");
    });
}

#[test]
fn pings_are_answered_with_their_payload_and_pongs_are_not() {
    everywhere(|to| {
        let mut client = Client::enter(to);
        for len in [0, 1, 125] {
            client.say(FIN | PING, &text(len));
            client.hears(FIN | PONG, &text(len));
        }
        client.say(FIN | PONG, b"unasked");
        for number in 0..10u8 {
            client.say(FIN | PING, &[number]);
        }
        for number in 0..10u8 {
            client.hears(FIN | PONG, &[number]);
        }
    });
}

#[test]
fn what_the_protocol_forbids_fails_the_connection() {
    let cases: [(&str, Vec<u8>); 15] = [
        ("a ping of 126 bytes", frame(FIN | PING, &text(126))),
        ("a close of 126 bytes", frame(FIN | CLOSE, &text(126))),
        ("a ping in fragments", frame(PING, b"part")),
        ("a reserved bit", frame(FIN | 0x40 | TEXT, b"x")),
        ("another reserved bit", frame(FIN | 0x10 | BINARY, b"x")),
        ("a reserved kind of message", frame(FIN | 3, b"x")),
        ("another one", frame(FIN | 7, b"x")),
        ("a reserved kind of control", frame(FIN | 11, b"x")),
        ("another one", frame(FIN | 15, b"x")),
        ("a continuation of nothing", frame(FIN | CONTINUATION, b"x")),
        ("a continuation of nothing that goes on", frame(CONTINUATION, b"x")),
        ("a message within another", [frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat()),
        ("a message without a mask", vec![FIN | TEXT, 1, b'x']),
        ("a message longer than any", [vec![FIN | BINARY, 0xff], vec![0x7f; 8], vec![0; 4]].concat()),
        ("a message behind the close", [frame(FIN | CLOSE, &[3, 232]), frame(FIN | TEXT, b"x")].concat()),
    ];
    everywhere(|to| {
        for (case, bytes) in &cases {
            let mut client = Client::enter(to);
            client.0.write_all(bytes).unwrap();
            client.is_failed(case);
        }
    });
}

#[test]
fn messages_in_fragments_are_put_together_with_pings_in_between() {
    everywhere(|to| {
        let mut client = Client::enter(to);
        client.say(TEXT, b"one ");
        client.say(CONTINUATION, b"");
        client.say(FIN | PING, b"are you there");
        client.hears(FIN | PONG, b"are you there");
        client.say(FIN | CONTINUATION, b"two");
        client.hears(FIN | TEXT, b"one two");
        let long = text(65_536);
        for size in [64, 1024, 40_000] {
            let pieces: Vec<&[u8]> = long.chunks(size).collect();
            for (at, piece) in pieces.iter().enumerate() {
                let kind = if at == 0 { BINARY } else { CONTINUATION };
                let fin = if at + 1 == pieces.len() { FIN } else { 0 };
                client.say(fin | kind, piece);
            }
            client.hears(FIN | BINARY, &long);
        }
    });
}

#[test]
fn text_is_utf8_over_all_its_fragments() {
    // The Greek word of the Autobahn cases, cut in the middle of every letter.
    let good = "κόσμε\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}";
    let bad: [&[u8]; 8] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\x80",
        b"\xff",
        b"\xe0\x80\xaf",
        b"\xce",
        b"\xf8\x88\x80\x80\x80",
    ];
    everywhere(|to| {
        let mut client = Client::enter(to);
        client.say(FIN | TEXT, good.as_bytes());
        client.hears(FIN | TEXT, good.as_bytes());
        for cut in 1..good.len() {
            client.say(TEXT, &good.as_bytes()[..cut]);
            client.say(FIN | CONTINUATION, &good.as_bytes()[cut..]);
            client.hears(FIN | TEXT, good.as_bytes());
        }
        for bytes in bad {
            let mut client = Client::enter(to);
            client.say(FIN | TEXT, bytes);
            client.is_failed("not UTF-8");
            let mut client = Client::enter(to);
            client.say(FIN | BINARY, bytes);
            client.hears(FIN | BINARY, bytes);
        }
    });
}

#[test]
fn a_close_is_answered_with_its_code_and_the_connection_ends() {
    let close = |code: u16, reason: &[u8]| [&code.to_be_bytes(), reason].concat();
    everywhere(|to| {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
            let mut client = Client::enter(to);
            client.say(FIN | CLOSE, &close(code, b"bye"));
            let (first, payload) = client.hear().expect("an answer");
            assert_eq!((first, &payload[..2]), (FIN | CLOSE, &code.to_be_bytes()[..]));
            assert!(client.hear().is_none(), "{code}: the server closes first");
        }
        let mut client = Client::enter(to);
        client.say(FIN | CLOSE, b"");
        assert_eq!(client.hear().expect("an answer").0, FIN | CLOSE);
        assert!(client.hear().is_none());
        for payload in [
            close(0, b""),
            close(999, b""),
            close(1004, b""),
            close(1005, b""),
            close(1006, b""),
            close(1015, b""),
            close(1016, b""),
            close(1100, b""),
            close(2999, b""),
            b"\x03".to_vec(),
            close(1000, b"\xff"),
        ] {
            let mut client = Client::enter(to);
            client.say(FIN | CLOSE, &payload);
            client.is_failed(&format!("close {payload:?}"));
        }
    });
}

#[test]
fn the_chat_answers_a_close_like_any_other_server() {
    let app = Program::app();
    let mut client = Client::enter_with(app.address, "/chat", b"");
    client.say(FIN | CLOSE, &1000u16.to_be_bytes());
    client.hears(FIN | CLOSE, &1000u16.to_be_bytes());
    assert!(client.hear().is_none(), "the server closes first");
}

/// In one frame, which is refused by its head, and in fragments, each of which is short.
#[test]
fn a_line_of_the_chat_that_is_too_long_ends_its_connection_with_1009_and_the_others_go_on() {
    let app = Program::app();
    let enter = || Client::enter_with(app.address, "/chat", b"");
    let mut other = enter();
    // Whoever hears its own line is in the room.
    other.say(FIN | TEXT, b"in");
    other.hears(FIN | TEXT, b"in");
    let fragments = [TEXT, CONTINUATION, CONTINUATION, CONTINUATION, FIN | CONTINUATION];
    let in_fragments = fragments.map(|first| frame(first, &text(1000))).concat();
    for (case, bytes) in [("a frame", frame(FIN | TEXT, &text(4097))), ("fragments", in_fragments)] {
        let mut client = enter();
        client.0.write_all(&bytes).unwrap();
        let (first, payload) = client.hear().expect("a close");
        assert_eq!((first, &payload[..2]), (FIN | CLOSE, &1009u16.to_be_bytes()[..]), "{case}");
        assert!(client.hear().is_none(), "{case}");
    }
    enter().say(FIN | TEXT, &text(4096));
    other.hears(FIN | TEXT, &text(4096));
}

#[test]
fn a_client_that_goes_away_without_a_close_leaves_nobody_behind() {
    let ours = OnRingwork::start(app(|echo| drop(ringwork::spawn(echo))));
    let tasks = || ours.runtime.handle().metrics().cores.iter().map(|core| core.tasks).sum::<u64>();
    let clients: Vec<Client> = (0..20).map(|_| Client::enter(ours.address)).collect();
    let turn = || {
        for core in 0..2 {
            ours.runtime.block_on(ours.runtime.handle().call(core, || ())).unwrap();
        }
    };
    // Each core publishes its count as it turns.
    while tasks() < 20 {
        turn();
    }
    for (at, client) in clients.into_iter().enumerate() {
        let linger = (at % 2 == 0).then_some(std::time::Duration::ZERO);
        socket2::SockRef::from(&client.0).set_linger(linger).unwrap();
    }
    // The accept loops and what helps them are all that is left.
    let until = std::time::Instant::now() + kit::LIMIT;
    while tasks() > 4 {
        turn();
        assert!(std::time::Instant::now() < until, "{} tasks", tasks());
    }
}
