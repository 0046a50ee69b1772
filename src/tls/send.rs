//! The futures of sending, and what dropping one means.
//!
//! A message of up to [`PIECE`] bytes is encrypted at its turn, as a whole, and is one send of the socket
//! from then on: dropping the future does not stop it. A longer one is encrypted and sent piece by piece;
//! it is a job of its own, so that it can go on without its caller.
//!
//! | the future is dropped | what becomes of the message |
//! |---|---|
//! | while it waits for its turn | nothing of it is sent |
//! | with one piece, in flight | it leaves whole; later sends wait behind it |
//! | with several pieces, begun | a task of the same runtime sends the rest; later sends wait |
//! | and then the runtime ends | cut: later sends fail |
//! | and then the last handle | what is in flight is cancelled and the socket closed |
//!
//! A send cannot be stopped on purpose, as one on a TCP stream can: half a record on the wire is the end of
//! the connection.
#![forbid(unsafe_code)]

use super::message::{Gathered, Message};
use super::spare;
use super::state::{Inner, Sealed};
use crate::base::coop;
use crate::buf::IoBuf;
use crate::net::LaneSend;
use crate::runtime::Handle;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// Plaintext that is encrypted at once: four records, some tens of microseconds, and what the socket is
/// likely to take without waiting.
const PIECE: usize = 64 * 1024;

type Outcome<M> = (io::Result<usize>, M);

/// Drives the send of one message.
struct Sender<'a, M: Message> {
    inner: &'a Arc<Inner>,
    lane: LaneSend<'a, Sealed>,
    message: Option<M>,
    /// Bytes on the wire if all goes well, once the message is encrypted.
    sealed: usize,
    long: Option<Long<M>>,
}

impl<'a, M: Message> Sender<'a, M> {
    fn new(inner: &'a Arc<Inner>, message: M) -> Self {
        let (message, long) = match message.len() {
            0..=PIECE => (Some(message), None),
            _ => (None, Some(Long::new(Arc::clone(inner), message))),
        };
        Self { inner, lane: LaneSend::new(&inner.tcp), message, sealed: 0, long }
    }

    fn seal(&mut self) -> io::Result<()> {
        let message = self.message.as_ref().expect(POLLED_AGAIN);
        let mut out = spare::take(message.len());
        let seal = |plain: &[u8]| self.inner.state().seal(plain, &mut out);
        match message.with_piece(0, message.len(), seal) {
            Ok(n) => {
                self.sealed = n;
                self.lane.start(out.slice(..n));
                Ok(())
            }
            Err(error) => {
                spare::put(out);
                Err(error)
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<M>> {
        if let Some(long) = &mut self.long {
            let outcome = ready!(long.job.as_mut().poll(cx));
            self.long = None;
            return Poll::Ready(outcome);
        }
        if !self.lane.is_sending() {
            let budget = ready!(coop::poll_proceed(cx));
            ready!(self.inner.poll_turn(&mut self.lane, cx));
            budget.made_progress();
            // Sealed is sent: nothing between the two may return.
            if let Err(error) = self.seal() {
                self.lane.pass();
                self.inner.send_owed();
                return Poll::Ready((Err(error), self.message.take().expect(POLLED_AGAIN)));
            }
        }
        let (sent, sealed) = ready!(self.lane.poll_sent(cx));
        spare::put(sealed.into_inner());
        let result = self.inner.judge(sent, self.sealed);
        self.lane.pass();
        self.inner.send_owed();
        let message = self.message.take().expect(POLLED_AGAIN);
        Poll::Ready((result.map(|()| message.len()), message))
    }
}

impl<M: Message> Drop for Sender<'_, M> {
    fn drop(&mut self) {
        if let Some(long) = self.long.take() {
            long.go_on();
        }
    }
}

/// The future of [`TlsStream::send`](super::TlsStream::send).
#[must_use = "a send does nothing unless it is awaited"]
pub struct Send<'a, B: IoBuf> {
    sender: Sender<'a, B>,
}

impl<'a, B: IoBuf> Send<'a, B> {
    pub(super) fn new(inner: &'a Arc<Inner>, buf: B) -> Self {
        Self { sender: Sender::new(inner, buf) }
    }
}

// No part of the future is pointed at.
impl<B: IoBuf> Unpin for Send<'_, B> {}

impl<B: IoBuf> Future for Send<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.sender.poll(cx)
    }
}

/// The future of [`TlsStream::send_all`](super::TlsStream::send_all).
#[must_use = "a send does nothing unless it is awaited"]
pub struct SendAll<'a, B: IoBuf> {
    sender: Sender<'a, B>,
}

impl<'a, B: IoBuf> SendAll<'a, B> {
    pub(super) fn new(inner: &'a Arc<Inner>, buf: B) -> Self {
        Self { sender: Sender::new(inner, buf) }
    }
}

