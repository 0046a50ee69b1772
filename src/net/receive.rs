//! The futures of receiving: into the caller's buffer, and into a buffer the runtime picks.
//!
//! Owns the two drivers of the receive state machine (recv.rs). Dropping either future loses no byte: a
//! one-shot op in flight is cancelled, and what it had received stays with the stream.
#![forbid(unsafe_code)]

use super::in_vain::Shape;
use super::recv::{Next, Step};
use super::recv_ops::{RecvOne, RecvPicked};
use super::shared::Shared;
use super::turn::Place;
use crate::base::{coop, guard};
use crate::buf::{self, IoBufMut, PooledBuf};
use crate::io::{Stop, explain, stoppable, stopped};
use crate::ring::multi;
use crate::ring::op::InFlight;
use crate::ring::transfer::Inward;
use crate::ring::{Ring, with_current};
use crate::sys::fork;
use crate::sys::sqe::Cqe;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// What both kinds of receive share: the turn, the op, the reason for a stop.
struct Receiver<'a, B: IoBufMut> {
    shared: &'a Arc<Shared>,
    place: Place,
    op: Option<InFlight<RecvOne<B>>>,
    why: Option<io::ErrorKind>,
    /// It is a forwarding's, and what comes while it waits may be sent on without it.
    relays: bool,
}

impl<'a, B: IoBufMut> Receiver<'a, B> {
    fn new(shared: &'a Arc<Shared>) -> Self {
        Self { shared, place: Place::OUTSIDE, op: None, why: None, relays: false }
    }

    /// Polls the one-shot op in flight, if there is one.
    fn poll_op(&mut self, cx: &mut Context<'_>) -> Option<Poll<(io::Result<usize>, B)>> {
        let op = self.op.as_mut()?;
        Some(Pin::new(op).poll(cx).map(|(result, buf)| {
            self.op = None;
            (explain(result, self.why), buf)
        }))
    }

    /// The turn, then the next step. To wait is an error in a child of fork, where what the parent has in
    /// flight never ends.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        ready!(self.shared.recv_turn().poll_enter(&mut self.place, cx));
        // A forwarding has more to say than that it waits.
        if !self.relays && self.shared.in_vain().is_for_reader(cx.waker()) {
            return Poll::Ready(Next::Wait);
        }
        let Step { next, replaced, .. } = {
            let mut side = self.shared.recv();
            let step = side.next(cx.waker(), self.relays);
            if step.is_told {
                self.shared.in_vain().begins(cx.waker(), Shape::Reader);
            }
            step
        };
        if let Some(replaced) = replaced {
            guard::wake(replaced);
        }
        Poll::Ready(next)
    }

    /// Starts a one-shot receive, which wakes `waker`. Nobody receives.
    fn start(&mut self, waker: &Waker, buf: B) {
        let start = {
            let mut side = self.shared.recv();
            side.start_single();
            side.start()
        };
        // The waker and the buffer may be foreign code, and there may be no runtime.
        let started = Started(self.shared);
        self.op = Some(InFlight::begin(waker, |_| {
            let shared = Arc::clone(self.shared);
            RecvOne { shared, into: Inward::new(buf), start }
        }));
        std::mem::forget(started);
    }

    fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        if let Some(op) = &self.op {
            op.cancel();
        }
    }

    fn done(&mut self) {
        self.shared.recv_turn().leave(std::mem::take(&mut self.place));
    }
}

/// A one-shot receive that has no cell, or none any more, to say that it is over.
struct Started<'a>(&'a Shared);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.0.change_recv(|side| side.single_done(Cqe::made_up(-libc::ECANCELED)));
    }
}

impl<B: IoBufMut> Drop for Receiver<'_, B> {
    #[inline]
    fn drop(&mut self) {
        // The op goes first. If it has no cell the buffer panicked when the result was taken.
        if let Some(op) = self.op.take() {
            let panicked = op.cell().is_none();
            drop(op);
            if panicked {
                drop(Started(self.shared));
            }
        }
        self.done();
    }
}

