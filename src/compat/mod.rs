//! ringwork's streams, files and timers under the traits of other crates.
//!
//! Each is a Cargo feature, off by default. None changes how a stream or a file behaves for those who do not
//! use it, or starts a thread, but for `tokio-context` if it is asked to.
//!
//! | feature | what it adds |
//! |---|---|
//! | `tokio-io` | `tokio::io::{AsyncRead, AsyncWrite}` for streams, halves, `FileCursor`; `UdpSocket` |
//! | `futures-io` | the same with the traits of `futures-io` |
//! | `hyper` | `hyper::rt::{Read, Write}` for streams; executors and a timer in `compat::hyper` |
//! | `hyper-util` | connectors for the client of `hyper-util`, in the same place |
//! | `tower` | `compat::tower::serve`: an HTTP server on every core, from any make-service |
//! | `axum` | `compat::axum::serve`: the same for applications of axum, with their connect-info |
//! | `tonic` | a channel for clients and deadlines for servers of gRPC: `compat::tonic` |
//! | `tokio-context` | a tokio runtime beside, for libraries that call one inside; `compat::tokio_context` |
//!
//! With `tls`, a `TlsStream` has those of streams, too.
//!
//! # What it costs
//! Reading copies once, out of the buffer that the kernel filled; writing copies once, into the buffer that
//! is sent. Neither calls the allocator in steady state. The owned-buffer calls of the stream copy nothing,
//! and both shapes may be used on one stream in turn: no byte is lost and the order is that of the calls.
//!
//! # What the traits mean here
//! - A write is taken when it is copied; it leaves without another poll, also if the stream is dropped. At
//!   most 128 KiB of a stream are on their way like this, with TLS a record of 16 KiB more; above it writes
//!   wait.
//! - A flush is ready when all that was written is with the kernel. What goes wrong with bytes that were
//!   taken is the result of the next write, flush or shutdown. hyper's flush does not wait, because hyper
//!   flushes each message and its bytes leave anyway; who waits to read is woken when they cannot.
//! - A shutdown flushes and closes the send direction; the peer reads the end of the stream.
//! - A runtime that goes down gives bytes that were taken half of the time that its end may take. Then it
//!   resets the connection, if the socket had no room for them: what the peer has not acknowledged is lost.
//!   End a stream, and wait for the peer's end, before the runtime's.
//!
//! # For the house
//! L7. Owns adapters: each implementation is a few lines over `net::poll_read`, `net::poll_write` and
//! `FileCursor`, which know no trait.
#![cfg_attr(not(doctest), doc = "\n")]
#![cfg_attr(not(doctest), doc = include_str!("guide.md"))]
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
mod cursor;
#[cfg(any(feature = "tokio-io", feature = "futures-io", feature = "hyper"))]
mod ends;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "tokio-context")]
pub mod tokio_context;
#[cfg(feature = "tokio-io")]
mod tokio_io;
#[cfg(feature = "tonic")]
pub mod tonic;
#[cfg(feature = "tower")]
pub mod tower;
#[cfg(feature = "tokio-io")]
mod udp;

#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub use cursor::FileCursor;
#[cfg(feature = "tokio-io")]
pub use udp::UdpSocket;
