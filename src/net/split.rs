//! The halves of a stream.
//!
//! Owns nothing: a half is a handle that shows one direction. Both share the state described in recv.rs and
//! turn.rs. There is one set of types for all kinds of streams; without a parameter they are a `TcpStream`'s.
#![forbid(unsafe_code)]

use super::forward::{ForwardError, ForwardTarget, sealed};
use super::peek::Peek;
use super::receive::{Recv, RecvPooled};
use super::send::{Send, SendAll, SendVectored};
use super::send_off::SendOff;
use super::shared::Shared;
use super::unix::SocketAddr as UnixAddr;
use super::{Connected, TcpStream, UnixStream};
use crate::buf::{IoBuf, IoBufMut};
use crate::io::FileSource;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The receive direction of a borrowed stream; see [`TcpStream::split`], [`UnixStream::split`].
#[derive(Debug)]
pub struct RecvHalf<'a, S = TcpStream>(&'a S);

/// The send direction of a borrowed stream; see [`TcpStream::split`], [`UnixStream::split`].
#[derive(Debug)]
pub struct SendHalf<'a, S = TcpStream>(&'a S);

/// The receive direction of a stream; see [`TcpStream::into_split`], [`UnixStream::into_split`].
#[derive(Debug)]
pub struct OwnedRecvHalf<S = TcpStream>(S);

/// The send direction of a stream; see [`TcpStream::into_split`], [`UnixStream::into_split`]. Dropping it
/// closes the direction behind what was sent.
#[derive(Debug)]
pub struct OwnedSendHalf<S = TcpStream>(Closing, S);

/// Closes a send direction when it is dropped, unless it was forgotten. It goes before the half's handle,
/// which may be the last.
struct Closing(Option<Arc<Shared>>);

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.close_write();
        }
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.is_some())
    }
}

// Not derived: that would ask for streams that can be copied.
impl<S> Clone for RecvHalf<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for RecvHalf<'_, S> {}

impl<S> Clone for SendHalf<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for SendHalf<'_, S> {}

macro_rules! addresses {
    ($half:ty, $stream:ident, $address:ty) => {
        impl $half {
            #[doc = concat!("As [`", stringify!($stream), "::peer_addr`].")]
            ///
            /// # Errors
            /// As there.
            pub fn peer_addr(&self) -> io::Result<$address> {
                self.stream().peer_addr()
            }

            #[doc = concat!("As [`", stringify!($stream), "::local_addr`].")]
            ///
            /// # Errors
            /// As there.
            pub fn local_addr(&self) -> io::Result<$address> {
                self.stream().local_addr()
            }
        }
    };
}

macro_rules! receives {
    ($half:ty, $stream:ident) => {
        impl $half {
            #[doc = concat!("As [`", stringify!($stream), "::recv`].")]
            pub fn recv<B: IoBufMut>(&self, buf: B) -> Recv<'_, B> {
                self.stream().recv(buf)
            }

            #[doc = concat!("As [`", stringify!($stream), "::recv_exact`].")]
            ///
            /// # Errors
            /// As there.
            pub async fn recv_exact<B: IoBufMut>(&self, buf: B) -> (io::Result<()>, B) {
                self.stream().recv_exact(buf).await
            }

            #[doc = concat!("As [`", stringify!($stream), "::peek`].")]
            pub fn peek<B: IoBufMut>(&self, buf: B) -> Peek<'_, B> {
                self.stream().peek(buf)
            }

            #[doc = concat!("As [`", stringify!($stream), "::recv_pooled`].")]
            pub fn recv_pooled(&self) -> RecvPooled<'_> {
                self.stream().recv_pooled()
            }

            #[doc = concat!("As [`", stringify!($stream), "::forward_to`].")]
            ///
            /// # Errors
            /// As there.
            pub async fn forward_to(&self, to: &impl ForwardTarget) -> Result<u64, ForwardError> {
                self.stream().forward_to(to).await
            }
        }
    };
}

