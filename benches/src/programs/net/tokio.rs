//! tokio's current-thread runtime, one per core: a task and a buffer of 4 KiB per connection (longer where
//! messages are), the proxy with `copy_bidirectional`, which has a buffer of 8 KiB for each direction.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Job, PerCore, Seat, pattern};

/// One current-thread runtime per core.
pub(crate) struct CurrentThread;

impl PerCore for CurrentThread {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        match job {
            Job::Echo { buffer } => run(seat, move |stream| echo(stream, buffer)),
            Job::Proxy { upstream, buffer } => run(seat, move |stream| relay(stream, upstream, buffer)),
            Job::Source => run(seat, send_pattern),
        }
    }
}

/// Serves the connections of a core as `connection` serves one.
pub(super) fn run<F>(seat: Seat, connection: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = seat.listen_without_blocking()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async { accept(TcpListener::from_std(listener)?, connection).await })
}

/// Serves each connection in a task of its own.
pub(super) async fn accept<F>(listener: TcpListener, connection: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream));
    }
}

/// Sends back what comes in.
pub(crate) async fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// Passes on what comes in, and what comes from `upstream` back.
pub(super) async fn relay(mut client: TcpStream, upstream: SocketAddr, buffer: usize) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let buffer = buffer.max(8 << 10);
    tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, buffer, buffer).await?;
    Ok(())
}

/// Sends the pattern for as long as anybody takes it.
pub(super) async fn send_pattern(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(pattern()).await?;
    }
}
