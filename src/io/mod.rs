//! Ending an op before its time without losing its buffer: [`Timeout`] and [`Cancel`].
//!
//! [`time::timeout`](crate::time::timeout) around a call that owns a buffer drops the buffer with the call.
//! `.timeout(limit)` and `.cancel()` of the call itself wait for its final completion and give the buffer
//! back:
//!
//! ```
//! use ringwork::net::{TcpListener, TcpStream};
//! use std::time::Duration;
//!
//! # #[ringwork::main(cores = 1)]
//! # async fn main() -> std::io::Result<()> {
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let client = TcpStream::connect(listener.local_addr()?).await?;
//! let buf = Vec::with_capacity(4096);
//! let (received, buf) = client.recv(buf).timeout(Duration::from_millis(1)).await;
//! assert_eq!(received.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
//! assert_eq!(buf.capacity(), 4096);
//! # Ok(())
//! # }
//! ```
//!
//! # For the house
//! L4. Owns the positional read and these two, which are what all ops have in common for their users. It
//! knows no op by name.
#![forbid(unsafe_code)]

mod read;
mod stop;

pub use read::FileSource;
pub(crate) use read::{Read, sealed};
pub use stop::Stop;
pub use stop::{Cancel, Timeout};
pub(crate) use stop::{explain, stoppable, stopped};
