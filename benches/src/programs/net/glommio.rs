//! glommio, one executor per core, which binds its own listener (it always shares the port). Its streams read
//! into a borrowed buffer and are not buffered a second time.

use std::io;
use std::net::SocketAddr;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement, spawn_local};

use super::{Job, PerCore, Seat, pattern};

/// One executor per core.
pub(crate) struct Glommio;

impl PerCore for Glommio {
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
    F: Future<Output = io::Result<()>> + 'static,
{
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .make()
        .map_err(|error| io::Error::other(error.to_string()))?;
    executor.run(async {
        let listener = TcpListener::bind(seat.address()?)?;
        seat.ready()?;
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn_local(connection(stream)).detach();
        }
    })
}

async fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr, buffer: usize) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = futures_lite::io::split(client);
    let (from_server, to_server) = futures_lite::io::split(server);
    spawn_local(pass(from_client, to_server, buffer)).detach();
    pass(from_server, to_client, buffer).await
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    buffer: usize,
) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.close().await,
            n => to.write_all(&buffer[..n]).await?,
        }
    }
}

async fn send_pattern(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(pattern()).await?;
    }
}
