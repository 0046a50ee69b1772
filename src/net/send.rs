//! The futures of sending.
//!
//! Owns the driver of the send lane: the turn, one op for the whole message (whose parts are those of
//! ops.rs), or none, and what a drop means. Dropping a send that is in flight does not cancel it: the message
//! leaves whole and later sends wait behind it; if it cannot, each of them fails. A send that was still
//! waiting for its turn is not sent at all.
#![forbid(unsafe_code)]

use super::ops::{SendGathered, SendWhole};
use super::shared::Shared;
use super::turn::Place;
use crate::base::coop;
use crate::buf::IoBuf;
use crate::io::{Stop, explain, stoppable, stopped};
use crate::ring::op::{Op, Operation};
use crate::sys::fork;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Drives one send op through its lane. `P` is the op; `make` builds it when the turn has come, or has done
/// without, or is told why there can be none.
pub(super) struct Sender<'a, P: Operation> {
    shared: &'a Arc<Shared>,
    place: Place,
    op: Option<Op<P>>,
    why: Option<io::ErrorKind>,
}

impl<'a, P: Operation> Sender<'a, P> {
    pub(super) fn new(shared: &'a Arc<Shared>) -> Self {
        Self { shared, place: Place::Outside, op: None, why: None }
    }

    /// The reason for a stop, if the send was told to stop before it had an op.
    pub(super) fn stopped_early(&self) -> Option<io::ErrorKind> {
        self.why.filter(|_| self.op.is_none())
    }

    /// Gives the place in the lane up: nothing of this caller's is in flight.
    pub(super) fn leave(&mut self) {
        self.shared.leave_send(std::mem::take(&mut self.place));
    }

    /// Why the send was stopped.
    pub(super) fn why(&self) -> Option<io::ErrorKind> {
        self.why
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        make: impl FnOnce(io::Result<Arc<Shared>>) -> Result<P, P::Output>,
    ) -> Poll<P::Output> {
        if self.op.is_none() {
            if self.shared.send_turn.poll_enter(&mut self.place, cx).is_pending() {
                // In a child of fork the turn of an op that the parent has never passes.
                return match fork::check() {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(self.refuse(error, make)),
                };
            }
            if let Err(error) = self.shared.check_whole() {
                return Poll::Ready(self.refuse(error, make));
            }
            match make(Ok(Arc::clone(self.shared))) {
                Ok(operation) => self.op = Some(Op::new(operation).detach()),
                Err(output) => {
                    self.place = Place::Outside;
                    self.shared.sent();
                    return Poll::Ready(output);
                }
            }
        }
        let op = self.op.as_mut().expect("made above");
        let output = ready!(Pin::new(op).poll(cx));
        self.op = None;
        // The op passed the turn on when it finished.
        self.place = Place::Outside;
        Poll::Ready(output)
    }

    /// Gives the place up, and what was to be sent back.
    #[cold]
    fn refuse(
        &mut self,
        error: io::Error,
        make: impl FnOnce(io::Result<Arc<Shared>>) -> Result<P, P::Output>,
    ) -> P::Output {
        self.leave();
        make(Err(error)).err().expect("there is no stream to make an op for")
    }

    pub(super) fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        if let Some(op) = &self.op {
            op.cancel();
        }
    }
}

impl<P: Operation> Drop for Sender<'_, P> {
    fn drop(&mut self) {
        match self.op.take() {
            Some(op) if op.cell().is_some() => {
                self.shared.note_orphan(op.cell().expect("just seen").clone());
                drop(op);
            }
            _ => self.leave(),
        }
    }
}

/// Drives the send of one buffer. `ALL` is that of [`SendWhole`].
struct Sending<'a, B: IoBuf, const ALL: bool> {
    sender: Sender<'a, SendWhole<B, ALL>>,
    buf: Option<B>,
}

