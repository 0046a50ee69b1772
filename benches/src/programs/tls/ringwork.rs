//! TLS on ringwork: its own `tls`, with the received buffer sent back and under tokio's traits, and
//! tokio-rustls over its streams.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;

use ringwork::net::TcpStream;
use ringwork::tls::Acceptor;
use ringwork::{Serve, runtime::Builder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::{BUFFER, echo};
use crate::plan::Plan;
use crate::programs::questions::announce_counting;
use crate::programs::send::ringwork::counters;
use crate::tls::server_config;

/// `ringwork::tls`.
pub(crate) fn own(plan: &Plan) -> io::Result<()> {
    let acceptor = Acceptor::new(Arc::new(server_config()?));
    serve(plan, move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(stream).await?;
            loop {
                let received = stream.recv_pooled().await?;
                if received.is_empty() {
                    return Ok(());
                }
                stream.send_all(received).await.0?;
            }
        }
    })
}

/// `ringwork::tls` under tokio's traits. A write leaves without a flush.
pub(crate) fn polled(plan: &Plan) -> io::Result<()> {
    let acceptor = Acceptor::new(Arc::new(server_config()?));
    serve(plan, move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            let mut buffer = vec![0; BUFFER];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return Ok(()),
                    n => stream.write_all(&buffer[..n]).await?,
                }
            }
        }
    })
}

/// tokio-rustls over a stream of ringwork's.
pub(crate) fn tokio_rustls(plan: &Plan) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(server_config()?));
    serve(plan, move |stream| echo(acceptor.clone(), stream))
}

fn serve<H, F>(plan: &Plan, connection: H) -> io::Result<()>
where
    H: Fn(TcpStream) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<()>> + 'static,
{
    let runtime = Builder::new().cores(1).build().map_err(io::Error::other)?;
    let (handle, address) = (runtime.handle().clone(), plan.listen()?);
    runtime.block_on(async move {
        let handler = move || {
            let connection = connection.clone();
            move |stream: TcpStream, _| {
                // It fails on a connection that has gone, whose task will find out.
                let _ = stream.set_nodelay(true);
                let serving = connection(stream);
                // An error of a connection is the client's: it has gone.
                async move { drop(serving.await) }
            }
        };
        let server = Serve::new(address).start_local(handler).await?;
        announce_counting(server.local_addr(), move || Some(counters(&handle)))?;
        pending().await
    })
}
