//! What the programs of this package share: an orderly start and end, and the guide to serving axum.
#![forbid(unsafe_code)]

mod program;
#[path = "../../serving/mod.rs"]
mod serving;
pub mod tls;

pub use program::{Program, address, cores};
pub use serving::{Seldom, cannot_listen, complain};

use hyper_util::rt::TokioIo;

/// A stream with tokio's traits under hyper's, or the other way about.
pub fn for_hyper<I>(io: I) -> TokioIo<I> {
    TokioIo::new(io)
}

/// The guide of `ringwork::compat::axum`, compiled and run here, where axum and TLS are.
#[cfg(doctest)]
#[doc = include_str!("../../../src/compat/axum/guide.md")]
pub struct AxumGuide;
