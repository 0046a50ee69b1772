//! `tokio::io::{AsyncRead, AsyncWrite}` for streams and their halves.
#![forbid(unsafe_code)]

use super::FileCursor;
use super::ends::{Receives, Sends};
use crate::net::{OwnedRecvHalf, OwnedSendHalf, RecvHalf, SendHalf, TcpStream, UnixStream};
#[cfg(feature = "tls")]
use crate::tls::TlsStream;
use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

macro_rules! async_read {
    ($receiver:ty) => {
        impl AsyncRead for $receiver {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let room = buf.remaining();
                let put = |bytes: &[u8]| buf.put_slice(bytes);
                self.poll_receive(cx, room, put).map_ok(|_| ())
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

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_sent(cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        FileCursor::poll_read(&mut self, cx, room, |bytes| buf.put_slice(bytes)).map_ok(|_| ())
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

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        FileCursor::poll_flush(&mut self, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        FileCursor::poll_flush(&mut self, cx)
    }
}

impl AsyncSeek for FileCursor {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        self.seek = Some(position);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let Some(position) = self.seek else { return Poll::Ready(Ok(self.position())) };
        let done = self.poll_seek(cx, position);
        if done.is_ready() {
            self.seek = None;
        }
        done
    }
}
