//! Echoes whose idle connections hold no buffer, on runtimes whose own examples give each connection one. A
//! connection that is polled reads into a buffer that all connections of its thread share, and sends what has
//! come in the same poll. Only what a full socket leaves over is kept for it, until that has gone.
//!
//! The runtimes are those of `tokio.rs`, `smol.rs` and `glommio.rs`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::{Job, PerCore, Seat, glommio, smol, tokio as current_thread};

pub(crate) struct Tokio;

impl PerCore for Tokio {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        set_length(job)?;
        current_thread::run(seat, echo_of_tokio)
    }
}

pub(crate) struct Smol;

impl PerCore for Smol {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        set_length(job)?;
        smol::run(seat, echo)
    }
}

pub(crate) struct Glommio;

impl PerCore for Glommio {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        set_length(job)?;
        glommio::run(seat, echo)
    }
}

/// Of the buffers: no connection has to know it.
static LENGTH: AtomicUsize = AtomicUsize::new(0);

fn set_length(job: Job) -> io::Result<()> {
    match job {
        Job::Echo { buffer } => {
            LENGTH.store(buffer, Ordering::Relaxed);
            Ok(())
        }
        _ => Err(io::Error::other("what shares a buffer is an echo and nothing else")),
    }
}

/// Has `work` use the buffer of this thread.
fn with_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.is_empty() {
            buffer.resize(LENGTH.load(Ordering::Relaxed), 0);
        }
        work(buffer)
    })
}

/// Sends back what comes in.
#[expect(clippy::manual_async_fn, reason = "an `async fn` has room for what it is given twice")]
fn echo<S>(mut stream: S) -> impl Future<Output = io::Result<()>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    async move {
        while let Some(rest) = poll_fn(|cx| pass(&mut stream, cx)).await? {
            if !rest.is_empty() {
                stream.write_all(&rest).await?;
            }
        }
        Ok(())
    }
}

/// Reads once and sends that back, as far as there is room: what is left over, or none at the end.
fn pass<S>(stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    with_buffer(|buffer| {
        let n = ready!(Pin::new(&mut *stream).poll_read(cx, buffer))?;
        if n == 0 {
            return Poll::Ready(Ok(None));
        }
        let sent = match Pin::new(stream).poll_write(cx, &buffer[..n])? {
            Poll::Ready(sent) => sent,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(Some(buffer[sent..n].to_vec())))
    })
}

/// The same over tokio's traits.
#[expect(clippy::manual_async_fn, reason = "an `async fn` has room for what it is given twice")]
fn echo_of_tokio(mut stream: TcpStream) -> impl Future<Output = io::Result<()>> {
    async move {
        while let Some(rest) = poll_fn(|cx| pass_of_tokio(&mut stream, cx)).await? {
            if !rest.is_empty() {
                tokio::io::AsyncWriteExt::write_all(&mut stream, &rest).await?;
            }
        }
        Ok(())
    }
}

fn pass_of_tokio(stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
    with_buffer(|buffer| {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
        let bytes = read.filled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let sent = match stream.try_write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        Poll::Ready(Ok(Some(bytes[sent..].to_vec())))
    })
}
