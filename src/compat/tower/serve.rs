//! How to serve HTTP: where, with which settings, from which make-service.
#![forbid(unsafe_code)]

use super::connection::{self, BoxError, Shared};
use super::ending::Ending;
use super::incoming::IncomingStream;
use super::server::Server;
use crate::compat::hyper::{Executor, Timer};
use crate::net::TcpStream;
use crate::runtime::Handle;
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::{Request, Response};
use hyper_util::server::conn::auto;
use std::fmt;
use std::future::{Future, IntoFuture, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service;

/// From the accept to the head of the first request, and from one request to the head of the next.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// The handshake of plain TCP, which is none.
pub type Plain = fn(TcpStream) -> Ready<io::Result<TcpStream>>;

/// How to serve HTTP, from [`serve`]. Awaited, it serves for ever; [`Serve::start`] gives a handle instead.
///
/// Dropping the future that serves for ever stops accepting; requests in flight are answered.
#[derive(Clone)]
#[must_use = "nothing is served until this is awaited or started"]
pub struct Serve<M, H = Plain> {
    on: crate::serve::Serve,
    make: M,
    handshake: H,
    http: auto::Builder<Executor>,
    head_time: Duration,
}

/// Serves HTTP/1 and HTTP/2, as each client wishes, on every core: `on` is an address, a listening
/// `std::net::TcpListener`, or a [`crate::Serve`] that says how connections are spread over the cores. `make`
/// is a make-service: a [`Service`] that makes a service for each connection.
///
/// The task of a connection may move to an idle core. HTTP upgrades work. The extended CONNECT of HTTP/2
/// (RFC 8441) is not offered unless it is among the settings: where it is, browsers open their WebSockets
/// with it, and a service that does not know it has none. A panic in a service ends its connection (with
/// HTTP/2: its stream) and nothing else.
///
/// ```
/// # async fn program() -> std::io::Result<()> {
/// # use hyper::{Request, Response, body::Incoming};
/// # use ringwork::compat::tower::IncomingStream;
/// # use std::{convert::Infallible, future::{Ready, ready}, task::{Context, Poll}};
/// #[derive(Clone)]
/// struct Hello;
///
/// impl tower_service::Service<Request<Incoming>> for Hello {
///     type Response = Response<String>;
///     type Error = Infallible;
///     type Future = Ready<Result<Response<String>, Infallible>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, _: Request<Incoming>) -> Self::Future {
///         ready(Ok(Response::new("hello".to_owned())))
///     }
/// }
///
/// #[derive(Clone)]
/// struct MakeHello;
///
/// impl tower_service::Service<IncomingStream<'_>> for MakeHello {
///     type Response = Hello;
///     type Error = Infallible;
///     type Future = Ready<Result<Hello, Infallible>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, incoming: IncomingStream<'_>) -> Self::Future {
///         println!("{} has come", incoming.remote_addr());
///         ready(Ok(Hello))
///     }
/// }
///
/// let address: std::net::SocketAddr = "127.0.0.1:8080".parse().unwrap();
/// ringwork::compat::tower::serve(address, MakeHello).await
/// # }
/// ```
#[track_caller]
pub fn serve<M>(on: impl Into<crate::serve::Serve>, make: M) -> Serve<M> {
    let mut http = auto::Builder::new(Executor);
    // Limited by `head_time` instead, which costs no allocation and no timer per request.
    http.http1().timer(Timer).header_read_timeout(None);
    http.http2().timer(Timer);
    let on = on.into().described_at(Location::caller());
    Serve { on, make, handshake: |stream| ready(Ok(stream)), http, head_time: HEAD_TIME }
}

impl<M, H> Serve<M, H> {
    /// Settings of HTTP, as `hyper-util` names them: header limits, keep-alive, flow control, pings and so
    /// on. The timer is set already; the time for a request's head is [`Serve::head_time`]'s.
    ///
    /// ```
    /// # use ringwork::compat::tower::Serve;
    /// # fn set<M>(serve: Serve<M>) -> Serve<M> {
    /// serve.http(|http| {
    ///     http.http1().keep_alive(true).max_headers(64);
    ///     http.http2().max_concurrent_streams(128).keep_alive_interval(std::time::Duration::from_secs(20));
    /// })
    /// # }
    /// ```
    pub fn http(mut self, set: impl FnOnce(&mut auto::Builder<Executor>)) -> Self {
        set(&mut self.http);
        self
    }

    /// How long a client may take: from the accept to the head of its first request, handshake included, and
    /// on HTTP/1 from one answer to the head of the next request. Then its connection is closed; where the
    /// service still reads the body of a request that it has answered, behind that body. 30 s unless told
    /// otherwise. On HTTP/2 an idle connection stays as long as its client is there:
    /// `keep_alive_interval` among the settings finds out.
    pub fn head_time(mut self, time: Duration) -> Self {
        self.head_time = time;
        self
    }

    /// What is done with a fresh stream before HTTP begins on it: a TLS handshake, a PROXY header. A failed
    /// one ends the connection. Each runs in its connection's task and holds nobody up.
    ///
    /// ```
    /// # use ringwork::compat::tower::{IncomingStream, Server, serve};
    /// # use hyper::{Request, Response, body::Incoming};
    /// # use std::{convert::Infallible, io, net::SocketAddr};
    /// # async fn program<M, S>(address: SocketAddr, make: M) -> io::Result<Server>
    /// # where
    /// #     M: for<'a> tower_service::Service<IncomingStream<'a>, Response = S> + Clone + Send + 'static,
    /// #     for<'a> <M as tower_service::Service<IncomingStream<'a>>>::Future: Send,
    /// #     S: tower_service::Service<Request<Incoming>, Response = Response<String>, Error = Infallible>,
    /// #     S: Clone + Send + 'static,
    /// #     S::Future: Send,
    /// # {
    /// // One line in front of HTTP says which balancer the connection came through.
    /// let serve = serve(address, make).handshake(|stream| async move {
    ///     let (read, line) = stream.recv_exact([0; 8]).await;
    ///     read?;
    ///     if line == *b"inside\r\n" { Ok(stream) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    /// });
    /// # serve.start().await
    /// # }
    /// ```
    pub fn handshake<F, Fut, Io>(self, handshake: F) -> Serve<M, F>
    where
        F: Fn(TcpStream) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = io::Result<Io>> + Send + 'static,
    {
        let Self { on, make, handshake: _, http, head_time } = self;
        Serve { on, make, handshake, http, head_time }
    }

    /// Binds and begins to serve.
    ///
    /// # Errors
    /// As [`crate::Serve::start`].
    ///
    /// # Panics
    /// If this thread is in no runtime.
    pub async fn start<Fut, Io, S, B>(self) -> io::Result<Server>
    where
        H: Fn(TcpStream) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = io::Result<Io>> + Send + 'static,
        Io: Read + Write + Unpin + Send + Sync + 'static,
        M: for<'a> Service<IncomingStream<'a, Io>, Response = S> + Clone + Send + 'static,
        for<'a> <M as Service<IncomingStream<'a, Io>>>::Future: Send,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let ending = Arc::new(Ending::new(Handle::current().cores()));
        let shared = Shared { http: self.http, head_time: self.head_time, ending: Arc::clone(&ending) };
        let (shared, make, handshake) = (Arc::new(shared), self.make, self.handshake);
        let handler = move |stream: TcpStream, peer: SocketAddr| {
            // Whoever is gone already is noticed by the first read.
            let _ = stream.set_nodelay(true);
            connection::serve(handshake(stream), peer, make.clone(), Arc::clone(&shared))
        };
        Ok(Server::new(self.on.start(handler).await?, ending))
    }

    /// Serves until `signal` is ready, and then ends as [`Server::stop`] does, with the same result.
    ///
    /// # Errors
    /// Those of [`Serve::start`], and the listeners' own.
    ///
    /// # Panics
    /// As [`Serve::start`].
    pub async fn with_graceful_shutdown<Fut, Io, S, B>(
        self,
        signal: impl Future<Output = ()>,
        patience: Duration,
    ) -> io::Result<usize>
    where
        H: Fn(TcpStream) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = io::Result<Io>> + Send + 'static,
        Io: Read + Write + Unpin + Send + Sync + 'static,
        M: for<'a> Service<IncomingStream<'a, Io>, Response = S> + Clone + Send + 'static,
        for<'a> <M as Service<IncomingStream<'a, Io>>>::Future: Send,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.start().await?.run_until(pin!(signal), patience).await
    }
}

impl<M, H, Fut, Io, S, B> IntoFuture for Serve<M, H>
where
    H: Fn(TcpStream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = io::Result<Io>> + Send + 'static,
    Io: Read + Write + Unpin + Send + Sync + 'static,
    M: for<'a> Service<IncomingStream<'a, Io>, Response = S> + Clone + Send + 'static,
    for<'a> <M as Service<IncomingStream<'a, Io>>>::Future: Send,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.start().await?.run().await })
    }
}

impl<M, H> fmt::Debug for Serve<M, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("on", &self.on)
            .field("head_time", &self.head_time)
            .finish_non_exhaustive()
    }
}
