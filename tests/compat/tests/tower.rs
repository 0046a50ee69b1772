//! The HTTP server for make-services: what clients get, what a bad one can do, and how it ends.

#[path = "../../support/mod.rs"]
mod support;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use ringwork::compat::hyper::Executor;
use ringwork::compat::tower::{IncomingStream, Serve, Server, serve};
use ringwork::net::{ListenOptions, TcpStream};
use ringwork::runtime::Handle;
use ringwork::time::sleep;
use ringwork::{Balance, runtime};
use std::convert::Infallible;
use std::future::{Future, IntoFuture, ready};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{LIMIT, Levels, alone, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tower::service_fn;

/// One test at a time: some count the descriptors of the process.
fn on_cores<F: Future<Output = ()>>(cores: usize, test: impl FnOnce(Handle) -> F + Send + 'static) {
    let _alone = alone();
    support::on_cores(cores, test);
}

/// What the handlers of a test and the test say to each other.
#[derive(Clone)]
struct Talk {
    /// Requests that have begun.
    begun: Arc<AtomicUsize>,
    /// One permit lets one `/slow` go on.
    go: Arc<Semaphore>,
    /// Futures of handlers that are alive.
    alive: Arc<AtomicUsize>,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Talk {
    fn new() -> Self {
        Self { begun: Arc::default(), go: Arc::new(Semaphore::new(0)), alive: Arc::default() }
    }

    async fn begun(&self, count: usize) {
        while self.begun.load(Ordering::SeqCst) < count {
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn answer(
        self,
        peer: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Result<Response<String>, Infallible> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.alive.fetch_add(1, Ordering::SeqCst);
        let _alive = Alive(Arc::clone(&self.alive));
        let mut response = Response::new(peer.to_string());
        match request.uri().path() {
            "/slow" => self.go.acquire().await.unwrap().forget(),
            "/panic" => panic!("a handler that panics, as the test wants"),
            "/upgrade" => {
                let upgrade = hyper::upgrade::on(&mut request);
                drop(ringwork::spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
                    tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                    writer.shutdown().await.unwrap();
                }));
                *response.body_mut() = String::new();
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                response.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
                response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
            }
            _ => {}
        }
        Ok(response)
    }
}

/// A make-service whose services know their client.
macro_rules! make {
    ($talk:expr) => {{
        let talk: Talk = $talk.clone();
        service_fn(move |incoming: IncomingStream<'_>| {
            let (talk, peer) = (talk.clone(), incoming.remote_addr());
            ready(Ok::<_, Infallible>(service_fn(move |request| talk.clone().answer(peer, request))))
        })
    }};
}

fn anywhere() -> ringwork::Serve {
    ringwork::Serve::new("127.0.0.1:0".parse().unwrap())
}

/// A server, and what its handlers say.
async fn server() -> (Server, Talk) {
    let talk = Talk::new();
    (serve(anywhere(), make!(talk)).start().await.unwrap(), talk)
}

/// Sends a request on a connection and reads one answer with its length given.
async fn ask(client: &mut TcpStream, path: &str) -> String {
    client.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    answer(client).await
}

async fn answer(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.expect("an answer comes"));
    }
    let head = String::from_utf8(head).unwrap();
    let len = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap_or("0");
    let mut body = vec![0; len.parse().unwrap()];
    client.read_exact(&mut body).await.unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

/// Waits for the end of a connection on which nothing comes any more.
async fn ends(client: &mut TcpStream) {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest).await {
        Ok(_) => assert_eq!(rest, b"", "nothing but the end"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.local_addr()).await.unwrap()
}

type Client = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

async fn connect_http2(server: &Server) -> Client {
    let http = hyper::client::conn::http2::Builder::new(Executor);
    let (client, connection) = http.handshake(connect(server).await).await.unwrap();
    drop(ringwork::spawn(connection));
    client
}

async fn get(client: &mut Client, path: &str) -> hyper::Result<Response<Incoming>> {
    let uri = format!("http://localhost{path}");
    client.send_request(Request::get(uri).body(Empty::new()).unwrap()).await
}

#[test]
fn both_versions_of_http_are_served_and_a_service_is_made_for_each_connection() {
    on_cores(2, |_| async {
        let (server, talk) = server().await;
        for _ in 0..4 {
            let mut client = connect(&server).await;
            let me = client.local_addr().unwrap().to_string();
            for _ in 0..3 {
                assert!(ask(&mut client, "/").await.ends_with(&me));
            }
        }
        let mut client = connect_http2(&server).await;
        for _ in 0..3 {
            let body = get(&mut client, "/").await.unwrap().into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(b"127.0.0.1:"), "{body:?}");
        }
        assert_eq!(talk.begun.load(Ordering::SeqCst), 15);
        drop(client);
        assert_eq!(server.stop(LIMIT).await, 0);
    });
}

