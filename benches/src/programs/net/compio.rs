//! compio on its io_uring driver, one runtime per core: owned buffers that travel with each op and come back.

use std::io;

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
        let listener = seat.listen()?;
        runtime()?.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                spawn(serve(stream, job)).detach();
            }
        })
    }
}

async fn serve(stream: TcpStream, job: Job) -> io::Result<()> {
    match job {
        Job::Echo { buffer } => echo(stream, buffer).await,
        Job::Proxy { upstream, buffer } => {
            let server = TcpStream::connect(upstream).await?;
            server.set_nodelay(true)?;
            let (from_client, to_client) = stream.into_split();
            let (from_server, to_server) = server.into_split();
            spawn(pass(from_client, to_server, buffer)).detach();
            pass(from_server, to_client, buffer).await
        }
        Job::Source => send_pattern(stream).await,
    }
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
