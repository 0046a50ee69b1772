//! Key-value servers of one core, which speak as much of redis's protocol as is measured. Protocol and store
//! are the same code for all peers of ours; a peer's file says how its runtime brings bytes to them. Below is
//! the connection of a program written for tokio, which is served by two runtimes.

pub(crate) mod floor;
pub(crate) mod monoio;
mod resp;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
mod store;
pub(crate) mod tokio;

use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use bytes::{Buf, BytesMut};

use resp::{Command, Head, Reply, parse};
use store::Shared;

/// Bytes of the buffer into which a connection is read.
const BUFFER: usize = 4096;

/// Serves a connection as programs for tokio do: what comes in is gathered until a command is whole, replies
/// go through a `BufWriter`, which is flushed when nothing whole is left.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, store: Shared) -> io::Result<()> {
    let mut stream = BufWriter::new(stream);
    let mut input = BytesMut::with_capacity(BUFFER);
    while stream.read_buf(&mut input).await? > 0 {
        while let Some((command, length)) = parse(&input)? {
            match command {
                Command::Get(key) => {
                    let value = store.get(key);
                    write(&mut stream, Reply::Value(value.as_deref())).await?;
                }
                Command::Set(key, value) => {
                    store.set(key, value);
                    write(&mut stream, Reply::Stored).await?;
                }
                Command::Unknown => write(&mut stream, Reply::Unknown).await?,
            }
            input.advance(length);
        }
        stream.flush().await?;
    }
    Ok(())
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), reply: Reply<'_>) -> io::Result<()> {
    for piece in reply.pieces(&mut Head::default()) {
        stream.write_all(piece).await?;
    }
    Ok(())
}
