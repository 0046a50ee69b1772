//! The bytes of a call in one direction.
#![forbid(unsafe_code)]

use super::deadline::Deadline;
use super::failure::{self, BoxError};
use ::tonic::{Code, Status};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{HeaderMap, Version};
use std::any::TypeId;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project_lite::pin_project! {
    /// A body of a call: what it carries is `B`'s, its errors are statuses, and it ends with the deadline.
    ///
    /// Made by [`Calls`](super::Calls) and [`Channel`](super::Channel). Dropping it resets its stream, which
    /// tells the other end that the call is cancelled.
    #[derive(Debug)]
    pub struct CallBody<B> {
        // `None` behind the last word of ours: what fed the body is gone then.
        #[pin]
        inner: Option<B>,
        end: End,
    }
}

/// How a body ends before what feeds it does.
#[derive(Debug)]
enum End {
    /// Its reader gets the status as an error.
    Error(Deadline),
    /// Its reader is the peer, who gets the status as trailers.
    Trailers(Deadline),
    /// It is a request, which has no time of its own: its stream may break.
    Request {
        /// Whether what feeds it says by `is_end_stream`, and not only by its last frame, that the client has
        /// sent all.
        says_its_end: bool,
    },
    /// It has ended so.
    Over,
}

impl<B> CallBody<B> {
    /// A body that a client reads.
    pub(super) fn answer(inner: B, deadline: Deadline) -> Self {
        Self { inner: Some(inner), end: End::Error(deadline) }
    }

    /// A body that a server sends.
    pub(super) fn reply(inner: B, deadline: Deadline) -> Self {
        Self { inner: Some(inner), end: End::Trailers(deadline) }
    }

    /// A body that a server reads: its handler is dropped when the time is over, and with it this.
    pub(super) fn request(inner: B, version: Version) -> Self
    where
        B: 'static,
    {
        // Other bodies may always say no, and so may hyper's own for HTTP/1, where nothing that breaks off
        // looks like an end.
        let says_its_end = version == Version::HTTP_2 && TypeId::of::<B>() == TypeId::of::<Incoming>();
        Self { inner: Some(inner), end: End::Request { says_its_end } }
    }
}

impl End {
    fn poll<D>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame<D>, Status>> {
        match self {
            Self::Error(deadline) => deadline.poll(cx).map(Err),
            Self::Trailers(deadline) => deadline.poll(cx).map(|status| {
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                Ok(Frame::trailers(trailers))
            }),
            Self::Request { .. } | Self::Over => Poll::Pending,
        }
    }

    /// Whether a body that has no more frames was broken off. hyper's ends without an error when its stream
    /// is reset with NO_ERROR: a server that has answered early sends that to make its client stop. From a
    /// client it is no word that the request is whole.
    fn is_broken_off(&self, inner: &impl Body) -> bool {
        matches!(self, Self::Request { says_its_end: true }) && !inner.is_end_stream()
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
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        // First, or a body that is always ready would never end.
        if let Poll::Ready(last) = this.end.poll(cx) {
            this.inner.set(None);
            *this.end = End::Over;
            return Poll::Ready(Some(last));
        }
        let frame = ready!(inner.as_mut().poll_frame(cx));
        if frame.is_none() && this.end.is_broken_off(&*inner) {
            this.inner.set(None);
            *this.end = End::Over;
            return Poll::Ready(Some(Err(Status::aborted("the client broke off what it was sending"))));
        }
        let broken = |error: B::Error| {
            let status = failure::status(error.into());
            // tonic takes a request that was cancelled for one that is complete.
            match (&this.end, status.code()) {
                (End::Request { .. }, Code::Cancelled) => Status::aborted("the client cancelled the call"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::convert::Infallible;
    use std::pin::pin;
    use std::task::Waker;

    /// A body that never says that it is at its end, as the trait allows.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }
    }

    #[test]
    fn a_request_whose_body_need_not_know_its_end_ends_well() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let body = pin!(CallBody::request(Silent, version));
            let end = body.poll_frame(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(end, Poll::Ready(None)), "{version:?}");
        }
    }
}