impl<'a, B: IoBuf, const ALL: bool> Sending<'a, B, ALL> {
    fn new(shared: &'a Arc<Shared>, buf: B) -> Self {
        Self { sender: Sender::new(shared), buf: Some(buf) }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, B)> {
        let budget = ready!(coop::poll_proceed(cx));
        if let (Some(why), Some(_)) = (self.sender.stopped_early(), &self.buf) {
            self.sender.leave();
            return Poll::Ready((Err(stopped(why)), self.buf.take().expect("just seen")));
        }
        let buf = &mut self.buf;
        let polled = self.sender.poll(cx, |shared| {
            let buf = buf.take().expect("polled after completion");
            match shared {
                Ok(shared) => SendWhole::begin(shared, buf),
                Err(error) => Err((Err(error), buf)),
            }
        });
        let (result, buf) = ready!(polled);
        budget.made_progress();
        Poll::Ready((explain(result, self.sender.why()), buf))
    }
}

/// The future of [`TcpStream::send`](super::TcpStream::send).
#[must_use = "a send does nothing unless it is awaited"]
pub struct Send<'a, B: IoBuf> {
    sending: Sending<'a, B, false>,
}

impl<'a, B: IoBuf> Send<'a, B> {
    pub(crate) fn new(shared: &'a Arc<Shared>, buf: B) -> Self {
        Self { sending: Sending::new(shared, buf) }
    }
}

// The buffer moves into the op's cell before the kernel sees it: nothing in the future is pointed at.
impl<B: IoBuf> Unpin for Send<'_, B> {}

impl<B: IoBuf> Future for Send<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.sending.poll(cx)
    }
}

impl<B: IoBuf> Stop for Send<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.sending.sender.stop(why);
    }
}

stoppable!(Send<'a, B: IoBuf>);

/// The future of [`TcpStream::send_all`](super::TcpStream::send_all).
#[must_use = "a send does nothing unless it is awaited"]
pub struct SendAll<'a, B: IoBuf> {
    sending: Sending<'a, B, true>,
}

impl<'a, B: IoBuf> SendAll<'a, B> {
    pub(crate) fn new(shared: &'a Arc<Shared>, buf: B) -> Self {
        Self { sending: Sending::new(shared, buf) }
    }
}

// As for `Send`.
impl<B: IoBuf> Unpin for SendAll<'_, B> {}

impl<B: IoBuf> Future for SendAll<'_, B> {
    type Output = (io::Result<()>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (result, buf) = ready!(self.sending.poll(cx));
        let result = result.and_then(|n| match n == buf.len() {
            true => Ok(()),
            // The kernel took nothing more and named no error.
            false => Err(io::ErrorKind::WriteZero.into()),
        });
        Poll::Ready((result, buf))
    }
}

impl<B: IoBuf> Stop for SendAll<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.sending.sender.stop(why);
    }
}

stoppable!(SendAll<'a, B: IoBuf>);

/// The future of [`TcpStream::send_vectored`](super::TcpStream::send_vectored).
#[must_use = "a send does nothing unless it is awaited"]
pub struct SendVectored<'a, B: IoBuf> {
    sender: Sender<'a, SendGathered<B>>,
    bufs: Option<Vec<B>>,
}

impl<'a, B: IoBuf> SendVectored<'a, B> {
    pub(crate) fn new(shared: &'a Arc<Shared>, bufs: Vec<B>) -> Self {
        Self { sender: Sender::new(shared), bufs: Some(bufs) }
    }
}

// As for `Send`.
impl<B: IoBuf> Unpin for SendVectored<'_, B> {}

impl<B: IoBuf> Future for SendVectored<'_, B> {
    type Output = (io::Result<usize>, Vec<B>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let budget = ready!(coop::poll_proceed(cx));
        if let (Some(why), Some(_)) = (this.sender.stopped_early(), &this.bufs) {
            this.sender.leave();
            return Poll::Ready((Err(stopped(why)), this.bufs.take().expect("just seen")));
        }
        let bufs = &mut this.bufs;
        let polled = this.sender.poll(cx, |shared| {
            let bufs = bufs.take().expect("polled after completion");
            match shared {
                Ok(shared) => SendGathered::begin(shared, bufs),
                Err(error) => Err((Err(error), bufs)),
            }
        });
        let (result, bufs) = ready!(polled);
        budget.made_progress();
        Poll::Ready((explain(result, this.sender.why()), bufs))
    }
}

impl<B: IoBuf> Stop for SendVectored<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.sender.stop(why);
    }
}

stoppable!(SendVectored<'a, B: IoBuf>);
