//! hyper's body as axum's.
//!
//! Owns the two services that put it there: a layer around a whole router (`axum::middleware::from_fn`) takes
//! requests with axum's body and nothing else.
#![forbid(unsafe_code)]

use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// A service, or a make-service whose services, take requests with axum's body, so that hyper's are served.
#[derive(Clone, Copy, Debug)]
pub struct WithBody<S> {
    inner: S,
}

impl<S> WithBody<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

/// The service of one connection.
impl<S: Service<Request<Body>>> Service<Request<Incoming>> for WithBody<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> S::Future {
        self.inner.call(request.map(Body::new))
    }
}

/// The make-service.
impl<'a, M, Io> Service<super::IncomingStream<'a, Io>> for WithBody<M>
where
    M: Service<super::IncomingStream<'a, Io>>,
{
    type Response = WithBody<M::Response>;
    type Error = M::Error;
    type Future = WithBodyFuture<M::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, incoming: super::IncomingStream<'a, Io>) -> Self::Future {
        WithBodyFuture { made: self.inner.call(incoming) }
    }
}

pin_project! {
    /// What [`WithBody`] makes, to come.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct WithBodyFuture<F> {
        #[pin]
        made: F,
    }
}

impl<S, E, F: Future<Output = Result<S, E>>> Future for WithBodyFuture<F> {
    type Output = Result<WithBody<S>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().made.poll(cx).map_ok(WithBody::new)
    }
}
