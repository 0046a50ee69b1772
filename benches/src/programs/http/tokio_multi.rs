//! hyper and axum on tokio's multi-thread runtime, a worker per core, one listener; connections are served as
//! in `tokio.rs`.

use std::future::Future;
use std::io;

use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::tokio::{accept, greet};
use super::{listener_without_blocking, router};
use crate::plan::Plan;

/// Hello over HTTP/1.1.
pub(crate) fn hyper(plan: &Plan) -> io::Result<()> {
    serve(plan, |listener| accept(listener, greet))
}

/// The application.
pub(crate) fn axum(plan: &Plan) -> io::Result<()> {
    serve(plan, |listener| async { axum::serve(listener, router()).await })
}

fn serve<F>(plan: &Plan, accept: impl FnOnce(TcpListener) -> F + Send + 'static) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send,
{
    let listener = listener_without_blocking(plan)?;
    let runtime = Builder::new_multi_thread().worker_threads(plan.cores()?).enable_all().build()?;
    // What accepts is a task: what `block_on` polls is on no worker.
    let serving = runtime.spawn(async move { accept(TcpListener::from_std(listener)?).await });
    runtime.block_on(serving).map_err(io::Error::other)?
}
