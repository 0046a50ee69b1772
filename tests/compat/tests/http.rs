//! hyper over ringwork's streams: both versions of HTTP, both sides, its executors and its timer.

mod everywhere;
#[path = "../../support/mod.rs"]
mod support;

use bytes::Bytes;
use everywhere::{everywhere, fill};
use futures_lite::future::zip;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use ringwork::compat::hyper::{Connector, Executor, LocalExecutor, Timer};
use ringwork::net::TcpStream;
use ringwork::{Server, serve_per_core};
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use support::{assert_pattern, half_std_pair, on_cores, pair, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PIECE: usize = 60_000;
const BULK: usize = 64 * 1024 * 1024;

type Content = BoxBody<Bytes, Infallible>;

/// The pattern as a body, made piece by piece.
struct Pattern {
    at: usize,
    end: usize,
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = PIECE.min(self.end - self.at);
        let bytes = pattern(self.at, len);
        self.at += len;
        Poll::Ready((len > 0).then(|| Ok(Frame::data(bytes.into()))))
    }
}

/// Checks that a body is the pattern; returns its length.
async fn check(mut body: Incoming) -> usize {
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.expect("the body arrives whole").into_data() {
            assert_pattern(at, &bytes);
            at += bytes.len();
        }
    }
    at
}

fn whole(bytes: impl Into<Bytes>) -> Content {
    Full::new(bytes.into()).boxed()
}

/// Answers `/`, `/close` (and closes), `/bulk/N` (N bytes of the pattern) and an upload (its length), and
/// echoes after an upgrade.
async fn answer(mut request: Request<Incoming>) -> Result<Response<Content>, Infallible> {
    if request.headers().contains_key(header::UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        drop(ringwork::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        }));
        let mut response = Response::new(Empty::new().boxed());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
        return Ok(response);
    }
    let path = request.uri().path().to_owned();
    let mut response = Response::new(match (request.method(), path.strip_prefix("/bulk/")) {
        (_, Some(len)) => Pattern { at: 0, end: len.parse().unwrap() }.boxed(),
        (&Method::PUT, None) => whole(check(request.into_body()).await.to_string()),
        _ => whole("hello"),
    });
    if path == "/close" {
        response.headers_mut().insert(header::CONNECTION, "close".parse().unwrap());
    }
    Ok(response)
}

/// A server of both versions; returns the connections it has had, too.
async fn server() -> (Server, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let handler = move |stream: TcpStream, _peer: SocketAddr| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut builder = auto::Builder::new(Executor);
            builder.http1().timer(Timer);
            builder.http2().timer(Timer);
            let served = builder.serve_connection_with_upgrades(stream, service_fn(answer)).await;
            // A client that goes away without a word is no news.
            drop(served);
        }
    };
    (serve_per_core("127.0.0.1:0".parse().unwrap(), handler).await.unwrap(), connections)
}

