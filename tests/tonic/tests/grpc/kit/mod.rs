//! What these tests share: the service, servers and clients of both kinds, ours and tonic's own on tokio.
#![deny(unsafe_code)]

// It asks the kernel for the size of pipes.
#[allow(unsafe_code)]
#[path = "../../../../support/mod.rs"]
pub(crate) mod support;

pub(crate) mod ours;
mod service;
pub(crate) mod stock;

pub(crate) use pb::{CountRequest, Number, Total};
pub(crate) use ringwork_tonic_tests::pb;
pub(crate) use service::{FAILS, HANGS, MESSAGE_MAX, PANICS, Service};
pub(crate) use support::on_cores;

use bytes::Bytes;
use pb::numbers_client::NumbersClient;
use tonic::body::Body;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};

/// A client over whatever transport.
pub(crate) type Client =
    NumbersClient<BoxCloneService<hyper::Request<Body>, hyper::Response<Body>, BoxError>>;

/// A client over this transport.
pub(crate) fn client<S, B>(transport: S) -> Client
where
    S: tower::Service<hyper::Request<Body>, Response = hyper::Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let transport = transport.map_response(|response: hyper::Response<B>| response.map(Body::new));
    NumbersClient::new(transport.map_err(Into::into).boxed_clone())
}

/// A server with a client, each ours or tonic's own.
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) service: Service,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Ours,
    Stock,
}

/// Runs a test with our server and client, and with each of them and tonic's own on the other side. A window
/// bounds what the server may send ahead of the client on one stream.
pub(crate) fn everywhere<F: Future<Output = ()>>(
    window: Option<u32>,
    test: impl Fn(Scene) -> F + Clone + Send + 'static,
) {
    for (serves, calls) in [(Side::Ours, Side::Ours), (Side::Ours, Side::Stock), (Side::Stock, Side::Ours)] {
        println!("the server is {serves:?}, the client {calls:?}");
        let test = test.clone();
        on_cores(2, move |_| one(serves, calls, window, test));
    }
}

async fn one<F: Future<Output = ()>>(
    serves: Side,
    calls: Side,
    window: Option<u32>,
    test: impl Fn(Scene) -> F + Send + 'static,
) {
    let service = Service::default();
    let (ours, stock) = match serves {
        Side::Ours => (Some(ours::Server::start(service.clone(), None).await), None),
        Side::Stock => (None, Some(stock::Server::start(service.clone()))),
    };
    let address = ours.as_ref().map_or_else(|| stock.as_ref().unwrap().address, |ours| ours.address());
    match calls {
        Side::Ours => {
            let client = client(ours::channel(address, window));
            test(Scene { client, service }).await;
        }
        Side::Stock => {
            let test = move || {
                stock::block_on(async {
                    let client = client(stock::channel(address, window));
                    test(Scene { client, service }).await;
                });
            };
            ringwork::spawn_blocking(test).await.unwrap();
        }
    }
    if let Some(ours) = ours {
        assert!(ours.stop().await, "all connections end");
    }
    if let Some(stock) = stock {
        ringwork::spawn_blocking(|| stock.stop()).await.unwrap();
    }
}

/// A number without padding.
pub(crate) fn number(value: u64) -> Number {
    Number { value, padding: Vec::new() }
}