// As for `Send`.
impl<B: IoBuf> Unpin for SendAll<'_, B> {}

impl<B: IoBuf> Future for SendAll<'_, B> {
    type Output = (io::Result<()>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.sender.poll(cx).map(|(result, buf)| (result.map(drop), buf))
    }
}

/// The future of [`TlsStream::send_vectored`](super::TlsStream::send_vectored).
#[must_use = "a send does nothing unless it is awaited"]
pub struct SendVectored<'a, B: IoBuf> {
    sender: Sender<'a, Gathered<B>>,
}

impl<'a, B: IoBuf> SendVectored<'a, B> {
    pub(super) fn new(inner: &'a Arc<Inner>, bufs: Vec<B>) -> Self {
        Self { sender: Sender::new(inner, Gathered(bufs)) }
    }
}

// As for `Send`.
impl<B: IoBuf> Unpin for SendVectored<'_, B> {}

impl<B: IoBuf> Future for SendVectored<'_, B> {
    type Output = (io::Result<usize>, Vec<B>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.sender.poll(cx).map(|(result, Gathered(bufs))| (result, bufs))
    }
}

/// A message of several pieces, which can go on without its future.
struct Long<M> {
    job: Pin<Box<dyn Future<Output = Outcome<M>> + std::marker::Send>>,
    /// Its turn has come.
    begun: Arc<AtomicBool>,
    /// Where it began: the runtime on which it goes on if the future is dropped elsewhere.
    runtime: Option<Handle>,
}

impl<M: Message> Long<M> {
    fn new(inner: Arc<Inner>, message: M) -> Self {
        let begun = Arc::new(AtomicBool::new(false));
        let job = Box::pin(send_pieces(inner, message, Arc::clone(&begun)));
        Self { job, begun, runtime: Handle::try_current() }
    }

    /// The future is gone. If a part of the message is out, the rest follows.
    fn go_on(self) {
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        if let Some(runtime) = self.runtime.or_else(Handle::try_current) {
            drop(runtime.spawn(async move {
                let (_, message) = self.job.await;
                drop(message);
            }));
        }
    }
}

async fn send_pieces<M: Message>(inner: Arc<Inner>, message: M, begun: Arc<AtomicBool>) -> Outcome<M> {
    let mut lane: LaneSend<'_, Sealed> = LaneSend::new(&inner.tcp);
    poll_fn(|cx| inner.poll_turn(&mut lane, cx)).await;
    begun.store(true, Ordering::Relaxed);
    let mut unless_whole = Cut(None);
    let mut out = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let end = message.len().min(at + PIECE);
        let sealed = message.with_piece(at, end, |plain| inner.state().seal(plain, &mut out));
        let all = match sealed {
            Ok(n) => n,
            Err(error) => {
                if inner.state().engine.failed().is_some() {
                    // What is out is whole records: what is owed, an alert above all, may follow, and the
                    // engine makes nothing else any more.
                    unless_whole.disarm();
                }
                // Before the turn passes.
                drop(unless_whole);
                lane.pass();
                inner.send_owed();
                return (Err(error), message);
            }
        };
        // From here on a part of the message is out.
        unless_whole.arm(&inner);
        lane.start(out.slice(..all));
        let (sent, sealed) = poll_fn(|cx| lane.poll_sent(cx)).await;
        out = sealed.into_inner();
        if let Err(error) = inner.judge(sent, all) {
            return (Err(error), message);
        }
        at = end;
        if at < message.len() {
            coop::consume_budget().await;
        }
    }
    unless_whole.disarm();
    lane.pass();
    inner.send_owed();
    (Ok(message.len()), message)
}

/// Says that the stream is cut, if armed.
struct Cut<'a>(Option<&'a Inner>);

impl<'a> Cut<'a> {
    fn arm(&mut self, inner: &'a Inner) {
        self.0 = Some(inner);
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if let Some(inner) = self.0 {
            inner.cut();
        }
    }
}

/// Sends close_notify behind all sends before, if that was not done yet.
pub(super) async fn send_close(inner: &Arc<Inner>) -> io::Result<()> {
    let mut lane: LaneSend<'_, Sealed> = LaneSend::new(&inner.tcp);
    poll_fn(|cx| inner.poll_turn(&mut lane, cx)).await;
    let mut out = Vec::new();
    let sealed = inner.state().seal_close(&mut out);
    let all = match sealed {
        Ok(Some(n)) => n,
        done => {
            lane.pass();
            inner.send_owed();
            return done.map(drop);
        }
    };
    lane.start(out.slice(..all));
    let (sent, _) = poll_fn(|cx| lane.poll_sent(cx)).await;
    lane.pass();
    inner.judge(sent, all)
}

const POLLED_AGAIN: &str = "a send was polled after it had completed";
