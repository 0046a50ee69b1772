//! Unix stream sockets: `UnixStream`, `UnixListener`, and what only they have.
//!
//! Owns addresses (paths and abstract names), pairs, and the credentials of a peer. The stream is a thin type
//! over what all streams share (`net/connected.rs`), the listener over the accept side of
//! `net/listener.rs`. Descriptors are not passed over these sockets: the kernel closes those that a peer
//! sends.
#![forbid(unsafe_code)]

mod addr;
mod cred;
mod listener;
mod stream;

pub use cred::UCred;
pub use listener::UnixListener;
pub use std::os::unix::net::SocketAddr;
pub use stream::UnixStream;

/// The receive half of [`UnixStream::split`].
pub type RecvHalf<'a> = super::RecvHalf<'a, UnixStream>;
/// The send half of [`UnixStream::split`].
pub type SendHalf<'a> = super::SendHalf<'a, UnixStream>;
/// The receive half of [`UnixStream::into_split`].
pub type OwnedRecvHalf = super::OwnedRecvHalf<UnixStream>;
/// The send half of [`UnixStream::into_split`].
pub type OwnedSendHalf = super::OwnedSendHalf<UnixStream>;
/// Two halves that do not belong together.
pub type ReuniteError = super::ReuniteError<UnixStream>;
