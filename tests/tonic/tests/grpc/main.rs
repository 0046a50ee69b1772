//! gRPC with tonic over ringwork's streams: calls of each kind, how they end, and many at once.
#![deny(unsafe_code)]

mod calls;
mod ends;
mod kit;
mod many;
mod silence;
mod uploads;
