//! Serving applications of axum.
//!
//! Owns [`serve`], which takes what `axum::serve` takes (a router, a method router, whatever their
//! `into_make_service` and `into_make_service_with_connect_info` give), and [`Connected`] for the clients'
//! addresses. All else is [`compat::tower`](super::tower)'s. What calls tokio's runtime inside does not run
//! here: `axum::serve` itself; and the `on_upgrade` of axum's `ws`, which spawns there, only with the
//! feature `tokio-context`.
#![cfg_attr(not(doctest), doc = "\n")]
#![cfg_attr(not(doctest), doc = include_str!("guide.md"))]
#![forbid(unsafe_code)]

mod body;

pub use body::{WithBody, WithBodyFuture};

use super::tower::{self, IncomingStream, Serve};
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::routing::MethodRouter;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::panic::Location;
use std::task::{Context, Poll};
use tower_service::Service;

/// Serves an application on every core: [`tower::serve`] for services that take requests with axum's body.
///
/// As with `axum::serve`, WebSockets over HTTP/2 are offered (RFC 8441): they come as CONNECT, so route them
/// with `any`.
///
/// ```
/// use axum::{Router, routing::get};
/// # async fn program() -> std::io::Result<()> {
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let address: std::net::SocketAddr = "127.0.0.1:8080".parse().unwrap();
/// ringwork::compat::axum::serve(address, app).await
/// # }
/// ```
#[track_caller]
pub fn serve<M>(on: impl Into<crate::serve::Serve>, make: M) -> Serve<WithBody<M>> {
    let on = on.into().described_at(Location::caller());
    tower::serve(on, WithBody::new(make)).http(|http| {
        http.http2().enable_connect_protocol();
    })
}

impl<Io> Connected<IncomingStream<'_, Io>> for SocketAddr {
    fn connect_info(incoming: IncomingStream<'_, Io>) -> Self {
        incoming.remote_addr()
    }
}

impl<Io> Service<IncomingStream<'_, Io>> for Router<()> {
    type Response = Self;
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _incoming: IncomingStream<'_, Io>) -> Self::Future {
        ready(Ok(self.clone()))
    }
}

impl<Io> Service<IncomingStream<'_, Io>> for MethodRouter<(), Infallible> {
    type Response = Self;
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _incoming: IncomingStream<'_, Io>) -> Self::Future {
        ready(Ok(self.clone()))
    }
}
