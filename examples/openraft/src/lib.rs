//! openraft on ringwork: the adapter.
#![forbid(unsafe_code)]

pub mod runtime;
