//! The futures of receiving: into the caller's buffer, and into a buffer the runtime picks.
//!
//! Owns the loop of the table in `state.rs`. Neither future holds received bytes, so dropping one loses
//! none.
#![forbid(unsafe_code)]

use super::state::Inner;
use crate::base::coop;
use crate::buf::{self, IoBufMut, PooledBuf};
use crate::io::{Stop, stoppable, stopped};
use crate::net::{self, Place};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What both kinds of receive share.
struct Receiver<'a> {
    inner: &'a Arc<Inner>,
    place: Place,
    socket: Option<net::RecvPooled<'a>>,
    why: Option<io::ErrorKind>,
}

impl<'a> Receiver<'a> {
    fn new(inner: &'a Arc<Inner>) -> Self {
        Self { inner, place: Place::OUTSIDE, socket: None, why: None }
    }

    /// Waits for plaintext or the end. What the socket brings meanwhile is first offered to `direct`;
    /// `Ok(None)` says that it has taken some. The turn is still the caller's: see `leave`.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        direct: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<Option<PooledBuf>>> {
        let inner = self.inner;
        match (inner.recv_turn().poll_enter(&mut self.place, cx), self.why) {
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(why)) => return Poll::Ready(Err(stopped(why))),
            (Poll::Ready(()), _) => {}
        }
        loop {
            if self.socket.is_none() {
                let budget = ready!(coop::poll_proceed(cx));
                let ready = inner.take_ready();
                if let Some(ready) = ready {
                    budget.made_progress();
                    return Poll::Ready(ready.map(Some));
                }
                if let Some(why) = self.why {
                    return Poll::Ready(Err(stopped(why)));
                }
            }
            let socket = self.socket.get_or_insert_with(|| inner.tcp.recv_pooled());
            let received = ready!(Pin::new(socket).poll(cx));
            self.socket = None;
            let mut taken = 0;
            let (owes, ready) = {
                let received = received?;
                let mut state = inner.state();
                state.take_in(received, &mut |plain| {
                    let n = direct(plain);
                    taken += n;
                    n
                });
                // What was not taken directly is taken under the same lock.
                let ready = if taken == 0 { state.take_ready() } else { None };
                (state.engine.owes(), ready)
            };
            if owes {
                inner.send_owed();
            }
            if taken > 0 {
                return Poll::Ready(Ok(None));
            }
            if let Some(ready) = ready {
                return Poll::Ready(ready.map(Some));
            }
        }
    }

    /// Gives the turn up, once the rest of what was received is back in its place.
    fn leave(&mut self) {
        self.inner.recv_turn().leave(std::mem::take(&mut self.place));
    }

    fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        if let Some(socket) = &mut self.socket {
            socket.stop(why);
        }
    }
}

impl Drop for Receiver<'_> {
    fn drop(&mut self) {
        // The receive from the socket first: what it holds of the socket's lane goes before ours.
        self.socket = None;
        self.leave();
    }
}

/// The future of [`TlsStream::recv`](super::TlsStream::recv).
#[must_use = "a receive does nothing unless it is awaited"]
pub struct Recv<'a, B: IoBufMut> {
    receiver: Receiver<'a>,
    buf: Option<B>,
}

impl<'a, B: IoBufMut> Recv<'a, B> {
    pub(super) fn new(inner: &'a Arc<Inner>, buf: B) -> Self {
        Self { receiver: Receiver::new(inner), buf: Some(buf) }
    }
}

// No part of the future is pointed at.
impl<B: IoBufMut> Unpin for Recv<'_, B> {}

impl<B: IoBufMut> Future for Recv<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let into = &mut this.buf;
        if let Some(answer) = buf::without_room(into.as_ref().expect(POLLED_AGAIN)) {
            this.receiver.leave();
            return Poll::Ready((answer, into.take().expect("seen above")));
        }
        // Taken before the first bytes land: a buffer need not say later where those end.
        let start = into.as_ref().expect("seen above").fill_from();
        let mut n = 0;
        let ready = ready!(this.receiver.poll(cx, &mut |plain| {
            let taken = put(into, start + n, plain);
            n += taken;
            taken
        }));
        let result = ready.map(|ready| {
            let Some(mut ready) = ready else { return n };
            let n = put(into, start, &ready);
            ready.advance(n);
            if !ready.is_empty() {
                this.receiver.inner.state().put_back(ready);
            }
            n
        });
        this.receiver.leave();
        Poll::Ready((result, this.buf.take().expect("seen above")))
    }
}

/// Copies as much as fits to `at`, up to which the buffer is initialised, and returns how much.
fn put<B: IoBufMut>(buf: &mut Option<B>, at: usize, plain: &[u8]) -> usize {
    let whole = buf.take().expect("there until the receive is over");
    let mut part = whole.slice_mut(at..);
    let taken = buf::fill(&mut part, plain);
    *buf = Some(part.into_inner());
    taken
}

impl<B: IoBufMut> Stop for Recv<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.receiver.stop(why);
    }
}

stoppable!(Recv<'a, B: IoBufMut>);

/// The future of [`TlsStream::recv_pooled`](super::TlsStream::recv_pooled).
#[must_use = "a receive does nothing unless it is awaited"]
pub struct RecvPooled<'a> {
    receiver: Receiver<'a>,
}

impl<'a> RecvPooled<'a> {
    pub(super) fn new(inner: &'a Arc<Inner>) -> Self {
        Self { receiver: Receiver::new(inner) }
    }
}

impl Future for RecvPooled<'_> {
    type Output = io::Result<PooledBuf>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ready = ready!(self.receiver.poll(cx, &mut |_| 0));
        self.receiver.leave();
        Poll::Ready(ready.map(|ready| ready.expect("nothing is taken directly")))
    }
}

impl Stop for RecvPooled<'_> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.receiver.stop(why);
    }
}

stoppable!(RecvPooled<'a>);

const POLLED_AGAIN: &str = "a receive was polled after it had completed";
