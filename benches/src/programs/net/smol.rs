//! smol: a `LocalExecutor` per core, sockets in `Async`. Its reactor has a thread of its own for all of them,
//! which polls only while no executor does.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor};

use super::{Job, PerCore, Seat, pattern};

/// One executor per core.
pub(crate) struct Smol;

impl PerCore for Smol {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        match job {
            Job::Echo { buffer } => run(seat, move |stream| echo(stream, buffer)),
            Job::Proxy { upstream, buffer } => run(seat, move |stream| relay(stream, upstream, buffer)),
            Job::Source => run(seat, send_pattern),
        }
    }
}

/// Serves the connections of a core as `connection` serves one.
pub(super) fn run<F>(seat: Seat, connection: impl Fn(Async<TcpStream>) -> F + 'static) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = seat.listen()?;
    let executor = Rc::new(LocalExecutor::new());
    let spawner = Rc::clone(&executor);
    // A task: the future that the executor itself runs is polled whenever anything wakes it.
    let accepting = executor.spawn(async move {
        let listener = Async::new(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            spawner.spawn(connection(stream)).detach();
        }
    });
    smol::block_on(executor.run(accepting))
}

async fn echo(mut stream: Async<TcpStream>, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn relay(client: Async<TcpStream>, upstream: SocketAddr, buffer: usize) -> io::Result<()> {
    let server = Async::<TcpStream>::connect(upstream).await?;
    server.get_ref().set_nodelay(true)?;
    let (there, back) =
        smol::future::zip(pass(&client, &server, buffer), pass(&server, &client, buffer)).await;
    there.and(back)
}

async fn pass(mut from: &Async<TcpStream>, mut to: &Async<TcpStream>, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match from.read(&mut buffer).await? {
            // What closes an `Async` only flushes it.
            0 => return to.get_ref().shutdown(Shutdown::Write),
            n => to.write_all(&buffer[..n]).await?,
        }
    }
}

async fn send_pattern(mut stream: Async<TcpStream>) -> io::Result<()> {
    loop {
        stream.write_all(pattern()).await?;
    }
}
