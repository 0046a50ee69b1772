//! `hyper::rt::{Read, Write}` for streams.
#![forbid(unsafe_code)]

use crate::compat::ends::{Receives, Sends};
use crate::net::{TcpStream, UnixStream};
#[cfg(feature = "tls")]
use crate::tls::TlsStream;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

macro_rules! connection {
    ($stream:ty) => {
        impl Read for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                mut buf: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                let room = buf.remaining();
                self.poll_receive(cx, room, |bytes| buf.put_slice(bytes)).map_ok(|_| ())
            }
        }

        impl Write for $stream {
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

            // hyper flushes after each message and goes on to read: to wait would have it polled twice.
            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_sent_off()
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_end(cx)
            }
        }
    };
}

connection!(TcpStream);
connection!(UnixStream);
#[cfg(feature = "tls")]
connection!(TlsStream);
