//! The halves of a stream.
//!
//! Owns nothing: a half is a handle that shows one direction. Both share the state described in recv.rs and
//! turn.rs.
#![forbid(unsafe_code)]

use super::TcpStream;
use super::receive::{Recv, RecvPooled};
use super::send::{Send, SendAll, SendVectored};
use crate::buf::{IoBuf, IoBufMut};
use crate::io::FileSource;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The receive direction of a borrowed stream; see [`TcpStream::split`].
#[derive(Clone, Copy, Debug)]
pub struct RecvHalf<'a>(&'a TcpStream);

/// The send direction of a borrowed stream; see [`TcpStream::split`].
#[derive(Clone, Copy, Debug)]
pub struct SendHalf<'a>(&'a TcpStream);

/// The receive direction of a stream; see [`TcpStream::into_split`].
#[derive(Debug)]
pub struct OwnedRecvHalf(TcpStream);

/// The send direction of a stream; see [`TcpStream::into_split`]. Dropping it closes the direction behind
/// what was sent.
#[derive(Debug)]
pub struct OwnedSendHalf(TcpStream, bool);

macro_rules! addresses {
    ($half:ty) => {
        impl $half {
            /// As [`TcpStream::peer_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.0.peer_addr()
            }

            /// As [`TcpStream::local_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.0.local_addr()
            }
        }
    };
}

macro_rules! receives {
    ($half:ty) => {
        impl $half {
            /// As [`TcpStream::recv`].
            pub fn recv<B: IoBufMut>(&self, buf: B) -> Recv<'_, B> {
                self.0.recv(buf)
            }

            /// As [`TcpStream::recv_exact`].
            ///
            /// # Errors
            /// As there.
            pub async fn recv_exact<B: IoBufMut>(&self, buf: B) -> (io::Result<()>, B) {
                self.0.recv_exact(buf).await
            }

            /// As [`TcpStream::recv_pooled`].
            pub fn recv_pooled(&self) -> RecvPooled<'_> {
                self.0.recv_pooled()
            }

            /// The whole stream, for its options.
            pub fn stream(&self) -> &TcpStream {
                &self.0
            }
        }
    };
}

macro_rules! sends {
    ($half:ty) => {
        impl $half {
            /// As [`TcpStream::send`].
            pub fn send<B: IoBuf>(&self, buf: B) -> Send<'_, B> {
                self.0.send(buf)
            }

            /// As [`TcpStream::send_all`].
            pub fn send_all<B: IoBuf>(&self, buf: B) -> SendAll<'_, B> {
                self.0.send_all(buf)
            }

            /// As [`TcpStream::send_vectored`].
            pub fn send_vectored<B: IoBuf>(&self, bufs: Vec<B>) -> SendVectored<'_, B> {
                self.0.send_vectored(bufs)
            }

            /// As [`TcpStream::send_file`].
            ///
            /// # Errors
            /// As there.
            pub async fn send_file(&self, file: &impl FileSource, offset: u64, len: u64) -> io::Result<u64> {
                self.0.send_file(file, offset, len).await
            }

            /// As [`TcpStream::shutdown_write`].
            ///
            /// # Errors
            /// As there.
            pub async fn shutdown_write(&self) -> io::Result<()> {
                self.0.shutdown_write().await
            }

            /// The whole stream, for its options.
            pub fn stream(&self) -> &TcpStream {
                &self.0
            }
        }
    };
}

receives!(RecvHalf<'_>);
receives!(OwnedRecvHalf);
sends!(SendHalf<'_>);
sends!(OwnedSendHalf);
addresses!(RecvHalf<'_>);
addresses!(OwnedRecvHalf);
addresses!(SendHalf<'_>);
addresses!(OwnedSendHalf);

impl<'a> RecvHalf<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self(stream)
    }
}

impl<'a> SendHalf<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self(stream)
    }
}

impl OwnedRecvHalf {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    /// Puts two halves of one stream together again.
    ///
    /// # Errors
    /// Gives both back if they belong to different streams.
    pub fn reunite(self, other: OwnedSendHalf) -> Result<TcpStream, ReuniteError> {
        if !self.0.handle().same(other.0.handle()) {
            return Err(ReuniteError(self, other));
        }
        other.forget();
        Ok(self.0)
    }
}

impl OwnedSendHalf {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(stream, true)
    }

    /// Lets go of the half without closing the direction.
    pub fn forget(mut self) {
        self.1 = false;
    }
}

impl Drop for OwnedSendHalf {
    fn drop(&mut self) {
        if self.1 {
            self.0.handle().shared().close_write();
        }
    }
}

/// The two halves do not belong together.
pub struct ReuniteError(
    /// The receive half that was given.
    pub OwnedRecvHalf,
    /// The send half that was given.
    pub OwnedSendHalf,
);

impl fmt::Debug for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuniteError")
    }
}

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves belong to different streams")
    }
}

impl std::error::Error for ReuniteError {}
