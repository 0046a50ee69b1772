//! tokio's current-thread runtime and its multi-thread one, a spawned task per connection.

use std::io;

use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::{Shared, serve};
use crate::plan::Plan;
use crate::programs::http::listener_without_blocking;
use crate::programs::net::on_a_thread;

/// One thread.
pub(crate) fn current_thread(plan: &Plan) -> io::Result<()> {
    let listener = listener_without_blocking(plan)?;
    on_a_thread(|| Builder::new_current_thread().enable_io().build()?.block_on(accept(listener)))
}

/// A worker.
pub(crate) fn multi_thread(plan: &Plan) -> io::Result<()> {
    let listener = listener_without_blocking(plan)?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // What accepts is a task: what `block_on` polls is on no worker.
    let serving = runtime.spawn(accept(listener));
    runtime.block_on(serving).map_err(io::Error::other)?
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let (listener, store) = (TcpListener::from_std(listener)?, Shared::default());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, store.clone()));
    }
}
