//! What tonic asks of a transport: a channel for clients, and for servers what its own transport adds.
//!
//! tonic's `transport` spawns on tokio's runtime and sleeps by its clock. What it is made of does neither:
//! generated clients call any [`tower_service::Service`] over HTTP/2, generated servers are one. Owns
//! [`Channel`], which is such a service over `hyper-util`'s client, and [`Calls`], which goes in front of a
//! server's routes. Both hold calls to their deadline (`grpc-timeout`) from the first byte to the last, and
//! say by a status of gRPC what went wrong below. Depend on tonic with `default-features = false`.
//!
//! Is not a server: `Calls` is served as every tower service is, by hyper on our streams.
#![cfg_attr(not(doctest), doc = "\n")]
#![cfg_attr(not(doctest), doc = include_str!("guide.md"))]
#![forbid(unsafe_code)]

mod answer;
mod body;
mod calls;
mod channel;
mod deadline;
mod failure;
mod request;

pub use answer::AnswerBody;
pub use body::CallBody;
pub use calls::{Calls, Response as CallsResponse};
pub use channel::{Channel, Response as ChannelResponse};
pub use request::RequestBody;
