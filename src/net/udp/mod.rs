//! UDP: `UdpSocket` and the futures of its calls.
//!
//! Owns the socket, its options, and what happens to a datagram that was received for nobody. There is one
//! lane for receives and none for sends:
//!
//! - A receive is one op for one datagram. At most one is in flight per socket; other receivers wait in order
//!   (`net/turn.rs`). Several ops that wait for one socket would all be woken by each datagram, and a result
//!   that comes for a dropped future could not be handed to one of them, whose buffer the kernel has. With
//!   one, it is kept for the next receiver, which takes it before it starts an op; so no more than one is
//!   ever kept.
//! - Sends are independent ops. Each datagram leaves whole or not at all.
//!
//! There is no multishot receive here: a socket that nobody reads holds no buffers, and what the kernel's own
//! buffer has no room for is dropped there, as UDP does.
#![forbid(unsafe_code)]

mod options;
mod receive;
mod send;
mod socket;

pub use receive::{Datagram, Recv, RecvDatagram, RecvFrom};
pub use send::Send;
pub use socket::UdpSocket;
