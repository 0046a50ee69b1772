//! The guide of `ringwork::compat::tonic`, compiled and run, and the service of the tests beside.
#![forbid(unsafe_code)]

/// gRPC.
#[cfg(doctest)]
#[doc = include_str!("../../../src/compat/tonic/guide.md")]
pub struct Guide;

/// The code of `examples/ecosystem/proto/numbers.proto`.
#[allow(missing_docs, clippy::all, reason = "it is not ours")]
pub mod pb {
    tonic::include_proto!("ringwork.numbers.v1");
}
