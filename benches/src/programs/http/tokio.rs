//! hyper and axum on tokio's current-thread runtime, one per core, as their own examples do it: a spawned
//! task per connection with hyper-util's `TokioIo`, and `axum::serve`.

use std::future::Future;
use std::io;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::{hello, listener_without_blocking, router};
use crate::plan::Plan;
use crate::programs::net::{Seat, on_a_thread, on_each_core};

/// How a core comes to its listener.
type Listen = fn(Seat) -> io::Result<std::net::TcpListener>;

/// Hello over HTTP/1.1.
pub(crate) fn hyper(plan: &Plan) -> io::Result<()> {
    serve_hyper(plan, Seat::listen)
}

/// The same, with listeners that ask for the connections whose packets arrive on their CPU (`net/tokio.rs`).
pub(crate) fn hyper_near(plan: &Plan) -> io::Result<()> {
    serve_hyper(plan, Seat::listen_near)
}

fn serve_hyper(plan: &Plan, listen: Listen) -> io::Result<()> {
    on_each_core(plan, move |seat| {
        runtime()?.block_on(async { accept(without_blocking(listen(seat)?)?, greet).await })
    })
}

/// Hello over HTTP/2.
pub(crate) fn http2(plan: &Plan) -> io::Result<()> {
    let listener = listener_without_blocking(plan)?;
    let connection = |stream: TcpStream| async move {
        let mut http = http2::Builder::new(TokioExecutor::new());
        drop(http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service_fn(hello)).await);
    };
    on_a_thread(move || {
        runtime()?.block_on(async { accept(TcpListener::from_std(listener)?, connection).await })
    })
}

/// The application.
pub(crate) fn axum(plan: &Plan) -> io::Result<()> {
    serve_axum(plan, Seat::listen)
}

/// The same with listeners of that kind.
pub(crate) fn axum_near(plan: &Plan) -> io::Result<()> {
    serve_axum(plan, Seat::listen_near)
}

fn serve_axum(plan: &Plan, listen: Listen) -> io::Result<()> {
    on_each_core(plan, move |seat| {
        runtime()?.block_on(async { axum::serve(without_blocking(listen(seat)?)?, router()).await })
    })
}

/// The listener as tokio has it.
fn without_blocking(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Serves each connection in a task of its own.
pub(super) async fn accept<F>(listener: TcpListener, connection: fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream));
    }
}

/// Hello over HTTP/1.1 on one connection.
pub(super) async fn greet(stream: TcpStream) {
    let mut http = http1::Builder::new();
    // An error of a connection is the client's: it has gone.
    drop(http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service_fn(hello)).await);
}
