//! A server whose handlers the test talks to, and clients of both versions.

use crate::support::{self, LIMIT, alone, within};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use ringwork::compat::hyper::Executor;
use ringwork::compat::tower::{Server, serve};
use ringwork::net::TcpStream;
use ringwork::runtime::{self, Handle};
use ringwork::time::sleep;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

/// One test at a time: some count the descriptors of the process.
pub(crate) fn on_cores<F: Future<Output = ()>>(
    cores: usize,
    test: impl FnOnce(Handle) -> F + Send + 'static,
) {
    let _alone = alone();
    support::on_cores(cores, test);
}

/// What the handlers of a test and the test say to each other.
#[derive(Clone)]
pub(crate) struct Talk {
    /// Requests that have begun.
    pub(crate) begun: Arc<AtomicUsize>,
    /// One permit lets one `/slow` go on.
    pub(crate) go: Arc<Semaphore>,
    /// Futures of handlers that are alive.
    pub(crate) alive: Arc<AtomicUsize>,
}

pub(crate) struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self { begun: Arc::default(), go: Arc::new(Semaphore::new(0)), alive: Arc::default() }
    }

    pub(crate) async fn begun(&self, count: usize) {
        while self.begun.load(Ordering::SeqCst) < count {
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn answer(
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
        let talk: $crate::kit::Talk = $talk.clone();
        tower::service_fn(move |incoming: ringwork::compat::tower::IncomingStream<'_>| {
            let (talk, peer) = (talk.clone(), incoming.remote_addr());
            std::future::ready(Ok::<_, std::convert::Infallible>(tower::service_fn(move |request| {
                talk.clone().answer(peer, request)
            })))
        })
    }};
}

pub(crate) fn anywhere() -> ringwork::Serve {
    ringwork::Serve::new("127.0.0.1:0".parse().unwrap())
}

/// A server, and what its handlers say.
pub(crate) async fn server() -> (Server, Talk) {
    let talk = Talk::new();
    (serve(anywhere(), make!(talk)).start().await.unwrap(), talk)
}

/// Sends a request on a connection and reads one answer with its length given.
pub(crate) async fn ask(client: &mut TcpStream, path: &str) -> String {
    client.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    answer(client).await
}

pub(crate) async fn answer(client: &mut TcpStream) -> String {
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
pub(crate) async fn ends(client: &mut TcpStream) {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest).await {
        Ok(_) => assert_eq!(rest, b"", "nothing but the end"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

pub(crate) async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.local_addr()).await.unwrap()
}

pub(crate) type Client = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

pub(crate) async fn connect_http2(server: &Server) -> Client {
    let http = hyper::client::conn::http2::Builder::new(Executor);
    let (client, connection) = http.handshake(connect(server).await).await.unwrap();
    drop(ringwork::spawn(connection));
    client
}

pub(crate) async fn get(client: &mut Client, path: &str) -> hyper::Result<Response<Incoming>> {
    let uri = format!("http://localhost{path}");
    client.send_request(Request::get(uri).body(Empty::new()).unwrap()).await
}

/// Runs against the paused clock of one core: limits are as long as they are in life.
pub(crate) fn on_paused_core<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    let _alone = alone();
    within(LIMIT, move || {
        let runtime = runtime::Builder::new().cores(1).start_paused(true).build().unwrap();
        runtime.block_on(runtime.handle().spawn_on(0, test)).unwrap();
    });
}
