//! The bytes that a client sends, and their end when it does not want the answer any more.
#![forbid(unsafe_code)]

use super::failure::BoxError;
use ::tonic::body::Body;
use bytes::Bytes;
use h2::Reason;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The body of a call of [`Channel`](super::Channel): tonic's, which ends when the call is dropped.
///
/// hyper resets a stream whose answer was dropped only when its request was sent whole, so a dialogue in
/// which the client has more to say would go on at the server. This body's error makes hyper reset it.
#[derive(Debug)]
pub struct RequestBody {
    inner: Body,
    /// Closed when nobody waits for the answer. `None` behind that.
    wanted: Option<oneshot::Receiver<()>>,
    _sends: oneshot::Sender<()>,
}

/// Held by whoever waits for an answer; its drop says that nobody does.
#[derive(Debug)]
pub(super) struct Wanted {
    wants: oneshot::Sender<()>,
    sent: Sent,
}

/// Ready when the request is sent whole, or given up: its body is gone.
pub(super) type Sent = oneshot::Receiver<()>;

impl Wanted {
    /// Nobody waits any more: when the request is over, unless it is.
    pub(super) fn withdraw(self) -> Option<Sent> {
        (!self.wants.is_closed()).then_some(self.sent)
    }
}

impl RequestBody {
    pub(super) fn new(inner: Body) -> (Self, Wanted) {
        let ((wants, wanted), (sends, sent)) = (oneshot::channel(), oneshot::channel());
        (Self { inner, wanted: Some(wanted), _sends: sends }, Wanted { wants, sent })
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(wanted) = &mut self.wanted else { return Poll::Ready(None) };
        if Pin::new(wanted).poll(cx).is_ready() {
            (self.wanted, self.inner) = (None, Body::empty());
            return Poll::Ready(Some(Err(h2::Error::from(Reason::CANCEL).into())));
        }
        Pin::new(&mut self.inner).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
