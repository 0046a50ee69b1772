//! `futures_io::{AsyncRead, AsyncWrite}` for streams and their halves.
#![forbid(unsafe_code)]

use super::FileCursor;
use super::ends::{Receives, Sends};
use crate::net::{OwnedRecvHalf, OwnedSendHalf, RecvHalf, SendHalf, TcpStream, UnixStream};
#[cfg(feature = "tls")]
use crate::tls::TlsStream;
use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};
use std::io::{self, IoSlice, IoSliceMut, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Reads into several buffers in turn.
fn read_into(
    from: &impl Receives,
    cx: &mut Context<'_>,
    bufs: &mut [IoSliceMut<'_>],
) -> Poll<io::Result<usize>> {
    let room = bufs.iter().map(|buf| buf.len()).sum();
    let (mut at, mut within) = (0, 0);
    from.poll_receive(cx, room, |mut bytes| {
        while !bytes.is_empty() {
            let free = &mut bufs[at][within..];
            let n = free.len().min(bytes.len());
            free[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            within += n;
            if within == bufs[at].len() {
                (at, within) = (at + 1, 0);
            }
        }
    })
}

macro_rules! async_read {
    ($receiver:ty) => {
        impl AsyncRead for $receiver {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                read_into(&*self, cx, &mut [IoSliceMut::new(buf)])
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                read_into(&*self, cx, bufs)
            }
        }
    };
}

macro_rules! async_write {
    ($sender:ty) => {
        impl AsyncWrite for $sender {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.poll_send(cx, &[IoSlice::new(buf)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_send(cx, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_sent(cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_end(cx)
            }
        }
    };
}

async_read!(TcpStream);
async_read!(RecvHalf<'_>);
async_read!(OwnedRecvHalf);
async_write!(TcpStream);
async_write!(SendHalf<'_>);
async_write!(OwnedSendHalf);

async_read!(UnixStream);
async_read!(RecvHalf<'_, UnixStream>);
async_read!(OwnedRecvHalf<UnixStream>);
async_write!(UnixStream);
async_write!(SendHalf<'_, UnixStream>);
async_write!(OwnedSendHalf<UnixStream>);

#[cfg(feature = "tls")]
async_read!(TlsStream);
#[cfg(feature = "tls")]
async_write!(TlsStream);
#[cfg(feature = "tls")]
async_read!(&TlsStream);
#[cfg(feature = "tls")]
async_write!(&TlsStream);

impl AsyncRead for FileCursor {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = buf.len();
        FileCursor::poll_read(&mut self, cx, room, |bytes| buf[..bytes.len()].copy_from_slice(bytes))
    }
}

impl AsyncWrite for FileCursor {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        FileCursor::poll_write(&mut self, cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        FileCursor::poll_write(&mut self, cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        FileCursor::poll_flush(&mut self, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        FileCursor::poll_flush(&mut self, cx)
    }
}

impl AsyncSeek for FileCursor {
    fn poll_seek(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        position: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        self.forget_seek();
        FileCursor::poll_seek(&mut self, cx, position)
    }
}
