//! What a connection is at: whether a request has come, whether one is in flight, when the last was over.
//!
//! Owns the service that notes it, around the user's, and the body that notes a response's end by being
//! dropped. hyper has a limit for the time between requests too, at the price of an allocation and a timer
//! for each request; one look at these notes when a connection's own timer fires costs neither. It limits
//! nothing itself. It is also where an answer of HTTP/1 is told that it is the last of its connection: hyper
//! says so of requests that it knew of before it was told to end, and those that come later may be answered
//! in the same poll.
//!
//! A service may answer at once and have the body of the request read on. When that is over cannot be noted:
//! the body is a type of hyper's, and no other can be put around it. What can be noted is that there is one.
#![forbid(unsafe_code)]

use super::ending::{Ending, Stage};
use crate::time::Instant;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_service::Service;

/// The notes of one connection. They are made and read in its task, but for HTTP/2, whose requests are tasks
/// of their own and note their beginning only.
pub(super) struct Progress {
    ending: Arc<Ending>,
    born: Instant,
    has_begun: AtomicBool,
    /// It speaks HTTP/2: between requests it may be idle for as long as it likes.
    is_multiplexed: AtomicBool,
    in_flight: AtomicU64,
    /// The last request has a body, which may come on behind its response. Whether it does, only hyper knows.
    has_body: AtomicBool,
    /// A response is over and maybe not sent, so that `idle_since` is the time of another.
    is_stale: AtomicBool,
    /// Something was written that has not been flushed: the client is taking it, or does not.
    is_unflushed: AtomicBool,
    /// In ns since it was born.
    idle_since: AtomicU64,
}

impl Progress {
    pub(super) fn new(ending: Arc<Ending>) -> Self {
        Self {
            ending,
            born: Instant::now(),
            has_begun: AtomicBool::new(false),
            is_multiplexed: AtomicBool::new(false),
            in_flight: AtomicU64::new(0),
            has_body: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            is_unflushed: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
        }
    }

    /// Whether a request has come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    /// How long the client has been due to send a request; none if it is not.
    pub(super) fn due_for(&self) -> Option<Duration> {
        let is_free = self.is_multiplexed.load(Ordering::Relaxed)
            || self.in_flight.load(Ordering::Relaxed) > 0
            || self.is_unflushed.load(Ordering::Relaxed);
        if is_free {
            return None;
        }
        self.note_idle();
        let idle_since = Duration::from_nanos(self.idle_since.load(Ordering::Relaxed));
        Some(self.born.elapsed().saturating_sub(idle_since))
    }

    /// Whether what a client that is due owes may be the rest of a body.
    pub(super) fn may_owe_body(&self) -> bool {
        self.has_body.load(Ordering::Relaxed)
    }

    /// hyper reads no more.
    pub(super) fn shuts_down(&self) {
        self.has_body.store(false, Ordering::Relaxed);
    }

    /// Something is written.
    pub(super) fn writes(&self) {
        self.is_unflushed.store(true, Ordering::Relaxed);
    }

    /// All that was written has left, or is taken by a stream of ours, which is up to 128 KiB ahead of its
    /// socket.
    pub(super) fn has_flushed(&self) {
        self.is_unflushed.store(false, Ordering::Relaxed);
        self.note_idle();
    }

    /// From here on the client is due, if a response is over.
    fn note_idle(&self) {
        if self.is_stale.load(Ordering::Relaxed) {
            self.is_stale.store(false, Ordering::Relaxed);
            // 584 years.
            self.idle_since.store(self.born.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// A request of HTTP/1 is in flight until the result is dropped.
    fn begin(self: &Arc<Self>, has_body: bool) -> InFlight {
        self.has_body.store(has_body, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// A request, from its head to the end of its response.
struct InFlight(Arc<Progress>);

impl InFlight {
    /// Whether no other is taken behind it.
    fn is_last(&self) -> bool {
        self.0.ending.stage() != Stage::Serve
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // It is over for the service: its last bytes may be on their way for long.
        self.0.is_stale.store(true, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The service of a connection, whose requests are noted.
pub(super) struct Noted<S> {
    service: TowerToHyperService<S>,
    progress: Arc<Progress>,
}

impl<S> Noted<S> {
    pub(super) fn new(service: S, progress: Arc<Progress>) -> Self {
        Self { service: TowerToHyperService::new(service), progress }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Noted<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<NotedBody<B>>;
    type Error = S::Error;
    type Future = NotedFuture<S>;

    fn call(&self, request: Request<Incoming>) -> NotedFuture<S> {
        let is_multiplexed = request.version() == Version::HTTP_2;
        if !self.progress.has_begun() {
            self.progress.is_multiplexed.store(is_multiplexed, Ordering::Relaxed);
            self.progress.has_begun.store(true, Ordering::Relaxed);
        }
        let in_flight = (!is_multiplexed).then(|| self.progress.begin(!request.body().is_end_stream()));
        NotedFuture { response: self.service.call(request), in_flight }
    }
}

/// Says that the connection ends behind this response; hyper goes by it.
fn close_behind(headers: &mut HeaderMap) {
    let says_so = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    if !headers.get_all(CONNECTION).iter().any(says_so) {
        headers.append(CONNECTION, HeaderValue::from_static("close"));
    }
}

pin_project! {
    /// A response to come.
    pub(super) struct NotedFuture<S>
    where
        S: Service<Request<Incoming>>,
    {
        #[pin]
        response: TowerToHyperServiceFuture<S, Request<Incoming>>,
        in_flight: Option<InFlight>,
    }
}

impl<S, B> Future for NotedFuture<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Output = Result<Response<NotedBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        let in_flight = this.in_flight.take();
        // What follows a switch of protocols is not HTTP's to end.
        let may_be_last = response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if in_flight.as_ref().is_some_and(|in_flight| may_be_last && in_flight.is_last()) {
            close_behind(response.headers_mut());
        }
        Poll::Ready(Ok(response.map(|body| NotedBody { body, _in_flight: in_flight })))
    }
}

pin_project! {
    /// The body of a response: dropped, the response is over.
    pub(super) struct NotedBody<B> {
        #[pin]
        body: B,
        _in_flight: Option<InFlight>,
    }
}

impl<B: Body> Body for NotedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
