//! TLS over rustls, with owned buffers (feature `tls`).
//!
//! [`TlsStream`] is a stream that is encrypted, [`Acceptor`] and [`Connector`] make one, [`Reloadable`]
//! renews certificates under way. The protocol is rustls's and its cryptography that of a provider: nothing
//! of either is here.
//!
//! # Configuration
//! It is `rustls`'s, which is re-exported so that versions agree. The feature brings the provider `ring`,
//! which needs nothing but a C compiler to build. Another provider can be named in the configuration
//! (`ServerConfig::builder_with_provider`); if another crate brings a second one into the program,
//! `ServerConfig::builder` wants to be told which is the default (`CryptoProvider::install_default`).
//!
//! # What it costs
//! rustls decrypts in the buffer that was received and then, in 0.23, copies the plaintext into a vector
//! of its own. From there it is copied into the caller's buffer ([`TlsStream::recv`]) or back into the
//! received one ([`TlsStream::recv_pooled`], by way of a vector that the core keeps). Encrypting makes a
//! vector inside rustls for each record, which is copied into the buffer that is sent. Everything else
//! (the buffer that is sent, what a record in two pieces is put together in) is kept and used again. An
//! idle stream holds no buffer.
//!
//! Under the poll-shaped traits (see `compat`) plaintext goes into the caller's buffer, and is encrypted in
//! the buffer that is sent.
//!
//! Encrypting and decrypting happen on the core, under the lock of the stream: some microseconds per
//! record of 16 KiB. Handshakes cost a core hundreds of microseconds.
//!
//! # For the house
//! L6. Owns what is named above. `engine.rs` is the one file that touches the state machine of rustls;
//! `state.rs` has the table of a stream's states, `send.rs` that of dropped sends.
#![forbid(unsafe_code)]

mod carry;
mod engine;
mod error;
mod handshake;
mod hello;
mod message;
mod parts;
// For the adapters of `compat`; there without any of them too, as in `net`.
#[cfg_attr(not(any(feature = "tokio-io", feature = "futures-io", feature = "hyper")), allow(dead_code))]
pub(crate) mod poll;
mod recv;
mod reload;
mod send;
mod session;
mod spare;
mod state;
mod stream;

pub use handshake::{Acceptor, Connector};
pub use parts::Parts;
pub use recv::{Recv, RecvPooled};
pub use reload::Reloadable;
pub use rustls;
pub use send::{Send, SendAll, SendVectored};
pub use session::Session;
pub use stream::TlsStream;
