//! compio on its io_uring driver, one runtime per core: owned buffers that travel with each op and come back.

use std::io;
use std::net::SocketAddr;

use compio::BufResult;
use compio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::spawn;

use super::{Job, PerCore, Seat, pattern};
use crate::programs::local::compio::runtime;

/// One runtime per core.
pub(crate) struct Compio;

impl PerCore for Compio {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        match job {
            Job::Echo { buffer } => run(seat, move |stream| echo(stream, buffer)),
            Job::Proxy { upstream, buffer } => run(seat, move |stream| relay(stream, upstream, buffer)),
            Job::Source => run(seat, send_pattern),
        }
    }
}

/// Serves the connections of a core as `connection` serves one.
fn run<F>(seat: Seat, connection: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = seat.listen()?;
    runtime()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            spawn(connection(stream)).detach();
        }
    })
}

async fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        let BufResult(read, filled) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let BufResult(written, sent) = stream.write_all(filled).await;
        written?;
        buffer = sent;
        buffer.clear();
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr, buffer: usize) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    spawn(pass(from_client, to_server, buffer)).detach();
    pass(from_server, to_client, buffer).await
}

async fn pass(mut from: TcpStream, mut to: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        let BufResult(read, filled) = from.read(buffer).await;
        if read? == 0 {
            return to.shutdown().await;
        }
        let BufResult(written, sent) = to.write_all(filled).await;
        written?;
        buffer = sent;
        buffer.clear();
    }
}

async fn send_pattern(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(pattern()).await.0?;
    }
}
