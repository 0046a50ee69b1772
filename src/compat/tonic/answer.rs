//! The bytes that a server answers, and what becomes of the call when nobody wants the rest of them.
#![forbid(unsafe_code)]

use super::request::{Sent, Wanted};
use crate::runtime::Handle;
use crate::time::timeout;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long answers that nobody wants are thrown away, until the server has room for what it was sent.
const PATIENCE: Duration = Duration::from_secs(20);

/// The body of an answer to a call of [`Channel`](super::Channel): hyper's own.
///
/// Dropping it cancels the call. hyper resets the stream only when it can send the next piece of the request,
/// for which the server must have read what it was sent before; and a server may be waiting for somebody to
/// read its answers. So, while the request is not sent whole, a task of the runtime throws those away, for 20
/// seconds at most; dropped outside of a runtime it has nobody to do that.
#[derive(Debug)]
pub struct AnswerBody {
    /// `None` once dropped.
    call: Option<(Incoming, Wanted)>,
}

impl AnswerBody {
    pub(super) fn new(body: Incoming, wanted: Wanted) -> Self {
        Self { call: Some((body, wanted)) }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.call {
            Some((body, _)) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.call.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.call.as_ref().map_or_else(SizeHint::new, |(body, _)| body.size_hint())
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let Some((body, wanted)) = self.call.take() else { return };
        let Some(sent) = wanted.withdraw() else { return };
        if let Some(runtime) = Handle::try_current()
            && !body.is_end_stream()
        {
            drop(runtime.spawn(timeout(PATIENCE, throw_away(body, sent))));
        }
    }
}

/// Takes what the server still answers, until the request is over or the stream is.
async fn throw_away(mut body: Incoming, mut sent: Sent) {
    poll_fn(|cx| {
        if Pin::new(&mut sent).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while let Some(Ok(_unwanted)) = ready!(Pin::new(&mut body).poll_frame(cx)) {}
        Poll::Ready(())
    })
    .await;
}
