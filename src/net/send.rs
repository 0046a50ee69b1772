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

/// Drives the send of one message through its lane. `M` is the message, `P` the op that moves it.
struct Sender<'a, P: Operation, M> {
    shared: &'a Arc<Shared>,
    place: Place,
    /// Until it is the op's.
    message: Option<M>,
    op: Option<Op<P>>,
    why: Option<io::ErrorKind>,
}

impl<'a, M, P: Operation<Output = (io::Result<usize>, M)>> Sender<'a, P, M> {
    fn new(shared: &'a Arc<Shared>, message: M) -> Self {
        Self { shared, place: Place::OUTSIDE, message: Some(message), op: None, why: None }
    }

    /// `begin` makes the op when the turn has come, or has done without. It panics where there is no runtime
    /// in reach: the message is no op yet, and nothing of it has left.
    #[inline]
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        begin: impl FnOnce(Arc<Shared>, M) -> Result<P, P::Output>,
    ) -> Poll<P::Output> {
        let budget = ready!(coop::poll_proceed(cx));
        if self.op.is_none() {
            if let Some(why) = self.why {
                return Poll::Ready(self.refuse(stopped(why)));
            }
            if self.shared.send_turn().poll_enter(&mut self.place, cx).is_pending() {
                // In a child of fork the turn of an op that the parent has never passes.
                return match fork::check() {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(self.refuse(error)),
                };
            }
            if let Err(error) = self.shared.check_whole() {
                return Poll::Ready(self.refuse(error));
            }
            let message = self.message.take().expect(POLLED_AGAIN);
            match begin(Arc::clone(self.shared), message) {
                Ok(operation) => self.op = Some(Op::new(operation).detach()),
                Err(output) => {
                    self.place = Place::OUTSIDE;
                    self.shared.sent();
                    budget.made_progress();
                    return Poll::Ready(output);
                }
            }
        }
        let op = self.op.as_mut().expect("made above");
        let (result, message) = ready!(Pin::new(op).poll(cx));
        self.op = None;
        // The op passed the turn on when it finished.
        self.place = Place::OUTSIDE;
        budget.made_progress();
        Poll::Ready((explain(result, self.why), message))
    }

    /// Gives the place in the lane up, and the message back: nothing of it is in flight.
    #[cold]
    fn refuse(&mut self, error: io::Error) -> P::Output {
        self.leave();
        (Err(error), self.message.take().expect(POLLED_AGAIN))
    }
}

impl<P: Operation, M> Sender<'_, P, M> {
    fn leave(&mut self) {
        self.shared.leave_send(std::mem::take(&mut self.place));
    }

    fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        if let Some(op) = &self.op {
            op.cancel();
        }
    }
}

const POLLED_AGAIN: &str = "polled after completion";

impl<P: Operation, M> Drop for Sender<'_, P, M> {
    fn drop(&mut self) {
        match self.op.take() {
            Some(op) if op.cell().is_some() => {
                self.shared.note_orphan(op.cell().expect("just seen").clone());
                drop(op);
            }
            op => {
                // It panicked before it had a cell, in a foreign waker, and a part may have left on the spot;
                // or when the op was over, in a foreign buffer, and it may have been cut.
                if op.is_some() {
                    self.shared.note_cut();
                }
                self.leave();
            }
        }
    }
}

/// The future of [`TcpStream::send`](super::TcpStream::send).
#[must_use = "a send does nothing unless it is awaited"]
pub struct Send<'a, B: IoBuf> {
    sender: Sender<'a, SendWhole<B, false>, B>,
}

impl<'a, B: IoBuf> Send<'a, B> {
    pub(crate) fn new(shared: &'a Arc<Shared>, buf: B) -> Self {
        Self { sender: Sender::new(shared, buf) }
    }
}

// The buffer moves into the op's cell before the kernel sees it: nothing in the future is pointed at.
impl<B: IoBuf> Unpin for Send<'_, B> {}

impl<B: IoBuf> Future for Send<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.sender.poll(cx, SendWhole::begin)
    }
}

impl<B: IoBuf> Stop for Send<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.sender.stop(why);
    }
}

stoppable!(Send<'a, B: IoBuf>);

/// The future of [`TcpStream::send_all`](super::TcpStream::send_all).
#[must_use = "a send does nothing unless it is awaited"]
pub struct SendAll<'a, B: IoBuf> {
    sender: Sender<'a, SendWhole<B, true>, B>,
}

impl<'a, B: IoBuf> SendAll<'a, B> {
    pub(crate) fn new(shared: &'a Arc<Shared>, buf: B) -> Self {
        Self { sender: Sender::new(shared, buf) }
    }
}

// As for `Send`.
impl<B: IoBuf> Unpin for SendAll<'_, B> {}

impl<B: IoBuf> Future for SendAll<'_, B> {
    type Output = (io::Result<()>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (result, buf) = ready!(self.sender.poll(cx, SendWhole::begin));
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
        self.sender.stop(why);
    }
}

stoppable!(SendAll<'a, B: IoBuf>);

/// The future of [`TcpStream::send_vectored`](super::TcpStream::send_vectored).
#[must_use = "a send does nothing unless it is awaited"]
pub struct SendVectored<'a, B: IoBuf> {
    sender: Sender<'a, SendGathered<B>, Vec<B>>,
}

impl<'a, B: IoBuf> SendVectored<'a, B> {
    pub(crate) fn new(shared: &'a Arc<Shared>, bufs: Vec<B>) -> Self {
        Self { sender: Sender::new(shared, bufs) }
    }
}

// As for `Send`.
impl<B: IoBuf> Unpin for SendVectored<'_, B> {}

impl<B: IoBuf> Future for SendVectored<'_, B> {
    type Output = (io::Result<usize>, Vec<B>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.sender.poll(cx, SendGathered::begin)
    }
}

impl<B: IoBuf> Stop for SendVectored<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.sender.stop(why);
    }
}

stoppable!(SendVectored<'a, B: IoBuf>);
