//! Key-value servers of one core, which speak as much of redis's protocol as is measured. Protocol and store
//! are the same code for all peers of ours; a peer's file says how its runtime brings bytes to them. Below is
//! the connection of a program written for tokio, which is served by three runtimes.

pub(crate) mod monoio;
pub(crate) mod raw;
mod resp;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
mod store;
pub(crate) mod tokio;

use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use store::{Shared, Unread};

/// Bytes of the buffer into which a connection is read.
const BUFFER: usize = 4096;

/// Serves a connection in a task that may run on any thread. What has come in is answered under one lock and
/// leaves in one write, however many commands it holds.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, store: Shared) -> io::Result<()> {
    let (mut unread, mut buffer, mut replies) = (Unread::default(), vec![0; BUFFER], Vec::new());
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        unread.take(&buffer[..n], &mut store.lock(), &mut replies)?;
        stream.write_all(&replies).await?;
        replies.clear();
    }
}