#[test]
fn a_request_in_flight_is_answered_after_the_word_to_stop_and_idle_connections_are_closed() {
    on_cores(2, |handle| async move {
        let levels = Levels::at_start(&handle).await;
        let (server, talk) = server().await;
        let (mut idle, mut busy) = (connect(&server).await, connect(&server).await);
        assert!(ask(&mut idle, "/").await.starts_with("HTTP/1.1 200 "));
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut http2 = connect_http2(&server).await;
        let slow = ringwork::spawn(async move { get(&mut http2, "/slow").await });
        talk.begun(3).await;
        let address = server.local_addr();
        let stopping = ringwork::spawn(server.stop(LIMIT));
        // Closed while the slow requests wait: they are what the server waits for.
        ends(&mut idle).await;
        assert!(!stopping.is_finished());
        // What comes before the listeners have closed is accepted, and closed for want of a request.
        while TcpStream::connect(address).await.is_ok() {}
        talk.go.add_permits(2);
        let last = answer(&mut busy).await;
        assert!(last.starts_with("HTTP/1.1 200 ") && last.contains("connection: close"), "{last}");
        ends(&mut busy).await;
        assert_eq!(slow.await.unwrap().unwrap().status(), 200);
        assert_eq!(stopping.await.unwrap(), 0);
        drop((idle, busy));
        levels.return_on(&handle).await;
    });
}

#[test]
fn what_is_not_answered_at_the_deadline_is_cut_and_counted_and_its_handlers_are_dropped() {
    on_cores(2, |handle| async move {
        let levels = Levels::at_start(&handle).await;
        let (server, talk) = server().await;
        let mut busy = [connect(&server).await, connect(&server).await];
        for client in &mut busy {
            client.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        }
        let mut http2 = connect_http2(&server).await;
        let slow = ringwork::spawn(async move { get(&mut http2, "/slow").await });
        talk.begun(3).await;
        assert_eq!(server.stop(Duration::from_millis(200)).await, 3);
        for client in &mut busy {
            ends(client).await;
        }
        slow.await.unwrap().unwrap_err();
        while talk.alive.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        drop(busy);
        levels.return_on(&handle).await;
    });
}

#[test]
fn what_the_kernel_had_accepted_before_the_word_to_stop_is_served() {
    on_cores(2, |_| async {
        let (server, _talk) = server().await;
        let mut clients = Vec::new();
        for _ in 0..50 {
            let mut client = connect(&server).await;
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            clients.push(client);
        }
        let mut http2 = connect_http2(&server).await;
        let (stopped, answered) = futures_lite::future::zip(server.stop(LIMIT), get(&mut http2, "/")).await;
        assert_eq!((stopped, answered.unwrap().status()), (0, StatusCode::OK));
        for client in &mut clients {
            assert!(answer(client).await.starts_with("HTTP/1.1 200 "));
        }
    });
}

#[test]
fn a_panic_in_a_handler_ends_its_connection_or_stream_and_nothing_else() {
    on_cores(2, |_| async {
        let (server, _talk) = server().await;
        let (mut good, mut bad) = (connect(&server).await, connect(&server).await);
        bad.write_all(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        ends(&mut bad).await;
        let mut http2 = connect_http2(&server).await;
        get(&mut http2, "/panic").await.unwrap_err();
        assert_eq!(get(&mut http2, "/").await.unwrap().status(), 200, "on the same connection");
        assert!(ask(&mut good, "/").await.starts_with("HTTP/1.1 200 "));
        drop(http2);
        assert_eq!(server.stop(LIMIT).await, 0);
    });
}

#[test]
fn a_make_service_that_fails_or_panics_costs_one_connection() {
    on_cores(1, |_| async {
        let (talk, count) = (Talk::new(), Arc::new(AtomicUsize::new(0)));
        let make = service_fn(move |incoming: IncomingStream<'_>| {
            let (talk, peer) = (talk.clone(), incoming.remote_addr());
            ready(match count.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("a make-service that panics, as the test wants"),
                1 => Err(io::Error::other("not today")),
                _ => Ok(service_fn(move |request| talk.clone().answer(peer, request))),
            })
        });
        let server = serve(anywhere(), make).start().await.unwrap();
        for _ in 0..2 {
            ends(&mut connect(&server).await).await;
        }
        assert!(ask(&mut connect(&server).await, "/").await.starts_with("HTTP/1.1 200 "));
        assert_eq!(server.stop(LIMIT).await, 0);
    });
}

