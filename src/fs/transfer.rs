//! The futures of positional reads and writes.
#![forbid(unsafe_code)]

use super::ops::Write;
use crate::base::coop;
use crate::buf::{IoBuf, IoBufMut};
use crate::io::{Read, Stop, explain, stoppable, stopped};
use crate::ring::op::Op;
use crate::ring::transfer::{Inward, Outward};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The future of [`File::read_at`](super::File::read_at). Dropping it cancels the read.
#[must_use = "a read does nothing unless it is awaited"]
pub struct ReadAt<B: IoBufMut> {
    op: Op<Read<B>>,
    why: Option<io::ErrorKind>,
}

impl<B: IoBufMut> ReadAt<B> {
    pub(super) fn new(fd: Arc<OwnedFd>, buf: B, offset: u64) -> Self {
        Self { op: Op::new(Read { fd, into: Inward::new(buf), offset }), why: None }
    }
}

impl<B: IoBufMut> Future for ReadAt<B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let budget = ready!(coop::poll_proceed(cx));
        if let Some(why) = self.why
            && let Some(read) = self.op.take_idle()
        {
            return Poll::Ready((Err(stopped(why)), read.into.into_inner()));
        }
        let (result, buf) = ready!(Pin::new(&mut self.op).poll(cx));
        budget.made_progress();
        Poll::Ready((explain(result, self.why), buf))
    }
}

impl<B: IoBufMut> Stop for ReadAt<B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        self.op.cancel();
    }
}

stoppable!(ReadAt<B: IoBufMut>);

/// The future of [`File::write_at`](super::File::write_at). Dropping it cancels the write; how much was
/// written is then unknown.
#[must_use = "a write does nothing unless it is awaited"]
pub struct WriteAt<B: IoBuf> {
    op: Op<Write<B>>,
    why: Option<io::ErrorKind>,
}

impl<B: IoBuf> WriteAt<B> {
    pub(super) fn new(fd: Arc<OwnedFd>, buf: B, offset: u64) -> Self {
        Self { op: Op::new(Write { fd, from: Outward::new(buf), offset }), why: None }
    }
}

impl<B: IoBuf> WriteAt<B> {
    /// Dropping the future will no longer cancel the write.
    #[cfg_attr(not(any(feature = "tokio-io", feature = "futures-io")), allow(dead_code))]
    pub(crate) fn detach(self) -> Self {
        Self { op: self.op.detach(), why: self.why }
    }
}

impl<B: IoBuf> Future for WriteAt<B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let budget = ready!(coop::poll_proceed(cx));
        if let Some(why) = self.why
            && let Some(write) = self.op.take_idle()
        {
            return Poll::Ready((Err(stopped(why)), write.from.into_inner()));
        }
        let (result, buf) = ready!(Pin::new(&mut self.op).poll(cx));
        budget.made_progress();
        Poll::Ready((explain(result, self.why), buf))
    }
}

impl<B: IoBuf> Stop for WriteAt<B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        self.op.cancel();
    }
}

stoppable!(WriteAt<B: IoBuf>);