macro_rules! sends {
    ($half:ty, $stream:ident) => {
        impl $half {
            #[doc = concat!("As [`", stringify!($stream), "::send`].")]
            pub fn send<B: IoBuf>(&self, buf: B) -> Send<'_, B> {
                self.stream().send(buf)
            }

            #[doc = concat!("As [`", stringify!($stream), "::send_all`].")]
            pub fn send_all<B: IoBuf>(&self, buf: B) -> SendAll<'_, B> {
                self.stream().send_all(buf)
            }

            #[doc = concat!("As [`", stringify!($stream), "::send_off`].")]
            pub fn send_off<B: IoBuf>(&self, buf: B) -> SendOff<'_, B> {
                self.stream().send_off(buf)
            }

            #[doc = concat!("As [`", stringify!($stream), "::all_sent`].")]
            ///
            /// # Errors
            /// As there.
            pub async fn all_sent(&self) -> io::Result<()> {
                self.stream().all_sent().await
            }

            #[doc = concat!("As [`", stringify!($stream), "::send_vectored`].")]
            pub fn send_vectored<B: IoBuf>(&self, bufs: Vec<B>) -> SendVectored<'_, B> {
                self.stream().send_vectored(bufs)
            }

            #[doc = concat!("As [`", stringify!($stream), "::send_file`].")]
            ///
            /// # Errors
            /// As there.
            pub async fn send_file(&self, file: &impl FileSource, offset: u64, len: u64) -> io::Result<u64> {
                self.stream().send_file(file, offset, len).await
            }

            #[doc = concat!("As [`", stringify!($stream), "::send_file_with_head`].")]
            ///
            /// # Errors
            /// As there.
            pub async fn send_file_with_head<B: IoBuf>(
                &self,
                head: B,
                file: &impl FileSource,
                offset: u64,
                len: u64,
            ) -> (io::Result<u64>, B) {
                self.stream().send_file_with_head(head, file, offset, len).await
            }

            #[doc = concat!("As [`", stringify!($stream), "::shutdown_write`].")]
            ///
            /// # Errors
            /// As there.
            pub async fn shutdown_write(&self) -> io::Result<()> {
                self.stream().shutdown_write().await
            }
        }
    };
}

macro_rules! targets {
    ($half:ty) => {
        impl sealed::Sealed for $half {
            fn target(&self) -> &Arc<Shared> {
                self.stream().shared()
            }
        }

        impl ForwardTarget for $half {}
    };
}

macro_rules! reunites {
    ($stream:ident) => {
        impl OwnedRecvHalf<$stream> {
            /// Puts two halves of one stream together again.
            ///
            /// # Errors
            /// Gives both back if they belong to different streams.
            pub fn reunite(self, other: OwnedSendHalf<$stream>) -> Result<$stream, ReuniteError<$stream>> {
                if !self.0.handle().same(other.stream().handle()) {
                    return Err(ReuniteError(self, other));
                }
                other.forget();
                Ok(self.0)
            }
        }
    };
}

macro_rules! halves {
    ($stream:ident, $address:ty) => {
        receives!(RecvHalf<'_, $stream>, $stream);
        receives!(OwnedRecvHalf<$stream>, $stream);
        sends!(SendHalf<'_, $stream>, $stream);
        sends!(OwnedSendHalf<$stream>, $stream);
        targets!(SendHalf<'_, $stream>);
        targets!(OwnedSendHalf<$stream>);
        addresses!(RecvHalf<'_, $stream>, $stream, $address);
        addresses!(OwnedRecvHalf<$stream>, $stream, $address);
        addresses!(SendHalf<'_, $stream>, $stream, $address);
        addresses!(OwnedSendHalf<$stream>, $stream, $address);
        reunites!($stream);
    };
}

halves!(TcpStream, SocketAddr);
halves!(UnixStream, UnixAddr);

impl<'a, S> RecvHalf<'a, S> {
    pub(super) fn new(stream: &'a S) -> Self {
        Self(stream)
    }

    /// The whole stream, for its options.
    pub fn stream(&self) -> &S {
        self.0
    }
}

impl<'a, S> SendHalf<'a, S> {
    pub(super) fn new(stream: &'a S) -> Self {
        Self(stream)
    }

    /// The whole stream, for its options.
    pub fn stream(&self) -> &S {
        self.0
    }
}

impl<S> OwnedRecvHalf<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(stream)
    }

    /// The whole stream, for its options.
    pub fn stream(&self) -> &S {
        &self.0
    }
}

impl<S> OwnedSendHalf<S> {
    pub(super) fn new(stream: S) -> Self
    where
        S: Connected,
    {
        Self(Closing(Some(Arc::clone(stream.shared()))), stream)
    }

    /// The whole stream, for its options.
    pub fn stream(&self) -> &S {
        &self.1
    }

    /// Lets go of the half without closing the direction.
    pub fn forget(mut self) {
        self.0.0 = None;
    }
}

/// The two halves do not belong together.
pub struct ReuniteError<S = TcpStream>(
    /// The receive half that was given.
    pub OwnedRecvHalf<S>,
    /// The send half that was given.
    pub OwnedSendHalf<S>,
);

impl<S> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuniteError")
    }
}

impl<S> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves belong to different streams")
    }
}

impl<S> std::error::Error for ReuniteError<S> {}