#[test]
fn an_upgraded_connection_outlives_the_server() {
    on_cores(2, |_| async {
        let (server, talk) = server().await;
        let mut client = connect(&server).await;
        let head = b"GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        client.write_all(head).await.unwrap();
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 101 "));
        talk.begun(1).await;
        assert_eq!(server.stop(LIMIT).await, 0, "it is not waited for");
        client.write_all(b"still here").await.unwrap();
        let mut echo = [0; 10];
        client.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"still here");
    });
}

/// Runs against the paused clock of one core: limits are as long as they are in life.
fn on_paused_core<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    let _alone = alone();
    within(LIMIT, move || {
        let runtime = runtime::Builder::new().cores(1).start_paused(true).build().unwrap();
        runtime.block_on(runtime.handle().spawn_on(0, test)).unwrap();
    });
}

#[test]
fn whoever_sends_no_request_in_time_is_closed_whatever_it_began_with() {
    for beginning in
        ["", "PRI", "GET / HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"]
    {
        on_paused_core(move || async move {
            let talk = Talk::new();
            let server =
                serve(anywhere(), make!(talk)).head_time(Duration::from_secs(3600)).start().await.unwrap();
            let start = ringwork::time::Instant::now();
            let mut client = connect(&server).await;
            client.write_all(beginning.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _reset_or_end = client.read_to_end(&mut rest).await;
            assert!(start.elapsed() >= Duration::from_secs(3600), "{beginning:?}: {:?}", start.elapsed());
            assert_eq!(talk.begun.load(Ordering::SeqCst), usize::from(beginning.ends_with("a\r\n\r\n")));
        });
    }
}

#[test]
fn a_request_may_take_longer_than_its_head() {
    on_paused_core(|| async {
        let talk = Talk::new();
        let server = serve(anywhere(), make!(talk)).head_time(Duration::from_secs(5)).start().await.unwrap();
        let (mut client, mut http2) = (connect(&server).await, connect_http2(&server).await);
        let waits = async {
            talk.begun(2).await;
            sleep(Duration::from_secs(3600)).await;
            talk.go.add_permits(2);
        };
        let asks = futures_lite::future::zip(ask(&mut client, "/slow"), get(&mut http2, "/slow"));
        let (answers, ()) = futures_lite::future::zip(asks, waits).await;
        assert!(answers.0.starts_with("HTTP/1.1 200 "));
        assert_eq!(answers.1.unwrap().status(), 200);
    });
}

#[test]
fn a_response_may_take_longer_than_its_head_and_the_limit_begins_behind_it() {
    on_paused_core(|| async {
        const HOUR: Duration = Duration::from_secs(3600);
        let answer = |_: Request<Incoming>| async {
            let ticks = futures_lite::stream::unfold(0, |tick| async move {
                sleep(HOUR).await;
                (tick < 3).then(|| (Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"tick"))), tick + 1))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(ticks)))
        };
        let make = service_fn(move |_: IncomingStream<'_>| ready(Ok::<_, Infallible>(service_fn(answer))));
        let server = serve(anywhere(), make).head_time(Duration::from_secs(60)).start().await.unwrap();
        let start = ringwork::time::Instant::now();
        let mut client = connect(&server).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("tick\r\n0\r\n\r\n") && answer.matches("tick").count() == 3, "{answer}");
        let took = start.elapsed();
        assert!((HOUR * 4 + Duration::from_secs(60)..HOUR * 5).contains(&took), "{took:?}");
    });
}

#[test]
fn an_idle_connection_of_http2_stays() {
    on_paused_core(|| async {
        let talk = Talk::new();
        let server = serve(anywhere(), make!(talk)).head_time(Duration::from_secs(5)).start().await.unwrap();
        let mut client = connect_http2(&server).await;
        for _ in 0..3 {
            assert_eq!(get(&mut client, "/").await.unwrap().status(), 200);
            sleep(Duration::from_secs(3600)).await;
        }
    });
}

