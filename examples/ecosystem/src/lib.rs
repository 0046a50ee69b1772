//! What the programs of this package share: serving HTTP on every core, and an orderly end.
#![forbid(unsafe_code)]

mod program;

pub use program::Program;

use futures_util::future::{Either, select};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use ringwork::compat::hyper::{Executor, Timer};
use std::error::Error;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;

/// How long a client may take to send the head of a request, and an idle HTTP/1 connection to begin one.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// HTTP/2: how often an idle peer is asked whether it is still there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIME: Duration = Duration::from_secs(20);

/// Any error of a body.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Serves HTTP/1 or HTTP/2, as the client wishes, on one connection, until it ends or `stop` says so: then it
/// finishes the requests it has.
pub async fn serve_http<I, S, B>(io: I, service: S, mut stop: watch::Receiver<bool>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut builder = auto::Builder::new(Executor);
    builder.http1().timer(Timer).header_read_timeout(HEAD_TIME);
    builder.http2().timer(Timer).keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_TIME);
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    // How it ended is no news: clients break off every day.
    let told = match select(connection.as_mut(), pin!(stop.wait_for(|stop| *stop))).await {
        Either::Left(_) => return,
        Either::Right((told, _)) => told.is_ok(),
    };
    if told {
        connection.as_mut().graceful_shutdown();
    }
    let _ended = connection.await;
}

/// A stream with tokio's traits under hyper's.
pub fn for_hyper<I>(io: I) -> TokioIo<I> {
    TokioIo::new(io)
}
