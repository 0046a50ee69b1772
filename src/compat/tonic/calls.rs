//! What goes in front of a server's routes.
#![forbid(unsafe_code)]

use super::body::CallBody;
use super::deadline::Deadline;
use super::failure::BoxError;
use ::tonic::body::Body;
use bytes::Bytes;
use hyper::Request;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_service::Service;

/// A server's routes, or one generated server, with what they need of a transport.
///
/// - A call ends with `DEADLINE_EXCEEDED` when its client's deadline (`grpc-timeout`) or the server's own
///   limit is over, also in the middle of a stream; its handler is dropped then.
/// - A handler that reads what a client sends never takes a stream that broke for one that is complete: it
///   reads `ABORTED` if the client gave up, and `UNAVAILABLE` if the connection is lost.
///
/// The latter needs requests with hyper's own body ([`Incoming`](hyper::body::Incoming)): where something in
/// front has put another type in its place, a client that resets its stream without an error (NO_ERROR) looks
/// like one that has sent all.
///
/// A handler is dropped, too, when its client gives up; hyper does that. Clones share the routes as these do.
///
/// A response whose client does not read is not looked at, and so not ended, before the client reads on or
/// its connection ends: HTTP/2 keep-alive of the server does that for clients that are gone.
///
/// ```
/// use ringwork::compat::tonic::Calls;
/// use std::time::Duration;
///
/// fn in_front<S>(routes: S) -> Calls<S> {
///     Calls::new(routes).limit(Duration::from_secs(60))
/// }
/// # drop(in_front(()));
/// ```
///
/// [The guide](super#a-server) serves them.
#[derive(Clone, Copy, Debug)]
pub struct Calls<S> {
    inner: S,
    limit: Option<Duration>,
}

impl<S> Calls<S> {
    /// The calls of these routes, which may take as long as their clients wait.
    pub fn new(routes: S) -> Self {
        Self { inner: routes, limit: None }
    }

    /// No call may take longer than this, streams included.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl<S, B, R> Service<Request<B>> for Calls<S>
where
    S: Service<Request<CallBody<B>>, Response = hyper::Response<R>>,
    B: 'static,
    R: hyper::body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = hyper::Response<Body>;
    type Error = S::Error;
    type Future = Response<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Response<S::Future> {
        let deadline = Some(Deadline::of(request.headers(), self.limit));
        let version = request.version();
        let request = request.map(|body| CallBody::request(body, version));
        Response { handler: Some(self.inner.call(request)), deadline }
    }
}

pin_project! {
    /// The response of [`Calls`]: the handler's, or the status of one that took too long.
    ///
    /// # Panics
    /// When polled again after it was ready.
    #[derive(Debug)]
    pub struct Response<F> {
        // `None` when it is through, or its time is over.
        #[pin]
        handler: Option<F>,
        deadline: Option<Deadline>,
    }
}

impl<F, R, E> Future for Response<F>
where
    F: Future<Output = Result<hyper::Response<R>, E>>,
    R: hyper::body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<hyper::Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (Some(handler), Some(deadline)) = (this.handler.as_mut().as_pin_mut(), this.deadline.as_mut())
        else {
            panic!("polled after it was ready");
        };
        if let Poll::Ready(status) = deadline.poll(cx) {
            this.handler.set(None);
            return Poll::Ready(Ok(status.into_http()));
        }
        let response = ready!(handler.poll(cx));
        this.handler.set(None);
        let deadline = this.deadline.take();
        Poll::Ready(response.map(|response| {
            response.map(|body| match deadline {
                Some(deadline) if !body.is_end_stream() => Body::new(CallBody::reply(body, deadline)),
                _ => Body::empty(),
            })
        }))
    }
}
