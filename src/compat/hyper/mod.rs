//! What hyper 1.x asks of a runtime.
//!
//! Owns [`Executor`], [`LocalExecutor`] and [`Timer`]; a [`TcpStream`](crate::net::TcpStream) is a connection
//! as it is (`hyper::rt::{Read, Write}`), without a wrapper, and so is a `TlsStream` with the feature `tls`.
//! With the feature `hyper-util` there is also `Connector`, for that crate's client, and with both
//! `HttpsConnector`.
#![cfg_attr(not(doctest), doc = "\n")]
#![cfg_attr(not(doctest), doc = include_str!("guide.md"))]
#![forbid(unsafe_code)]

#[cfg(feature = "hyper-util")]
mod connector;
mod executor;
#[cfg(all(feature = "hyper-util", feature = "tls"))]
mod https;
mod io;
mod timer;

#[cfg(feature = "hyper-util")]
pub use connector::Connector;
pub use executor::{Executor, LocalExecutor};
#[cfg(all(feature = "hyper-util", feature = "tls"))]
pub use https::{HttpsConnector, HttpsStream};
pub use timer::Timer;
