//! ringwork: `Serve::start_local`, a local task per connection (per direction in the proxy), `recv_pooled`
//! and the received buffer sent on: no buffer of its own, no copy.

use std::future::pending;
use std::io;
use std::net::SocketAddr;

use ringwork::net::{OwnedRecvHalf, OwnedSendHalf, TcpStream};
use ringwork::{Balance, Serve, runtime::Builder};

use super::{Job, echo_job, pattern, proxy_job};
use crate::plan::Plan;
use crate::programs::questions::announce_counting;
use crate::programs::send::ringwork::counters;

/// The echo server.
pub(crate) fn echo(plan: &Plan) -> io::Result<()> {
    run(plan, echo_job(plan)?, Balance::default())
}

/// The proxy.
pub(crate) fn proxy(plan: &Plan) -> io::Result<()> {
    run(plan, proxy_job(plan)?, Balance::default())
}

/// The source.
pub(crate) fn source(plan: &Plan) -> io::Result<()> {
    run(plan, Job::Source, Balance::default())
}

/// The echo server, to whose cores the kernel deals connections out by a hash.
pub(crate) fn echo_hashed(plan: &Plan) -> io::Result<()> {
    run(plan, echo_job(plan)?, Balance::Kernel)
}

/// The proxy of that kind.
pub(crate) fn proxy_hashed(plan: &Plan) -> io::Result<()> {
    run(plan, proxy_job(plan)?, Balance::Kernel)
}

fn run(plan: &Plan, job: Job, balance: Balance) -> io::Result<()> {
    match job {
        Job::Echo { .. } => serve(plan, balance, echo_stream),
        Job::Proxy { upstream, .. } => serve(plan, balance, move |stream| to_end(relay(stream, upstream))),
        Job::Source => serve(plan, balance, |stream| to_end(send_pattern(stream))),
    }
}

fn serve<F>(
    plan: &Plan,
    balance: Balance,
    connection: impl Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
) -> io::Result<()>
where
    F: Future<Output = ()> + 'static,
{
    let runtime = Builder::new().cores(plan.cores()?).build().map_err(io::Error::other)?;
    let (handle, address) = (runtime.handle().clone(), plan.listen()?);
    runtime.block_on(async move {
        let handler = move || {
            let connection = connection.clone();
            move |stream: TcpStream, _| {
                // If it cannot be set the client has gone, which its connection learns as well.
                let _ = stream.set_nodelay(true);
                connection(stream)
            }
        };
        let server = Serve::new(address).balance(balance).start_local(handler).await?;
        announce_counting(server.local_addr(), move || Some(counters(&handle)))?;
        pending().await
    })
}

/// An error of a connection is the client's: it has gone.
async fn to_end(connection: impl Future<Output = io::Result<()>>) {
    drop(connection.await);
}

/// Sends back what comes in.
#[expect(clippy::manual_async_fn, reason = "an `async fn` has room for what it is given twice")]
pub(crate) fn echo_stream(stream: TcpStream) -> impl Future<Output = ()> {
    async move {
        loop {
            let Ok(received) = stream.recv_pooled().await else { return };
            if received.is_empty() || stream.send_off(received).await.is_err() {
                return;
            }
        }
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    ringwork::spawn_local(pass(from_client, to_server));
    pass(from_server, to_client).await
}

async fn pass(from: OwnedRecvHalf, to: OwnedSendHalf) -> io::Result<()> {
    from.forward_to(&to).await?;
    to.shutdown_write().await
}

async fn send_pattern(stream: TcpStream) -> io::Result<()> {
    loop {
        stream.send_all(pattern()).await.0?;
    }
}
