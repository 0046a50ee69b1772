//! What hyper 1.x asks of a runtime.
//!
//! Owns [`Executor`], [`LocalExecutor`] and [`Timer`]; a [`TcpStream`](crate::net::TcpStream) is a connection
//! as it is (`hyper::rt::{Read, Write}`), without a wrapper. With the feature `hyper-util` there is also
//! `Connector`, for that crate's client.
#![cfg_attr(not(doctest), doc = "\n")]
#![cfg_attr(not(doctest), doc = include_str!("guide.md"))]
#![forbid(unsafe_code)]

#[cfg(feature = "hyper-util")]
mod connector;
mod executor;
mod io;
mod timer;

#[cfg(feature = "hyper-util")]
pub use connector::Connector;
pub use executor::{Executor, LocalExecutor};
pub use timer::Timer;