/// Whether the kernel gave up although nobody had asked it not to wait (kernel-notes/msg-waitall-send.md), or
/// because the stream had: then the op is simply started again, and waits.
fn was_given_up(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN))
}

/// The future of [`TcpStream::recv`](super::TcpStream::recv).
#[must_use = "a receive does nothing unless it is awaited"]
pub struct Recv<'a, B: IoBufMut> {
    receiver: Receiver<'a, B>,
    buf: Option<B>,
}

impl<'a, B: IoBufMut> Recv<'a, B> {
    pub(crate) fn new(shared: &'a Arc<Shared>, buf: B) -> Self {
        Self { receiver: Receiver::new(shared), buf: Some(buf) }
    }

    fn finish(&mut self, result: io::Result<usize>) -> Poll<(io::Result<usize>, B)> {
        self.receiver.done();
        Poll::Ready((result, self.buf.take().expect("polled after completion")))
    }
}

// The buffer moves into the op's cell before the kernel sees it: nothing in the future is pointed at.
impl<B: IoBufMut> Unpin for Recv<'_, B> {}

impl<B: IoBufMut> Future for Recv<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let budget = ready!(coop::poll_proceed(cx));
        loop {
            if let Some(polled) = this.receiver.poll_op(cx) {
                let (result, buf) = ready!(polled);
                if was_given_up(&result) {
                    this.buf = Some(buf);
                    continue;
                }
                budget.made_progress();
                this.receiver.done();
                return Poll::Ready((result, buf));
            }
            if let Some(answer) = this.buf.as_ref().and_then(buf::without_room) {
                return this.finish(answer);
            }
            match (this.receiver.poll_next(cx), this.receiver.why) {
                (Poll::Pending | Poll::Ready(Next::Wait | Next::Start), Some(why)) => {
                    return this.finish(Err(stopped(why)));
                }
                (Poll::Pending | Poll::Ready(Next::Wait), None) => match fork::check() {
                    Ok(()) => return Poll::Pending,
                    Err(error) => return this.finish(Err(error)),
                },
                (Poll::Ready(Next::End(result)), _) => {
                    budget.made_progress();
                    return this.finish(result.map(|()| 0));
                }
                (Poll::Ready(Next::Chunk(chunk)), _) => {
                    let chunk = Poured { chunk: Some(chunk), shared: this.receiver.shared };
                    let n = chunk.into(this.buf.as_mut().expect("polled after completion"));
                    budget.made_progress();
                    return this.finish(Ok(n));
                }
                (Poll::Ready(Next::Start), None) => {
                    let buf = this.buf.take().expect("polled after completion");
                    this.receiver.start(cx.waker(), buf);
                }
            }
        }
    }
}

impl<B: IoBufMut> Stop for Recv<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.receiver.stop(why);
    }
}

stoppable!(Recv<'a, B: IoBufMut>);

/// Received bytes on their way into a caller's buffer. What is not taken stays with the stream, in front:
/// also all of it, if the buffer panics. The caller has the turn.
pub(super) struct Poured<'a> {
    chunk: Option<PooledBuf>,
    shared: &'a Shared,
}

impl Poured<'_> {
    /// Copies what fits.
    fn into<B: IoBufMut>(mut self, buf: &mut B) -> usize {
        let Some(chunk) = &mut self.chunk else { return 0 };
        let n = buf::fill(buf, chunk);
        chunk.advance(n);
        if chunk.is_empty() {
            self.chunk = None;
        }
        n
    }

    /// Copies what fits, and leaves all of it with the stream.
    pub(super) fn shown_to<B: IoBufMut>(self, buf: &mut B) -> usize {
        self.chunk.as_ref().map_or(0, |chunk| buf::fill(buf, chunk))
    }
}

impl Drop for Poured<'_> {
    fn drop(&mut self) {
        if let Some(rest) = self.chunk.take() {
            self.shared.recv().put_back(rest);
        }
    }
}

/// The future of [`TcpStream::recv_pooled`](super::TcpStream::recv_pooled).
#[must_use = "a receive does nothing unless it is awaited"]
pub struct RecvPooled<'a> {
    receiver: Receiver<'a, PooledBuf>,
}

