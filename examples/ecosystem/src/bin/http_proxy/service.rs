//! The proxy as a service of tower: one for each connection, which knows its client.
#![forbid(unsafe_code)]

use crate::forward::{Answer, Upstream, forward};
use hyper::Request;
use hyper::body::Incoming;
use ringwork::compat::tower::IncomingStream;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

/// What all connections share.
#[derive(Clone)]
pub(crate) struct MakeProxy {
    upstream: Arc<Upstream>,
    over_tls: bool,
}

impl MakeProxy {
    pub(crate) fn new(upstream: Upstream, over_tls: bool) -> Self {
        Self { upstream: Arc::new(upstream), over_tls }
    }
}

impl<Io> Service<IncomingStream<'_, Io>> for MakeProxy {
    type Response = Proxy;
    type Error = Infallible;
    type Future = Ready<Result<Proxy, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, incoming: IncomingStream<'_, Io>) -> Self::Future {
        ready(Ok(Proxy { shared: self.clone(), peer: incoming.remote_addr() }))
    }
}

/// Serves one client.
#[derive(Clone)]
pub(crate) struct Proxy {
    shared: MakeProxy,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for Proxy {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        Box::pin(forward(request, self.peer, self.shared.over_tls, Arc::clone(&self.shared.upstream)))
    }
}