#[test]
fn settings_reach_hyper_and_so_do_the_options_of_the_listener() {
    on_cores(2, |_| async {
        let talk = Talk::new();
        let on = anywhere().balance(Balance::LeastLoaded).options(ListenOptions::new().max_connections(2));
        let serve: Serve<_> = serve(on, make!(talk)).http(|http| {
            http.http1().keep_alive(false).max_headers(2);
        });
        let server = serve.start().await.unwrap();
        let mut client = connect(&server).await;
        assert!(ask(&mut client, "/").await.contains("connection: close"));
        ends(&mut client).await;
        let mut client = connect(&server).await;
        client.write_all(b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n").await.unwrap();
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 431 "));
        drop(client);
        let mut clients = [connect(&server).await, connect(&server).await, connect(&server).await];
        while server.connections() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(server.connections_per_core(), [1, 1], "balanced, and no more than allowed");
        for client in &mut clients {
            assert!(ask(client, "/").await.starts_with("HTTP/1.1 200 "));
        }
        assert_eq!(server.stop(LIMIT).await, 0);
    });
}

#[test]
fn a_handshake_is_another_stream_for_the_service_and_may_fail_or_never_end() {
    on_paused_core(|| async {
        let talk = Talk::new();
        let make = service_fn({
            let talk = talk.clone();
            move |incoming: IncomingStream<'_, TokioIo<TcpStream>>| {
                let (talk, peer) = (talk.clone(), incoming.io().inner().peer_addr().unwrap());
                ready(Ok::<_, Infallible>(service_fn(move |request| talk.clone().answer(peer, request))))
            }
        });
        let serve =
            serve(anywhere(), make).head_time(Duration::from_secs(60)).handshake(|mut stream| async move {
                let word = stream.read_u8().await?;
                if word == b'!' { Ok(TokioIo::new(stream)) } else { Err(io::ErrorKind::InvalidData.into()) }
            });
        let server = serve.start().await.unwrap();
        let mut clients = [connect(&server).await, connect(&server).await, connect(&server).await];
        clients[0].write_all(b"!").await.unwrap();
        clients[1].write_all(b"?").await.unwrap();
        assert!(ask(&mut clients[0], "/").await.starts_with("HTTP/1.1 200 "));
        ends(&mut clients[1]).await;
        let start = ringwork::time::Instant::now();
        ends(&mut clients[2]).await;
        assert!(start.elapsed() >= Duration::from_secs(50), "{:?}", start.elapsed());
        assert_eq!(talk.begun.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_listener_that_was_bound_elsewhere_is_served_by_all_cores() {
    on_cores(2, |_| async {
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, talk) = (bound.local_addr().unwrap(), Talk::new());
        let server = serve(bound, make!(talk)).start().await.unwrap();
        assert_eq!(server.local_addr(), address);
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(connect(&server).await);
        }
        for client in &mut clients {
            assert!(ask(client, "/").await.starts_with("HTTP/1.1 200 "));
        }
        assert_eq!(server.connections_per_core(), [2, 2]);
        drop(clients);
        assert_eq!(server.stop(LIMIT).await, 0);
        drop(std::net::TcpListener::bind(address).expect("the socket is closed"));
    });
}

#[test]
fn awaited_it_serves_for_ever_and_dropped_it_accepts_no_more() {
    on_cores(2, |_| async {
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, talk) = (bound.local_addr().unwrap(), Talk::new());
        let mut client = {
            let serving = serve(bound, make!(talk)).into_future();
            let asks = async {
                let mut client = TcpStream::connect(address).await.unwrap();
                assert!(ask(&mut client, "/").await.starts_with("HTTP/1.1 200 "));
                Ok(client)
            };
            let served = async { serving.await.map(|()| panic!("it serves for ever")) };
            futures_lite::future::or(asks, served).await.unwrap()
        };
        ends(&mut client).await;
        while TcpStream::connect(address).await.is_ok() {}
        let bound = std::net::TcpListener::bind(address).expect("the listener before is closed");
        let signal = async { talk.begun(2).await };
        let serving = serve(bound, make!(talk)).with_graceful_shutdown(signal, LIMIT);
        let asks = async {
            let mut client = TcpStream::connect(address).await.unwrap();
            assert!(ask(&mut client, "/").await.starts_with("HTTP/1.1 200 "));
        };
        let (cut, ()) = futures_lite::future::zip(serving, asks).await;
        assert_eq!(cut.unwrap(), 0);
    });
}

#[test]
fn clients_that_break_off_anywhere_leave_nothing_behind() {
    on_cores(2, |handle| async move {
        let levels = Levels::at_start(&handle).await;
        let (server, _talk) = server().await;
        let whole = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
        let address = server.local_addr();
        let breaks = ringwork::spawn_blocking(move || {
            for len in 0..=whole.len() {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                client.write_all(&whole[..len]).unwrap();
                // Every second one with a reset.
                let linger = (len % 2 == 0).then_some(Duration::ZERO);
                socket2::SockRef::from(&client).set_linger(linger).unwrap();
            }
        });
        breaks.await.unwrap();
        assert_eq!(server.stop(LIMIT).await, 0);
        levels.return_on(&handle).await;
    });
}
