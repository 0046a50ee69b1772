//! monoio on its io_uring driver, one runtime per core: owned buffers that travel with each op and come back,
//! as in its own echo and proxy examples, with a ring of 1,024 entries, which its own benchmark asks for too.

use std::io;
use std::net::SocketAddr;

use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::{Job, PerCore, Seat, pattern};

/// One runtime per core.
pub(crate) struct Monoio;

impl PerCore for Monoio {
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
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(1024).build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            drop(monoio::spawn(connection(stream)));
        }
    })
}

async fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let (read, filled) = stream.read(buffer).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        let (written, slice) = stream.write_all(filled.slice(..n)).await;
        written?;
        buffer = slice.into_inner();
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr, buffer: usize) -> io::Result<()> {
    let server = TcpStream::connect_addr(upstream).await?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async { pass(&mut from_client, &mut to_server, buffer).await };
    let back = async { pass(&mut from_server, &mut to_client, buffer).await };
    let (there, back) = monoio::join!(there, back);
    there.and(back)
}

async fn pass(from: &mut impl AsyncReadRent, to: &mut impl AsyncWriteRent, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let (read, filled) = from.read(buffer).await;
        let n = read?;
        if n == 0 {
            return to.shutdown().await;
        }
        let (written, slice) = to.write_all(filled.slice(..n)).await;
        written?;
        buffer = slice.into_inner();
    }
}

async fn send_pattern(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(pattern()).await.0?;
    }
}
