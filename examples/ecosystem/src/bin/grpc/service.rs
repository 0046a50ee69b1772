//! The service: plain tonic, which knows nothing of ringwork but where it takes time from.
//!
//! A handler that waits may be dropped at any of its awaits, when its client has cancelled the call or its
//! deadline is over. A stream that it has returned goes the same way.
#![forbid(unsafe_code)]

use crate::numbers::numbers_server::{Numbers, NumbersServer};
use crate::numbers::{CountRequest, Number, Total};
use axum::extract::ConnectInfo;
use futures_util::{Stream, StreamExt, stream};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

/// A longer message is refused with `OUT_OF_RANGE`.
const MESSAGE_MAX: usize = 1 << 20;
/// The longest padding that is made.
const PADDING_MAX: u32 = 64 * 1024;

/// As a server of tonic.
pub(crate) fn server() -> NumbersServer<Counting> {
    NumbersServer::new(Counting).max_decoding_message_size(MESSAGE_MAX)
}

#[derive(Clone, Copy)]
pub(crate) struct Counting;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Numbers for Counting {
    async fn square(&self, request: Request<Number>) -> Result<Response<Number>, Status> {
        let told = what_we_know(&request);
        let Number { value, padding } = request.into_inner();
        let square = value.checked_mul(value).ok_or_else(|| {
            Status::out_of_range(format!("the square of {value} does not fit into 64 bits"))
        })?;
        let mut response = Response::new(Number { value: square, padding });
        *response.metadata_mut() = told;
        Ok(response)
    }

    type CountStream = Answers<Number>;

    async fn count(&self, request: Request<CountRequest>) -> Result<Response<Answers<Number>>, Status> {
        let CountRequest { to, pause_ms, padding } = request.into_inner();
        if padding > PADDING_MAX {
            return Err(Status::invalid_argument(format!("at most {PADDING_MAX} bytes of padding")));
        }
        let pause = Duration::from_millis(pause_ms.into());
        let numbers = stream::unfold(1, move |value| async move {
            if to > 0 && value > to {
                return None;
            }
            if !pause.is_zero() {
                ringwork::time::sleep(pause).await;
            }
            Some((Ok(Number { value, padding: vec![0; padding as usize] }), value + 1))
        });
        Ok(Response::new(Box::pin(numbers)))
    }

    async fn sum(&self, request: Request<Streaming<Number>>) -> Result<Response<Total>, Status> {
        let (mut numbers, mut total) = (request.into_inner(), Total::default());
        while let Some(number) = numbers.message().await? {
            add(&mut total, &number)?;
        }
        Ok(Response::new(total))
    }

    type TotalsStream = Answers<Total>;

    async fn totals(&self, request: Request<Streaming<Number>>) -> Result<Response<Answers<Total>>, Status> {
        let totals = request.into_inner().scan(Total::default(), |total, number| {
            let next = number.and_then(|number| add(total, &number));
            std::future::ready(Some(next.map(|()| *total)))
        });
        Ok(Response::new(Box::pin(totals)))
    }
}

fn add(total: &mut Total, number: &Number) -> Result<(), Status> {
    let sum = total.sum.checked_add(number.value);
    let sum = sum.ok_or_else(|| Status::out_of_range("the sum does not fit into 64 bits"))?;
    *total = Total { count: total.count + 1, sum };
    Ok(())
}

/// Metadata for a response: what the request's said of its sender, and where it was served.
fn what_we_know<T>(request: &Request<T>) -> MetadataMap {
    let mut told = MetadataMap::new();
    if let Some(name) = request.metadata().get("caller-name") {
        told.insert("caller-name", name.clone());
    }
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        told.insert("caller-address", peer.to_string().parse().expect("an address is ASCII"));
    }
    if let Some(core) = ringwork::core::current() {
        told.insert("core", core.into());
    }
    told
}
