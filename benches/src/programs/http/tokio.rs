//! hyper and axum on tokio's current-thread runtime, as their own examples do it: a spawned task per
//! connection with hyper-util's `TokioIo`, and `axum::serve`.

use std::future::Future;
use std::io;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::{hello, listener_without_blocking, on_a_thread, router};
use crate::plan::Plan;

/// Hello over HTTP/1.1.
pub(crate) fn hyper(plan: &Plan) -> io::Result<()> {
    serve(plan, |stream| async move {
        let mut http = http1::Builder::new();
        // An error of a connection is the client's: it has gone.
        drop(http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service_fn(hello)).await);
    })
}

/// Hello over HTTP/2.
pub(crate) fn http2(plan: &Plan) -> io::Result<()> {
    serve(plan, |stream| async move {
        let mut http = http2::Builder::new(TokioExecutor::new());
        drop(http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service_fn(hello)).await);
    })
}

/// The application.
pub(crate) fn axum(plan: &Plan) -> io::Result<()> {
    let listener = listener_without_blocking(plan)?;
    on_a_thread(|| {
        runtime()?.block_on(async { axum::serve(TcpListener::from_std(listener)?, router()).await })
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn serve<F>(plan: &Plan, connection: fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listener_without_blocking(plan)?;
    let accept = async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(connection(stream));
        }
    };
    on_a_thread(move || runtime()?.block_on(accept))
}
