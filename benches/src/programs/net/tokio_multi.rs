//! tokio's multi-thread runtime, a worker per core, one listener; connections are served as in `tokio.rs`.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::tokio::{accept, echo as echo_stream, relay, send_pattern};
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
    match job {
        Job::Echo { buffer } => run(plan, move |stream| echo_stream(stream, buffer)),
        Job::Proxy { upstream, buffer } => run(plan, move |stream| relay(stream, upstream, buffer)),
        Job::Source => run(plan, send_pattern),
    }
}

fn run<F>(plan: &Plan, connection: impl Fn(TcpStream) -> F + Send + 'static) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let socket = bind(plan.listen()?)?;
    let seat = Seat { socket, cpu: None, waiting: Arc::new(1.into()), connections: 0 };
    let listener = seat.listen_without_blocking()?;
    let runtime = Builder::new_multi_thread().worker_threads(plan.cores()?).enable_all().build()?;
    // What accepts is a task: what `block_on` polls is on no worker.
    let serving = runtime.spawn(async move { accept(TcpListener::from_std(listener)?, connection).await });
    runtime.block_on(serving).map_err(io::Error::other)?
}