fn request(method: Method, path: &str, body: Content) -> Request<Content> {
    Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header(header::HOST, "localhost")
        .body(body)
        .unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_flush_of_hypers_waits_for_nothing_and_who_reads_is_woken_when_a_write_fails() {
    everywhere(1, |_| async {
        let (mut stream, mut peer) = half_std_pair();
        // The same task has used the other shape before: what it has left there must not do for the waker.
        peer.write_all(b"before").unwrap();
        assert_eq!(&*stream.recv_pooled().await.unwrap(), b"before");
        fill(&mut stream).await;
        let mut polls = 0;
        let told = std::future::poll_fn(|cx| {
            polls += 1;
            let mut room = [0; 8];
            let mut room = hyper::rt::ReadBuf::new(&mut room);
            let read = hyper::rt::Read::poll_read(Pin::new(&mut stream), cx, room.unfilled());
            assert!(read.is_pending(), "the peer has sent nothing");
            let Poll::Ready(flushed) = hyper::rt::Write::poll_flush(Pin::new(&mut stream), cx) else {
                panic!("it waits although nothing is left to be done");
            };
            if polls == 1 {
                // Ends the send in flight, and nothing else of the stream.
                socket2::SockRef::from(&stream).shutdown(std::net::Shutdown::Write).unwrap();
            }
            flushed.map_or_else(Poll::Ready, |()| Poll::Pending)
        });
        assert_eq!(told.await.kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn http1_keeps_a_connection_alive_and_streams_bodies_both_ways() {
    on_cores(2, |_| async {
        let (server, connections) = server().await;
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let connection = ringwork::spawn(connection);
        for _ in 0..100 {
            client.ready().await.unwrap();
            let response =
                client.send_request(request(Method::GET, "/", Empty::new().boxed())).await.unwrap();
            assert_eq!(text(response).await, "hello");
        }
        let upload = request(Method::PUT, "/", Pattern { at: 0, end: BULK }.boxed());
        client.ready().await.unwrap();
        assert_eq!(text(client.send_request(upload).await.unwrap()).await, BULK.to_string());
        let download = request(Method::GET, &format!("/bulk/{BULK}"), Empty::new().boxed());
        client.ready().await.unwrap();
        assert_eq!(check(client.send_request(download).await.unwrap().into_body()).await, BULK);
        drop(client);
        connection.await.unwrap().unwrap();
        assert_eq!(connections.load(Ordering::SeqCst), 1);
        server.stop(Duration::from_secs(5)).await;
    });
}

#[test]
fn http2_carries_many_streams_and_large_bodies_both_ways_at_once() {
    on_cores(2, |_| async {
        let (server, connections) = server().await;
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(Executor);
        let (client, connection) = builder.timer(Timer).handshake(stream).await.unwrap();
        let connection = ringwork::spawn(connection);
        let up = request(Method::PUT, "/", Pattern { at: 0, end: BULK }.boxed());
        let down = request(Method::GET, &format!("/bulk/{BULK}"), Empty::new().boxed());
        let (mut one, mut other) = (client.clone(), client.clone());
        let small: Vec<_> = (0..32)
            .map(|_| {
                let mut client = client.clone();
                ringwork::spawn(async move {
                    let hello = request(Method::GET, "/", Empty::new().boxed());
                    text(client.send_request(hello).await.unwrap()).await
                })
            })
            .collect();
        let up = async { text(one.send_request(up).await.unwrap()).await };
        let down = async { check(other.send_request(down).await.unwrap().into_body()).await };
        assert_eq!(zip(up, down).await, (BULK.to_string(), BULK));
        for small in small {
            assert_eq!(small.await.unwrap(), "hello");
        }
        drop((client, one, other));
        connection.await.unwrap().unwrap();
        assert_eq!(connections.load(Ordering::SeqCst), 1);
        server.stop(Duration::from_secs(5)).await;
    });
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways_behind_the_head() {
    on_cores(2, |_| async {
        let (server, _) = server().await;
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        drop(ringwork::spawn(connection.with_upgrades()));
        let mut ask = request(Method::GET, "/", Empty::new().boxed());
        ask.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
        ask.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
        let response = client.send_request(ask).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let parts = upgraded.downcast::<TcpStream>().expect("it is our stream");
        assert_eq!(parts.read_buf, "");
        let (mut reader, mut writer) = parts.io.into_split();
        let sends = async {
            writer.write_all(&pattern(0, 1_000_000)).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let receives = async {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.unwrap();
            all
        };
        let ((), all) = zip(sends, receives).await;
        assert_eq!(all.len(), 1_000_000);
        assert_pattern(0, &all);
        server.stop(Duration::from_secs(5)).await;
    });
}

#[test]
fn the_pooled_client_reuses_a_connection_and_connects_anew_after_it_was_closed() {
    on_cores(2, |_| async {
        let (server, connections) = server().await;
        let address = server.local_addr();
        let client: Client<_, Empty<Bytes>> =
            Client::builder(Executor).pool_timer(Timer).timer(Timer).build(Connector::new());
        for _ in 0..50 {
            let hello = format!("http://{address}/").parse().unwrap();
            assert_eq!(text(client.get(hello).await.unwrap()).await, "hello");
        }
        // A request may come before the connection of the one before is back in the pool.
        let opened = connections.load(Ordering::SeqCst);
        assert!(opened <= 25, "{opened} connections for 50 requests");
        for _ in 0..10 {
            let close = format!("http://{address}/close").parse().unwrap();
            assert_eq!(text(client.get(close).await.unwrap()).await, "hello");
        }
        assert!(connections.load(Ordering::SeqCst) >= 10, "each of these ended its connection");
        let bulk = client.get(format!("http://{address}/bulk/1000000").parse().unwrap()).await.unwrap();
        assert_eq!(check(bulk.into_body()).await, 1_000_000);
        drop(client);
        assert!(server.stop(Duration::from_secs(20)).await, "the pool's connections ended with it");
    });
}

#[test]
fn local_tasks_of_http2_stay_on_their_core_and_need_not_be_send() {
    on_cores(2, |handle| async move {
        let served = handle.spawn_on(1, || async {
            let (server, client) = pair().await;
            let calls = Rc::new(std::cell::Cell::new(0));
            let service = service_fn(|_: Request<Incoming>| {
                let calls = Rc::clone(&calls);
                async move {
                    assert_eq!(ringwork::core::current(), Some(1));
                    calls.set(calls.get() + 1);
                    Ok::<_, Infallible>(Response::new(whole("local")))
                }
            });
            let http = hyper::server::conn::http2::Builder::new(LocalExecutor);
            let serves = http.serve_connection(server, service);
            let asks = async {
                let http = hyper::client::conn::http2::Builder::new(LocalExecutor);
                let (mut client, connection) = http.handshake(client).await.unwrap();
                let connection = ringwork::spawn_local(connection);
                for _ in 0..10 {
                    let ask = request(Method::GET, "/", Empty::new().boxed());
                    assert_eq!(text(client.send_request(ask).await.unwrap()).await, "local");
                }
                drop(client);
                connection.await.unwrap().unwrap();
            };
            zip(serves, asks).await.0.unwrap();
            assert_eq!(calls.get(), 10);
        });
        served.await.unwrap();
    });
}

#[test]
fn a_head_that_never_comes_ends_the_connection_by_the_runtimes_clock() {
    let runtime = ringwork::runtime::Builder::new().cores(1).start_paused(true).build().unwrap();
    let task = runtime.handle().spawn_on(0, || async {
        let start = ringwork::time::Instant::now();
        let (server, mut peer) = half_std_pair();
        peer.write_all(b"GET / HT").unwrap();
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(Timer).header_read_timeout(Duration::from_secs(3600));
        let error = http.serve_connection(server, service_fn(answer)).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(start.elapsed() >= Duration::from_secs(3600));
        peer
    });
    let mut peer = runtime.block_on(task).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
}

#[test]
fn a_peer_that_dies_in_the_middle_of_a_body_is_an_error_and_no_hang() {
    on_cores(1, |_| async {
        let (server, mut peer) = half_std_pair();
        peer.write_all(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nonly this").unwrap();
        let failed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&failed);
        let service = service_fn(move |request: Request<Incoming>| {
            drop(peer.shutdown(std::net::Shutdown::Both));
            let count = Arc::clone(&count);
            async move {
                count.fetch_add(usize::from(request.into_body().collect().await.is_err()), Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(whole("")))
            }
        });
        let _ended = hyper::server::conn::http1::Builder::new().serve_connection(server, service).await;
        assert_eq!(failed.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_body_of_frames_that_come_one_by_one_is_sent_as_they_come() {
    on_cores(1, |_| async {
        let (server, client) = pair().await;
        let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
        let receive = std::sync::Mutex::new(Some(receive));
        let service = service_fn(|_: Request<Incoming>| {
            let mut receive = receive.lock().unwrap().take().expect("one request");
            let frames = futures_lite::stream::poll_fn(move |cx| receive.poll_recv(cx));
            let frames =
                futures_lite::StreamExt::map(frames, |bytes| Ok::<_, Infallible>(Frame::data(bytes)));
            async { Ok::<_, Infallible>(Response::new(StreamBody::new(frames))) }
        });
        let serves = hyper::server::conn::http1::Builder::new().serve_connection(server, service);
        let asks = async {
            let (mut client, connection) = hyper::client::conn::http1::handshake(client).await.unwrap();
            let connection = ringwork::spawn(connection);
            let ask = request(Method::GET, "/", Empty::new().boxed());
            let mut body = client.send_request(ask).await.unwrap().into_body();
            for n in 0..20u8 {
                // The one before has arrived, so nothing pushes this one out but its own flush.
                send.send(Bytes::from(vec![n])).await.unwrap();
                let frame = body.frame().await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), vec![n]);
            }
            drop(send);
            assert!(body.frame().await.is_none());
            drop(client);
            connection.await.unwrap().unwrap();
        };
        zip(serves, asks).await.0.unwrap();
    });
}
