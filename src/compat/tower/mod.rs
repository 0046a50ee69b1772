//! Serving HTTP on every core from any make-service of `tower`.
//!
//! Owns [`serve`]: hyper's HTTP/1 and HTTP/2 over the accept loops of [`crate::Serve`], with what a server on
//! the internet needs besides: limits on the time a client takes, and an end at which requests in flight are
//! answered. An application of axum is served by `compat::axum`, which builds on this.
#![cfg_attr(not(doctest), doc = "\n")]
#![cfg_attr(not(doctest), doc = include_str!("guide.md"))]
#![forbid(unsafe_code)]

mod connection;
mod ending;
mod incoming;
mod io;
mod progress;
mod serve;
mod server;

pub use incoming::IncomingStream;
pub use io::ServedIo;
pub use serve::{Plain, Serve, serve};
pub use server::Server;
