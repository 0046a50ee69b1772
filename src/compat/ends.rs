//! What receives and what sends: streams and their halves, under one name each for all traits.
#![forbid(unsafe_code)]

use crate::net::poll_read::poll_read;
use crate::net::poll_write;
use crate::net::{OwnedRecvHalf, OwnedSendHalf, RecvHalf, SendHalf, TcpStream, UnixStream};
#[cfg(feature = "tls")]
use crate::tls::{TlsStream, poll as tls};
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

/// What receives: a stream, or its receiving half.
pub(super) trait Receives {
    /// Takes at most `room` bytes, which `put` appends to the caller's buffer; zero is the end of the stream.
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        room: usize,
        put: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>>;
}

/// What sends: a stream, or its sending half.
pub(super) trait Sends {
    /// Takes what there is room for.
    fn poll_send(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Ready when the kernel has all of it.
    #[cfg_attr(not(any(feature = "tokio-io", feature = "futures-io")), allow(dead_code))]
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says what has become of it, and waits for nothing.
    #[cfg_attr(not(feature = "hyper"), allow(dead_code))]
    fn poll_sent_off(&self) -> Poll<io::Result<()>>;

    /// Closes the send direction behind it.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

macro_rules! receives {
    ($receiver:ty, $poll_read:path, $this:ident => $from:expr) => {
        impl Receives for $receiver {
            #[inline]
            fn poll_receive(
                &self,
                cx: &mut Context<'_>,
                room: usize,
                put: impl FnMut(&[u8]),
            ) -> Poll<io::Result<usize>> {
                let $this = self;
                $poll_read($from, cx, room, put)
            }
        }
    };
}

macro_rules! sends {
    ($sender:ty, $room:ident, $this:ident => $on:expr) => {
        impl Sends for $sender {
            #[inline]
            fn poll_send(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
                let $this = self;
                $room::poll_write($on, cx, bufs)
            }

            #[inline]
            fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self;
                $room::poll_flush($on, cx)
            }

            #[inline]
            fn poll_sent_off(&self) -> Poll<io::Result<()>> {
                let $this = self;
                $room::poll_send_off($on)
            }

            #[inline]
            fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self;
                $room::poll_shutdown($on, cx)
            }
        }
    };
}

receives!(TcpStream, poll_read, stream => stream);
receives!(RecvHalf<'_>, poll_read, half => half.stream());
receives!(OwnedRecvHalf, poll_read, half => half.stream());
sends!(TcpStream, poll_write, stream => stream);
sends!(SendHalf<'_>, poll_write, half => half.stream());
sends!(OwnedSendHalf, poll_write, half => half.stream());

receives!(UnixStream, poll_read, stream => stream);
receives!(RecvHalf<'_, UnixStream>, poll_read, half => half.stream());
receives!(OwnedRecvHalf<UnixStream>, poll_read, half => half.stream());
sends!(UnixStream, poll_write, stream => stream);
sends!(SendHalf<'_, UnixStream>, poll_write, half => half.stream());
sends!(OwnedSendHalf<UnixStream>, poll_write, half => half.stream());

#[cfg(feature = "tls")]
receives!(TlsStream, tls::poll_read, stream => stream);
#[cfg(feature = "tls")]
sends!(TlsStream, tls, stream => stream);
#[cfg(feature = "tls")]
receives!(&TlsStream, tls::poll_read, stream => stream);
#[cfg(feature = "tls")]
sends!(&TlsStream, tls, stream => stream);
