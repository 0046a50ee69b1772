//! Both programs against plain sockets: what passes the proxy, what it says when the upstream fails, and the
//! chat behind it.

mod kit;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper::http::request;
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kit::{Program, connect, head};
use ringwork::compat::hyper::Executor;
use ringwork_ecosystem::for_hyper;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Sends a request that closes its connection and reads the whole answer.
fn ask(to: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(to);
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer ends with the connection");
    String::from_utf8(answer).unwrap()
}

/// An upstream that answers one connection as told and sends what it was asked back to the test.
fn upstream(answer: &'static [u8]) -> (SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serves = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let asked = head(&mut stream);
        stream.write_all(answer).unwrap();
        asked
    });
    (address, serves)
}

#[test]
fn json_and_uploads_pass_the_proxy_to_the_application() {
    let app = Program::app();
    let proxy = Program::proxy(app.address);
    let sum = b"POST /sum HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
        content-length: 19\r\n\r\n{\"numbers\":[1,2.5]}";
    assert!(ask(proxy.address, sum).ends_with("{\"count\":2,\"sum\":3.5}"));
    let mut upload =
        b"PUT /upload HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5000000\r\n\r\n".to_vec();
    upload.resize(upload.len() + 5_000_000, 2);
    assert!(ask(proxy.address, &upload).ends_with("{\"bytes\":5000000,\"sum\":10000000}"));
}

#[test]
fn the_upstream_learns_who_asked_and_nothing_of_the_clients_connection() {
    let (address, serves) =
        upstream(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=9\r\n\r\nok");
    let proxy = Program::proxy(address);
    let answer = ask(
        proxy.address,
        b"GET /a?b=c HTTP/1.1\r\nhost: a.example\r\nconnection: close, x-secret\r\nx-secret: 1\r\n\
            x-forwarded-for: 10.0.0.1\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(!answer.contains("keep-alive"), "{answer}");
    let asked = serves.join().unwrap();
    assert!(asked.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{asked}");
    for line in [
        "x-forwarded-for: 10.0.0.1, 127.0.0.1".to_owned(),
        "x-forwarded-host: a.example".to_owned(),
        "x-forwarded-proto: http".to_owned(),
        format!("host: {address}"),
    ] {
        assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line} is not in {asked}");
    }
    assert!(!asked.contains("x-secret") && !asked.contains("close"), "{asked}");
}

/// An upstream that agreed to `h2c` would take requests that the proxy never sees.
#[test]
fn an_upgrade_to_anything_but_websocket_alone_is_not_passed_on() {
    let ask_for = |to, upgrade: &str| {
        let asks = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, upgrade\r\n{upgrade}\r\n\
                http2-settings: AAMAAABkAAQAAP__\r\n\r\n"
        );
        ask(to, asks.as_bytes())
    };
    for upgrade in ["upgrade: h2c", "upgrade: websocket, h2c", "upgrade: websocket\r\nupgrade: h2c"] {
        let (address, serves) = upstream(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let answer = ask_for(Program::proxy(address).address, upgrade);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
        let asked = serves.join().unwrap();
        assert!(!asked.contains("upgrade") && !asked.contains("http2-settings"), "{upgrade}: {asked}");
    }
    let (address, serves) =
        upstream(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n");
    let answer = ask_for(Program::proxy(address).address, "upgrade: WebSocket");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let asked = serves.join().unwrap();
    assert!(asked.contains("\r\nupgrade: websocket\r\n") && !asked.contains("http2-settings"), "{asked}");
}

#[test]
fn an_upstream_that_is_not_there_is_502() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Program::proxy(nobody);
    let answer = ask(proxy.address, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[test]
fn an_upstream_that_dies_in_the_middle_of_a_body_ends_the_answer_as_unfinished() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this"[..],
        &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n"[..],
    ] {
        let (address, serves) = upstream(answer);
        let proxy = Program::proxy(address);
        let mut client = connect(proxy.address);
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let head = head(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut body = Vec::new();
        // Kept alive, the connection would go on: its end is what says that something is missing.
        let _reset_or_end = client.read_to_end(&mut body);
        assert!(!body.ends_with(b"0\r\n\r\n") && body.len() < 1000, "{body:?}");
        serves.join().unwrap();
    }
}

/// Such an answer ends with its connection, so its length is known by a clean end alone. The proxy's own is
/// in chunks.
#[test]
fn an_old_upstream_that_breaks_off_ends_the_answer_as_unfinished() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Program::proxy(listener.local_addr().unwrap());
    let mut client = connect(proxy.address);
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let (mut old, _) = listener.accept().unwrap();
    head(&mut old);
    old.write_all(b"HTTP/1.0 200 OK\r\n\r\nonly this").unwrap();
    let said = head(&mut client);
    assert!(said.starts_with("HTTP/1.1 200 ") && said.contains("transfer-encoding: chunked"), "{said}");
    let mut chunk = [0; 14];
    client.read_exact(&mut chunk).unwrap();
    assert_eq!(&chunk, b"9\r\nonly this\r\n");
    socket2::SockRef::from(&old).set_linger(Some(Duration::ZERO)).unwrap();
    drop(old);
    let mut rest = Vec::new();
    let _reset_or_end = client.read_to_end(&mut rest);
    assert!(rest.is_empty(), "it looks whole: {rest:?}");
}

/// The status of the answer to a request over HTTP/2.
fn status_over_http2(to: SocketAddr, request: request::Builder) -> StatusCode {
    let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
    runtime.block_on(async {
        let stream = ringwork::net::TcpStream::connect(to).await.unwrap();
        let http = hyper::client::conn::http2::Builder::new(Executor);
        let (mut client, connection) = http.handshake::<_, Empty<Bytes>>(stream).await.unwrap();
        drop(ringwork::spawn(connection));
        client.send_request(request.body(Empty::new()).unwrap()).await.unwrap().status()
    })
}

/// Sends a request over HTTP/2 through a proxy; gives what the upstream was asked over HTTP/1.
fn asked_over_http2(request: request::Builder) -> String {
    let (address, serves) = upstream(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let proxy = Program::proxy(address);
    assert_eq!(status_over_http2(proxy.address, request), StatusCode::OK);
    serves.join().unwrap()
}

#[test]
fn a_request_is_put_as_its_next_connection_has_it() {
    let request = Request::get("http://a.example/").header("cookie", "a=1").header("cookie", "b=2");
    let asked = asked_over_http2(request.header("te", "trailers"));
    for line in ["cookie: a=1; b=2", "te: trailers", "connection: TE", "via: 2.0 http_proxy"] {
        assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line} is not in {asked}");
    }
}

/// The lines with which the upstream is told of a host.
fn forwarded_hosts(asked: &str) -> Vec<&str> {
    asked.lines().filter(|line| line.starts_with("x-forwarded-host: ")).collect()
}

#[test]
fn the_upstream_is_told_the_host_that_the_target_names_and_none_that_a_client_claims() {
    for (target, lines, told) in [
        ("http://a.example/", "host: evil.example", &["x-forwarded-host: a.example"][..]),
        ("/", "host: a.example\r\nx-forwarded-host: evil.example", &["x-forwarded-host: a.example"]),
        (
            "/",
            "host: a.example\r\nconnection: host\r\nx-forwarded-host: evil.example",
            &["x-forwarded-host: a.example"],
        ),
        ("/", "x-forwarded-host: evil.example", &[]),
        ("/", "host: a.example\r\nforwarded: host=evil.example", &["x-forwarded-host: a.example"]),
        ("/", "host: a.example\r\nx-forwarded-port: 66", &["x-forwarded-host: a.example"]),
        ("/", "host: a.example\r\nx-real-ip: 6.6.6.6", &["x-forwarded-host: a.example"]),
    ] {
        let (address, serves) = upstream(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let request = format!("GET {target} HTTP/1.1\r\n{lines}\r\nconnection: close\r\n\r\n");
        assert!(ask(Program::proxy(address).address, request.as_bytes()).starts_with("HTTP/1.1 200 "));
        let asked = serves.join().unwrap();
        assert_eq!(forwarded_hosts(&asked), told, "{request}");
        let claims = ["\r\nforwarded:", "\r\nx-forwarded-port:", "\r\nx-real-ip:"];
        assert!(!claims.iter().any(|claim| asked.contains(claim)), "{asked}");
        assert!(asked.contains(&format!("\r\nhost: {address}\r\n")), "{asked}");
    }
    let asked = asked_over_http2(Request::get("http://a.example/").header("host", "evil.example"));
    assert_eq!(forwarded_hosts(&asked), ["x-forwarded-host: a.example"]);
}

#[test]
fn a_request_without_one_host_is_400_and_a_connect_405_and_the_upstream_is_not_asked() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    upstream.set_nonblocking(true).unwrap();
    let proxy = Program::proxy(upstream.local_addr().unwrap());
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost: a.example\r\nhost: b.example", "400"),
        ("GET http://a.example/ HTTP/1.1\r\nhost: a.example\r\nhost: a.example", "400"),
        ("GET / HTTP/1.1\r\nhost: a.example/path", "400"),
        ("GET / HTTP/1.1\r\nhost: me@a.example", "400"),
        ("CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443", "405"),
    ] {
        let answer = ask(proxy.address, format!("{request}\r\nconnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert_eq!(status == "405", answer.contains("\r\nallow: GET, "), "{answer}");
    }
    let status = status_over_http2(proxy.address, Request::connect("a.example:443"));
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(upstream.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_426_names_the_protocol_that_its_upstream_wants() {
    let (address, _serves) = upstream(
        b"HTTP/1.1 426 Upgrade Required\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            content-length: 0\r\n\r\n",
    );
    let proxy = Program::proxy(address);
    let answer = ask(proxy.address, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
}

/// A proxy whose complaints are the test's to read.
fn proxy_that_is_heard(upstream: SocketAddr) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http_proxy"));
    command.args(["--listen", "127.0.0.1:0", "--cores", "1", "--upstream", &format!("http://{upstream}")]);
    Program::spawn(command.stderr(Stdio::piped()))
}

/// Ends a program; gives what it has said on stderr.
fn said_by(mut program: Program) -> String {
    signal(program.child.id(), "TERM");
    let mut said = String::new();
    program.child.stderr.take().expect("piped").read_to_string(&mut said).unwrap();
    said
}

#[test]
fn a_body_that_the_client_breaks_is_400_and_no_fault_of_the_upstream() {
    // The kernel accepts for it, and it says nothing.
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_that_is_heard(upstream.local_addr().unwrap());
    let broken = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let answer = ask(proxy.address, broken);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let said = said_by(proxy);
    assert!(!said.contains("upstream"), "{said}");
}

#[test]
fn an_upstream_that_stays_away_is_complained_of_now_and_then() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = proxy_that_is_heard(nobody);
    for _ in 0..5 {
        let answer = ask(proxy.address, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
    let said = said_by(proxy);
    assert_eq!(said.matches("the upstream did not answer: ").count(), 1, "{said}");
}

#[test]
fn a_proxy_whose_complaints_nobody_reads_still_answers() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut proxy = proxy_that_is_heard(nobody);
    drop(proxy.child.stderr.take());
    let answer = ask(proxy.address, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

/// A text frame as a client sends it, with a mask that changes nothing.
fn say(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    stream.write_all(&frame).unwrap();
}

fn hear(stream: &mut TcpStream) -> String {
    let mut start = [0; 2];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(start[0], 0x81, "a text, whole");
    let mut text = vec![0; usize::from(start[1])];
    stream.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_chat_goes_through_the_proxy_and_past_it() {
    let app = Program::app();
    let proxy = Program::proxy(app.address);
    let enter = |to: SocketAddr| {
        let mut stream = connect(to);
        let ask = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(ask).unwrap();
        let head = head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // The example of RFC 6455, 1.3.
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        // Whoever hears its own line is in the room.
        say(&mut stream, "in");
        while hear(&mut stream) != "in" {}
        stream
    };
    let (mut through, mut past) = (enter(proxy.address), enter(app.address));
    assert_eq!(hear(&mut through), "in", "of the other");
    say(&mut through, "hello");
    assert_eq!((hear(&mut through), hear(&mut past)), ("hello".to_owned(), "hello".to_owned()));
    say(&mut past, "and back");
    assert_eq!((hear(&mut through), hear(&mut past)), ("and back".to_owned(), "and back".to_owned()));
}

#[test]
fn who_asks_the_chat_for_another_version_or_for_none_is_told_which_it_speaks() {
    let app = Program::app();
    for version in ["", "sec-websocket-version: 8\r\n", "sec-websocket-version: 13, 8\r\n"] {
        let mut stream = connect(app.address);
        let ask = format!(
            "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
            {version}sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).unwrap();
        let head = head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
        assert!(head.contains("\r\nsec-websocket-version: 13\r\n"), "{head}");
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    }
}

/// Talks to a server over HTTP/2, and asks it for WebSocket as a browser does.
async fn enter_over_http2(to: SocketAddr) -> Result<WebSocketStream<TokioIo<Upgraded>>, StatusCode> {
    let stream = ringwork::net::TcpStream::connect(to).await.unwrap();
    let http = hyper::client::conn::http2::Builder::new(Executor);
    let (mut client, connection) = http.handshake::<_, Empty<Bytes>>(stream).await.unwrap();
    drop(ringwork::spawn(connection));
    // An answer comes behind the server's settings.
    let first = Request::get("http://a/").body(Empty::new()).unwrap();
    assert_eq!(client.send_request(first).await.unwrap().status(), StatusCode::OK);
    let ask = Request::connect("http://a/chat").header("sec-websocket-version", "13");
    let mut ask = ask.body(Empty::new()).unwrap();
    ask.extensions_mut().insert(Protocol::from_static("websocket"));
    // Where the settings do not offer it, the request is not sent.
    let Ok(response) = client.send_request(ask).await else { return Err(StatusCode::NOT_IMPLEMENTED) };
    if response.status() != StatusCode::OK {
        return Err(response.status());
    }
    let upgraded = for_hyper(hyper::upgrade::on(response).await.unwrap());
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
}

async fn chat_over_http2(to: SocketAddr) -> Result<String, StatusCode> {
    let mut socket = enter_over_http2(to).await?;
    socket.send(Message::text("over HTTP/2")).await.unwrap();
    Ok(socket.next().await.unwrap().unwrap().into_text().unwrap().to_string())
}

#[test]
fn a_chat_goes_over_http2_where_it_is_offered_and_the_proxy_does_not_offer_it() {
    let app = Program::app();
    let proxy = Program::proxy(app.address);
    let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
    assert_eq!(runtime.block_on(chat_over_http2(app.address)), Ok("over HTTP/2".to_owned()));
    assert_eq!(runtime.block_on(chat_over_http2(proxy.address)), Err(StatusCode::NOT_IMPLEMENTED));
}

/// Not like one over HTTP/1, which has a connection of its own.
#[test]
fn a_chat_over_http2_is_cut_with_its_connection_when_the_server_has_waited_for_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_axum_app"));
    command.args(["--listen", "127.0.0.1:0", "--cores", "1"]).stderr(Stdio::piped());
    let mut app = Program::spawn(&mut command);
    let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
    let mut socket = runtime.block_on(enter_over_http2(app.address)).unwrap();
    signal(app.child.id(), "TERM");
    runtime.block_on(async { while let Some(Ok(_)) = socket.next().await {} });
    assert_eq!(app.child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    app.child.stderr.take().expect("piped").read_to_string(&mut said).unwrap();
    assert!(said.contains("1 connections did not end"), "{said}");
}

#[test]
fn a_signal_lets_a_request_in_flight_end_and_the_program_with_it() {
    for through_proxy in [false, true] {
        let app = Program::app();
        let mut last = if through_proxy {
            Program::proxy(app.address)
        } else {
            Program::start(env!("CARGO_BIN_EXE_axum_app"), &[])
        };
        let mut client = connect(last.address);
        client.write_all(b"PUT /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n\x01").unwrap();
        // A second one, whose answer says that the first has been read.
        assert!(
            ask(last.address, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").contains("</html>")
        );
        let pid = last.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        // It has heard the signal when nobody accepts any more.
        while TcpStream::connect(last.address).is_ok() {}
        client.write_all(&[1, 1, 1]).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
        assert!(answer.ends_with("{\"bytes\":4,\"sum\":4}"), "{answer}");
        assert_eq!(last.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn wrong_arguments_are_one_line_and_exit_2() {
    for args in
        [&["--listen", "nowhere"][..], &["--upstream", "https://a"], &["--tls-cert", "only"], &["--what"]]
    {
        let ended = Command::new(env!("CARGO_BIN_EXE_http_proxy")).args(args).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{args:?}");
        assert_eq!(String::from_utf8(ended.stderr).unwrap().lines().count(), 1, "{args:?}");
    }
}

#[test]
fn a_server_without_descriptors_says_so_and_a_second_signal_ends_it_at_once() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_axum_app")]);
    command.args(["--listen", "127.0.0.1:0", "--cores", "1"]).stderr(Stdio::piped());
    let mut app = Program::spawn(&mut command);
    let mut said = BufReader::new(app.child.stderr.take().expect("piped"));
    let clients: Vec<TcpStream> = (0..100).map(|_| connect(app.address)).collect();
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let names = ["axum_app: cannot accept connections: Too many open files", "`ulimit -n`"];
    assert!(names.iter().all(|name| line.contains(name)), "{line:?}");
    drop(clients);

    // One request is under way: its head has come, its body has not.
    let mut client = connect(app.address);
    client.write_all(b"GET /count HTTP/1.1\r\nhost: a\r\n\r\nPOST /upload HTTP/1.1\r\nhost: a\r\n").unwrap();
    client.write_all(b"content-length: 9\r\n\r\n").unwrap();
    head(&mut client);
    let id = app.child.id();
    signal(id, "TERM");
    line.clear();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("a second signal"), "{line:?}");
    signal(id, "INT");
    assert!(app.child.wait().unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("axum_app: stopping at once"), "{rest:?}");
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}
