//! Sockets: TCP, Unix streams, UDP.
//!
//! | what | how |
//! |---|---|
//! | serve on every core | [`serve_per_core`](crate::serve_per_core), [`Serve`](crate::Serve) |
//! | listen, accept | [`TcpListener`], [`UnixListener`], with [`ListenOptions`] |
//! | connect | [`TcpStream::connect`], [`UnixStream::connect`] |
//! | receive | `recv_pooled` without a buffer of one's own, `recv` into one, `recv_exact`, `peek` |
//! | send | `send_all` waits until the kernel has all, `send_off` does not; `send_file` |
//! | pass on | `forward_to` |
//! | datagrams | [`UdpSocket`] |
//!
//! Buffers move into a call and come back with its result. A call that has to end in time and give its buffer
//! back has `.timeout(limit)` and `.cancel()` ([`Stop`](crate::io::Stop)).
//!
//! # Panics
//! What needs an op panics on a thread that is no core and has entered no runtime
//! ([`Handle::enter`](crate::runtime::Handle::enter)).
//!
//! # For the house
//! L5. Owns listeners, streams and their halves, and datagram sockets. TCP and Unix streams are two thin
//! types over one machinery (connected.rs). The state of a stream's receive side is the table in `recv.rs`;
//! the order of each direction is `turn.rs`; what handles and cells share is `shared.rs`. It does not spawn:
//! serving a listener on every core is `serve`.
#![forbid(unsafe_code)]

mod addr;
mod beside;
mod bind;
mod carry;
mod chunks;
mod connect;
mod connected;
mod end;
mod file;
mod flow;
mod forward;
mod gate;
mod in_vain;
#[cfg(feature = "tls")]
mod lane;
mod listener;
mod ops;
mod peek;
mod permit;
mod pipes;
// Nothing but the adapters of `compat` calls these two. They are there without any of them too: no feature
// changes what a stream is.
#[cfg_attr(not(any(feature = "tokio-io", feature = "futures-io", feature = "hyper")), allow(dead_code))]
pub(crate) mod poll_read;
#[cfg_attr(not(any(feature = "tokio-io", feature = "futures-io", feature = "hyper")), allow(dead_code))]
pub(crate) mod poll_write;
mod reader;
mod ready;
mod receive;
mod recv;
mod recv_ops;
mod refusals;
mod relay;
mod rest;
mod send;
mod send_off;
mod shared;
mod since;
mod single;
mod split;
mod stream;
mod together;
mod ttl;
mod turn;
pub mod udp;
pub mod unix;
mod waiting;

pub use addr::{Lookup, ToSocketAddrs, lookup_host};
pub(crate) use beside::{AcceptBeside, Beside};
pub use bind::{ListenOptions, TcpListener};
pub(crate) use connected::Connected;
pub use forward::{ForwardError, ForwardTarget};
#[cfg(feature = "tls")]
pub(crate) use lane::LaneSend;
pub use listener::Accept;
pub(crate) use listener::is_of_the_listener;
#[cfg(feature = "tls")]
pub(crate) use ops::assert_reach;
pub use peek::Peek;
pub use receive::{Recv, RecvPooled};
pub use send::{Send, SendAll, SendVectored};
pub use send_off::SendOff;
pub use split::{OwnedRecvHalf, OwnedSendHalf, RecvHalf, ReuniteError, SendHalf};
pub use stream::TcpStream;
#[cfg(feature = "tls")]
pub(crate) use turn::{Lists, Place, Receivers, Word};
pub use udp::UdpSocket;
pub use unix::{UnixListener, UnixStream};
