//! The bytes of a call in one direction.
#![forbid(unsafe_code)]

use super::deadline::Deadline;
use super::failure::{self, BoxError};
use super::request::Wanted;
use ::tonic::{Code, Status};
use hyper::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project_lite::pin_project! {
    /// A body of a call: what it carries is `B`'s, its errors are statuses, and it ends with the deadline.
    ///
    /// Made by [`Calls`](super::Calls) and [`Channel`](super::Channel). Dropping it resets its stream, which
    /// tells the other end that the call is cancelled.
    #[derive(Debug)]
    pub struct CallBody<B> {
        // `None` behind the deadline: what fed the body is gone then.
        #[pin]
        inner: Option<B>,
        end: End,
    }
}

/// How a body whose time is over ends.
#[derive(Debug)]
enum End {
    /// Its reader gets the status as an error. It waits for it as long as the body lives.
    Error(Deadline, #[expect(dead_code, reason = "its drop says it")] Wanted),
    /// Its reader is the peer, who gets the status as trailers.
    Trailers(Deadline),
    /// It is a request, which has no time of its own, or its time is over.
    Never,
}

impl<B> CallBody<B> {
    /// A body that a client reads.
    pub(super) fn answer(inner: B, deadline: Deadline, wanted: Wanted) -> Self {
        Self { inner: Some(inner), end: End::Error(deadline, wanted) }
    }

    /// A body that a server sends.
    pub(super) fn reply(inner: B, deadline: Deadline) -> Self {
        Self { inner: Some(inner), end: End::Trailers(deadline) }
    }

    /// A body that a server reads: its handler is dropped when the time is over, and with it this.
    pub(super) fn request(inner: B) -> Self {
        Self { inner: Some(inner), end: End::Never }
    }
}

impl End {
    fn poll<D>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame<D>, Status>> {
        match self {
            Self::Error(deadline, _) => deadline.poll(cx).map(Err),
            Self::Trailers(deadline) => deadline.poll(cx).map(|status| {
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                Ok(Frame::trailers(trailers))
            }),
            Self::Never => Poll::Pending,
        }
    }
}

impl<B> Body for CallBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Status>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        // First, or a body that is always ready would never end.
        if let Poll::Ready(last) = this.end.poll(cx) {
            this.inner.set(None);
            *this.end = End::Never;
            return Poll::Ready(Some(last));
        }
        let frame = ready!(inner.poll_frame(cx));
        let broken = |error: B::Error| {
            let status = failure::status(error.into());
            // tonic takes a request that was cancelled for one that is complete.
            match (&this.end, status.code()) {
                (End::Never, Code::Cancelled) => Status::aborted("the client cancelled the call"),
                _ => status,
            }
        };
        Poll::Ready(frame.map(|frame| frame.map_err(broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // Behind a deadline there may be less.
        let mut hint = SizeHint::new();
        if let Some(upper) = self.inner.as_ref().map_or(Some(0), |inner| inner.size_hint().upper()) {
            hint.set_upper(upper);
        }
        hint
    }
}