impl<'a> RecvPooled<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>) -> Self {
        Self { receiver: Receiver::new(shared) }
    }

    /// That of a forwarding with a relay in the receive side.
    pub(super) fn relaying(shared: &'a Arc<Shared>, relays: bool) -> Self {
        let mut this = Self::new(shared);
        this.receiver.relays = relays;
        this
    }

    /// Nobody receives: the stream does by itself if this core and its pool can, else this receives once into
    /// a heap buffer.
    fn start(&mut self, waker: &Waker) -> io::Result<()> {
        if !arm(self.receiver.shared)? {
            let size = self.receiver.shared.recv().single_size();
            self.receiver.start(waker, PooledBuf::heap(size));
        }
        Ok(())
    }
}

/// Starts a receive into provided buffers on this core, if the stream wants one and the core and its pool
/// have one to give. The caller has the turn, and nobody receives.
pub(super) fn arm(shared: &Arc<Shared>) -> io::Result<bool> {
    let (how, is_starved) = {
        let side = shared.recv();
        (side.picked(), side.is_starved())
    };
    let Some(how) = how else { return Ok(false) };
    let has_buffers = |ring: &Ring| ring.pool_can_arm(how.group, how.poll_first);
    if !is_starved && with_current(|ring| ring.is_some_and(has_buffers)) {
        let armed = multi::arm(RecvPicked::new(shared, how));
        let armed = armed.expect("this thread is a core")?;
        shared.recv().start_armed(armed);
        return Ok(true);
    }
    with_current(|ring| ring.map(|ring| ring.counters().pool_misses.add(1)));
    Ok(false)
}

impl RecvPooled<'_> {
    /// The next bytes. The turn stays with this receiver until [`RecvPooled::pass`], so that it may put them
    /// back.
    #[inline(always)]
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<PooledBuf>> {
        let budget = ready!(coop::poll_proceed(cx));
        loop {
            if let Some(polled) = self.receiver.poll_op(cx) {
                let (result, buf) = ready!(polled);
                if was_given_up(&result) {
                    continue;
                }
                budget.made_progress();
                return Poll::Ready(result.map(|_| buf));
            }
            match (self.receiver.poll_next(cx), self.receiver.why) {
                (Poll::Pending | Poll::Ready(Next::Wait | Next::Start), Some(why)) => {
                    return Poll::Ready(Err(stopped(why)));
                }
                (Poll::Pending | Poll::Ready(Next::Wait), None) => {
                    fork::check()?;
                    return Poll::Pending;
                }
                (Poll::Ready(Next::End(result)), _) => {
                    budget.made_progress();
                    return Poll::Ready(result.map(|()| PooledBuf::end_of_stream()));
                }
                (Poll::Ready(Next::Chunk(chunk)), _) => {
                    budget.made_progress();
                    return Poll::Ready(Ok(chunk));
                }
                (Poll::Ready(Next::Start), None) => self.start(cx.waker())?,
            }
        }
    }

    /// If others wait for their turn it is theirs, and this receiver comes back behind them.
    pub(super) fn pass_if_wanted(&mut self) {
        if self.receiver.shared.recv_turn().is_wanted() {
            self.receiver.done();
        }
    }

    /// These bytes are for a caller's buffer.
    pub(super) fn pour(&self, chunk: PooledBuf) -> Poured<'_> {
        Poured { chunk: (!chunk.is_empty()).then_some(chunk), shared: self.receiver.shared }
    }

    /// This receiver is through, with these bytes for those that come.
    pub(super) fn pass(&mut self, put_back: Option<PooledBuf>) {
        if let Some(bytes) = put_back {
            self.receiver.shared.recv().put_back(bytes);
        }
        self.receiver.done();
    }
}

impl Future for RecvPooled<'_> {
    type Output = io::Result<PooledBuf>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let chunk = ready!(self.poll_chunk(cx));
        self.receiver.done();
        Poll::Ready(chunk)
    }
}

impl Stop for RecvPooled<'_> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.receiver.stop(why);
    }
}

stoppable!(RecvPooled<'a>);
