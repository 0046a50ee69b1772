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
        Job::Proxy { upstream, .. } => serve(plan, balance, move |stream| relay(stream, upstream)),
        Job::Source => serve(plan, balance, send_pattern),
    }
}

fn serve<F>(
    plan: &Plan,
    balance: Balance,
    connection: impl Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let runtime = Builder::new().cores(plan.cores()?).build().map_err(io::Error::other)?;
    let (handle, address) = (runtime.handle().clone(), plan.listen()?);
    runtime.block_on(async move {
        // An error of a connection is the client's: it has gone.
        let handler = move || {
            let connection = connection.clone();
            move |stream: TcpStream, _| {
                let connection = connection.clone();
                async move {
                    if stream.set_nodelay(true).is_ok() {
                        drop(connection(stream).await);
                    }
                }
            }
        };
        let server = Serve::new(address).balance(balance).start_local(handler).await?;
        announce_counting(server.local_addr(), move || Some(counters(&handle)))?;
        pending().await
    })
}

/// Sends back what comes in.
pub(crate) async fn echo_stream(stream: TcpStream) -> io::Result<()> {
    loop {
        let received = stream.recv_pooled().await?;
        if received.is_empty() {
            return Ok(());
        }
        stream.send_off(received).await?;
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
