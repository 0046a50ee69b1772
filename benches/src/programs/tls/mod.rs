//! TLS echoes of one core. All but the raw loops are rustls with the same configuration; a peer's file says
//! how its runtime brings it to a stream, as the documentation of each recommends.

pub(crate) mod raw;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
pub(crate) mod tokio;

use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// Bytes of the buffer of a connection.
const BUFFER: usize = 4096;

/// An echo by tokio-rustls over any stream that has tokio's traits.
async fn echo(acceptor: TlsAcceptor, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
        stream.flush().await?;
    }
}
