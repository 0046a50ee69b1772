//! tokio's multi-thread runtime, a worker per core, one listener; connections are served as in `tokio.rs`.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::tokio::{accept, serve as connection};
use super::{Job, Seat, bind, echo_job, proxy_job};
use crate::plan::Plan;

/// The echo server.
pub(crate) fn echo(plan: &Plan) -> io::Result<()> {
    serve(plan, echo_job(plan)?)
}

/// The proxy.
pub(crate) fn proxy(plan: &Plan) -> io::Result<()> {
    serve(plan, proxy_job(plan)?)
}

/// The source.
pub(crate) fn source(plan: &Plan) -> io::Result<()> {
    serve(plan, Job::Source)
}

fn serve(plan: &Plan, job: Job) -> io::Result<()> {
    let socket = bind(plan.listen()?)?;
    let seat = Seat { socket, cpu: None, waiting: Arc::new(1.into()), connections: 0 };
    let listener = seat.listen_without_blocking()?;
    let runtime = Builder::new_multi_thread().worker_threads(plan.cores()?).enable_all().build()?;
    // What accepts is a task: what `block_on` polls is on no worker.
    let serving = runtime.spawn(async move {
        accept(TcpListener::from_std(listener)?, move |stream| connection(stream, job)).await
    });
    runtime.block_on(serving).map_err(io::Error::other)?
}
