//! The send lane of a stream for rooms above: messages that may be made only when their turn has come.
//!
//! TLS numbers its records while it encrypts them, so they must leave in the order in which they were
//! made. [`LaneSend`] separates the turn from the send: first the turn, then the bytes, then the op, then
//! perhaps more bytes, and only then the next caller. A send in flight whose `LaneSend` is dropped goes on
//! and keeps the turn until its final completion; it is cancelled with the last handle, as every send.
#![forbid(unsafe_code)]

use super::ops::{SendWhole, assert_reach};
use super::shared::Shared;
use super::turn::Place;
use super::{Connected, TcpStream};
use crate::buf::IoBuf;
use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::ring::transfer::Outward;
use crate::sys::sqe::{Cqe, Sqe};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A caller of the send lane that makes its bytes when it has the turn.
pub(crate) struct LaneSend<'a, B: IoBuf> {
    shared: &'a Arc<Shared>,
    place: Place,
    op: Option<Op<SendPart<B>>>,
}

impl<'a, B: IoBuf> LaneSend<'a, B> {
    /// A caller that has not asked for its turn yet.
    pub(crate) fn new(stream: &'a TcpStream) -> Self {
        Self { shared: stream.handle().shared(), place: Place::Outside, op: None }
    }

    /// Takes the turn, or waits for it.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Before anything is made that would be lost.
        assert_reach();
        self.shared.send_turn.poll_enter(&mut self.place, cx)
    }

    /// Whether a message before this one was cut after its caller had gone. For who has the turn.
    pub(crate) fn follows_a_cut(&self) -> bool {
        debug_assert!(self.place == Place::Through, "only the turn says that those before are over");
        self.shared.is_torn()
    }

    /// Makes a send of these bytes. It is on its way once [`LaneSend::poll_sent`] has been called.
    pub(crate) fn start(&mut self, buf: B) {
        debug_assert!(self.place == Place::Through && self.op.is_none(), "one send at a time, with the turn");
        let part = SendWhole { shared: Arc::clone(self.shared), from: Outward::new(buf) };
        self.op = Some(Op::new(SendPart(part)).detach());
    }

    /// Whether a send was started and is not done.
    pub(crate) fn is_sending(&self) -> bool {
        self.op.is_some()
    }

    /// Waits until the bytes are out. The turn stays with the caller.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, B)> {
        let op = self.op.as_mut().expect("a send was started");
        let sent = ready!(Pin::new(op).poll(cx));
        self.op = None;
        Poll::Ready(sent)
    }

    /// Passes the turn on: the message is complete.
    pub(crate) fn pass(&mut self) {
        debug_assert!(self.op.is_none(), "a send in flight keeps the turn");
        self.shared.leave_send(std::mem::take(&mut self.place));
    }
}

impl<B: IoBuf> Drop for LaneSend<'_, B> {
    fn drop(&mut self) {
        match self.op.take() {
            Some(op) if op.cell().is_some() => {
                self.shared.note_orphan(op.cell().expect("just seen").clone());
                drop(op);
            }
            _ => self.shared.leave_send(std::mem::take(&mut self.place)),
        }
    }
}

impl TcpStream {
    /// Whether a message was cut with nobody there to be told. For who has the send lane's turn.
    pub(crate) fn is_torn(&self) -> bool {
        self.shared().is_torn()
    }

    /// Whether a send without a future has the send lane's turn.
    pub(crate) fn is_polled_sending(&self) -> bool {
        self.shared().send_side().polled.as_ref().is_some_and(|writer| writer.is_sending())
    }

    /// Whether nobody had the send lane's turn a moment ago.
    pub(crate) fn is_lane_free(&self) -> bool {
        self.shared().send_turn.is_free()
    }
}

/// A part of a message. Unlike [`SendWhole`] it leaves the turn to the caller, unless the caller is gone.
struct SendPart<B>(SendWhole<B>);

impl<B: IoBuf> Operation for SendPart<B> {
    const OPCODE: u8 = SendWhole::<B>::OPCODE;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, ring: &Ring) -> Sqe {
        self.0.describe(ring)
    }

    #[inline]
    fn goes_on(&mut self, cqe: Cqe) -> bool {
        self.0.goes_on(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        self.0.from.sum(cqe)
    }

    fn orphaned(self, cqe: Cqe) {
        self.0.orphaned(cqe);
    }
}
