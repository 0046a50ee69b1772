//! The futures of positional reads and writes.
//!
//! They borrow their file until they are polled for the first time; from then on the op itself holds the
//! descriptor open, also if the future is dropped or forgotten (ring/lease.rs). Who keeps an op beside its
//! file takes one that holds the descriptor from the start ([`owned_read`], [`owned_write`]).
#![forbid(unsafe_code)]

use super::cached::Cached;
use super::ops::Write;
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
use super::ops::WriteOn;
use crate::base::coop;
use crate::buf::{self, IoBuf, IoBufMut};
use crate::io::{Read, Stop, explain, stoppable, stopped};
use crate::ring::lease::Leasable;
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
use crate::ring::lease::Use;
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
use crate::ring::op::Op;
use crate::ring::op::{InFlight, Operation};
use crate::ring::transfer::{Inward, Outward};
use crate::ring::{begin_use, transfer, with_current};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How far a read or write has come.
enum State<B, P: Operation> {
    Idle(B),
    InFlight(InFlight<P>),
    Done,
}

impl<B, P: Operation> State<B, P> {
    /// The buffer of an op that has not been submitted.
    #[inline]
    fn take_idle(&mut self) -> Option<B> {
        if !matches!(self, State::Idle(_)) {
            return None;
        }
        match std::mem::replace(self, State::Done) {
            State::Idle(buf) => Some(buf),
            State::InFlight(_) | State::Done => unreachable!("just seen"),
        }
    }

    fn cancel(&self) {
        if let State::InFlight(op) = self {
            op.cancel();
        }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<P::Output> {
        let State::InFlight(op) = self else { panic!("a read or write was polled after it had completed") };
        let output = ready!(Pin::new(op).poll(cx));
        *self = State::Done;
        Poll::Ready(output)
    }
}

/// A read that borrows nothing; to be had with [`owned_read`].
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub(crate) type OwnedRead<B> = Op<Read<B>>;
/// A write that borrows nothing, and that does not end with a part; to be had with [`owned_write`].
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub(crate) type OwnedWrite<B> = Op<WriteOn<B>>;

/// A read that borrows nothing.
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub(super) fn owned_read<B: IoBufMut>(
    file: &Arc<Leasable<OwnedFd>>,
    cached: &Cached,
    buf: B,
    offset: u64,
) -> OwnedRead<B> {
    let flags = cached.op_flags(file.as_raw_fd());
    Op::new(Read { fd: Use::counted(file), into: Inward::new(buf), offset, flags })
}

/// A write that borrows nothing, and that goes on when its future is dropped. It ends short only before an
/// error, which the next one finds.
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub(super) fn owned_write<B: IoBuf>(
    file: &Arc<Leasable<OwnedFd>>,
    cached: &Cached,
    buf: B,
    offset: u64,
) -> OwnedWrite<B> {
    let flags = cached.op_flags(file.as_raw_fd());
    Op::new(WriteOn { fd: Arc::clone(file), from: Outward::new(buf), offset, flags }).detach()
}

/// The future of [`File::read_at`](super::File::read_at). Dropping it cancels the read.
#[must_use = "a read does nothing unless it is awaited"]
pub struct ReadAt<'a, B: IoBufMut> {
    file: &'a Arc<Leasable<OwnedFd>>,
    cached: &'a Cached,
    offset: u64,
    state: State<B, Read<B>>,
    why: Option<io::ErrorKind>,
}

impl<'a, B: IoBufMut> ReadAt<'a, B> {
    pub(super) fn new(file: &'a Arc<Leasable<OwnedFd>>, cached: &'a Cached, buf: B, offset: u64) -> Self {
        Self { file, cached, offset, state: State::Idle(buf), why: None }
    }

    /// Reads on the spot, if that is worth a try, from a core that takes ops; how many bytes.
    #[inline]
    fn read_now(&self, buf: &mut B) -> Option<usize> {
        if !self.cached.is_worth_a_try(buf::room(buf)) {
            return None;
        }
        with_current(|ring| {
            let ring = ring.filter(|ring| ring.refusal().is_none())?;
            let file = self.file.as_raw_fd();
            match transfer::read_now(file, buf, self.offset, || self.cached.gives_again(file)) {
                Ok(n) => {
                    ring.counters().cached_reads.add(1);
                    Some(n)
                }
                Err(error) => {
                    self.cached.learn(&error);
                    None
                }
            }
        })
    }
}

// The buffer moves into the op's cell before the kernel sees it: nothing in the future is pointed at.
impl<B: IoBufMut> Unpin for ReadAt<'_, B> {}

impl<B: IoBufMut> Future for ReadAt<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let budget = ready!(coop::poll_proceed(cx));
        if let Some(mut buf) = this.state.take_idle() {
            if let Some(why) = this.why {
                return Poll::Ready((Err(stopped(why)), buf));
            }
            if let Some(answer) = buf::without_room(&buf) {
                return Poll::Ready((answer, buf));
            }
            if let Some(n) = this.read_now(&mut buf) {
                budget.made_progress();
                return Poll::Ready((Ok(n), buf));
            }
            let (file, offset) = (this.file, this.offset);
            let flags = this.cached.op_flags(file.as_raw_fd());
            this.state = State::InFlight(InFlight::begin(cx.waker(), |ring| Read {
                fd: begin_use(ring, file),
                into: Inward::new(buf),
                offset,
                flags,
            }));
        }
        let (result, buf) = ready!(this.state.poll(cx));
        budget.made_progress();
        Poll::Ready((explain(result, this.why), buf))
    }
}

impl<B: IoBufMut> Stop for ReadAt<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        self.state.cancel();
    }
}

stoppable!(ReadAt<'a, B: IoBufMut>);

/// The future of [`File::write_at`](super::File::write_at). Dropping it cancels the write; how much was
/// written is then unknown.
#[must_use = "a write does nothing unless it is awaited"]
pub struct WriteAt<'a, B: IoBuf> {
    file: &'a Arc<Leasable<OwnedFd>>,
    cached: &'a Cached,
    offset: u64,
    state: State<B, Write<B>>,
    why: Option<io::ErrorKind>,
}

impl<'a, B: IoBuf> WriteAt<'a, B> {
    pub(super) fn new(file: &'a Arc<Leasable<OwnedFd>>, cached: &'a Cached, buf: B, offset: u64) -> Self {
        Self { file, cached, offset, state: State::Idle(buf), why: None }
    }
}

// As for `ReadAt`.
impl<B: IoBuf> Unpin for WriteAt<'_, B> {}

impl<B: IoBuf> Future for WriteAt<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let budget = ready!(coop::poll_proceed(cx));
        if let Some(buf) = this.state.take_idle() {
            if let Some(why) = this.why {
                return Poll::Ready((Err(stopped(why)), buf));
            }
            let (file, offset) = (this.file, this.offset);
            let flags = this.cached.op_flags(file.as_raw_fd());
            // It asks the buffer, which may be foreign code: before the file is in use.
            let from = Outward::new(buf);
            this.state = State::InFlight(InFlight::begin(cx.waker(), |ring| Write {
                fd: begin_use(ring, file),
                from,
                offset,
                flags,
            }));
        }
        let (result, buf) = ready!(this.state.poll(cx));
        budget.made_progress();
        Poll::Ready((explain(result, this.why), buf))
    }
}

impl<B: IoBuf> Stop for WriteAt<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        self.state.cancel();
    }
}

stoppable!(WriteAt<'a, B: IoBuf>);
