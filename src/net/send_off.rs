//! Sending a message off: without waiting until it has left.
//!
//! Owns the future of `send_off` and what becomes of its op. A server that answers and goes on to read need
//! not be woken and polled once more for each answer, as it is when it awaits `send`.
//!
//! # The lane
//! A message that is sent off has a place in the send lane like any other. With the turn its op is
//! submitted, unless the message leaves on the spot (ops.rs), the turn is the op's from then on, and the
//! future is ready. So there is one such message in flight at most; who sends the next one waits for the
//! turn, and a peer that does not read holds its sender up here, too.
//!
//! # Who touches what
//! - `Shared::off`, that such an op is in flight: set by who has the turn, before the op is submitted;
//!   cleared when the message is over, before the turn passes; read when the last handle is dropped. Whoever
//!   has set it had a handle, so that drop sees it; for a relay, which has none, see there (relay.rs). It may
//!   be cleared at that moment: then a socket that is about to close gets a limit that it has no use for.
//! - What has gone wrong: the failure of poll_write.rs, kept under the send side's lock before the turn
//!   passes. A call with the turn looks at one atomic (`poll_write::check_whole`) and takes the lock only if
//!   something has. It is told once, by the next `send_off`, `all_sent`, `release` or call without a future.
//!   Until then what tells only of itself is refused, and if a part of the message has left, all is that
//!   would follow it.
//!
//! # What if
//! - *The future is dropped* before it is ready: nothing is sent, and its place is given up. Afterwards there
//!   is nothing left of it.
//! - *The task moves on, or ends*: the op stays where it was submitted. If the kernel stops short, its
//!   completion submits the rest.
//! - *The last handle is dropped, the runtime goes down, the process forks*: as for bytes that were written
//!   without a future, for the promise is the same (poll_write.rs, `SendPromised`).
#![forbid(unsafe_code)]

use super::ops::{assert_reach, send_promised};
use super::poll_write;
use super::shared::Shared;
use super::turn::SendTurn;
use crate::base::coop;
use crate::buf::{IoBuf, PooledBuf};
use crate::ring::transfer::Outward;
use crate::sys::fork;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

/// The future of [`TcpStream::send_off`](super::TcpStream::send_off).
#[must_use = "a send does nothing unless it is awaited"]
pub struct SendOff<'a, B: IoBuf> {
    turn: SendTurn<'a>,
    buf: Option<B>,
}

impl<'a, B: IoBuf> SendOff<'a, B> {
    pub(crate) fn new(shared: &'a Arc<Shared>, buf: B) -> Self {
        Self { turn: SendTurn::new(shared), buf: Some(buf) }
    }
}

/// Before anything depends on a send: it can be submitted from here. In a child of fork the turn of an op
/// that the parent has never passes.
///
/// # Panics
/// If it cannot, because there is no runtime.
pub(super) fn may_send() -> io::Result<()> {
    assert_reach();
    fork::check()
}

/// Waits for the turn, for who submits an op with it.
///
/// # Errors
/// In a child of fork, where the turn of an op that the parent has never passes.
///
/// # Panics
/// As [`may_send`].
pub(super) async fn take_turn(shared: &Arc<Shared>) -> io::Result<SendTurn<'_>> {
    let mut turn = SendTurn::new(shared);
    poll_fn(|cx| poll_turn(&mut turn, cx)).await?;
    Ok(turn)
}

/// As [`take_turn`], for who keeps the [`SendTurn`] itself.
pub(super) fn poll_turn(turn: &mut SendTurn<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    // Each time: it may be polled elsewhere by then.
    may_send()?;
    turn.poll(cx).map(Ok)
}

/// With the turn: tells what has become of those before, or submits.
pub(super) fn go<B: IoBuf>(turn: &mut SendTurn<'_>, buf: B) -> io::Result<()> {
    let shared = turn.shared();
    poll_write::check_whole(shared)?;
    // Asks for the length, once: a foreign buffer may panic, and that must not be with the turn given away.
    let from = Outward::new(buf);
    if !from.is_whole() {
        shared.off.store(true, Ordering::Relaxed);
        turn.leave_to_op();
        send_promised(Arc::clone(shared), from, over);
    }
    Ok(())
}

/// Without a caller that could wait (relay.rs): takes the turn if the lane is free, and does not stand by.
/// [`go_on`] comes next. Runs nothing foreign.
#[inline]
pub(super) fn begin(shared: &Shared) -> bool {
    let begun = shared.send_turn().take();
    if begun {
        shared.off.store(true, Ordering::Relaxed);
    }
    begun
}

/// Submits a message that is not empty, on a core whose ring takes ops, after [`begin`].
///
/// # Errors
/// What was given, if what was sent before was cut. [`give_up`] comes next.
#[inline]
pub(super) fn go_on(shared: Arc<Shared>, buf: PooledBuf) -> Result<(), (Arc<Shared>, PooledBuf)> {
    if shared.is_torn() {
        return Err((shared, buf));
    }
    send_promised(shared, Outward::new(buf), over);
    Ok(())
}

/// Passes the turn on with nothing sent.
pub(super) fn give_up(shared: &Shared) {
    shared.off.store(false, Ordering::Relaxed);
    shared.sent();
}

/// The message is over: its op has had its final CQE, on its home core unless it never got there; or it has
/// left on the spot.
fn over<B: IoBuf>(shared: &Arc<Shared>, result: io::Result<usize>, buf: B) {
    if let Some(failure) = poll_write::failure_of(result) {
        poll_write::keep(shared, failure);
    }
    shared.off.store(false, Ordering::Relaxed);
    shared.sent();
    drop(buf);
}

// The buffer moves into the op's cell before the kernel sees it: nothing in the future is pointed at.
impl<B: IoBuf> Unpin for SendOff<'_, B> {}

impl<B: IoBuf> Future for SendOff<'_, B> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let budget = ready!(coop::poll_proceed(cx));
        may_send()?;
        ready!(this.turn.poll(cx));
        budget.made_progress();
        let buf = this.buf.take().expect("polled after completion");
        let result = go(&mut this.turn, buf);
        this.turn.leave();
        Poll::Ready(result)
    }
}

/// Waits for the turn, behind all that was sent, and tells what has become of it.
pub(super) async fn all_sent(shared: &Arc<Shared>) -> io::Result<()> {
    fork::check()?;
    let _turn = SendTurn::take(shared).await?;
    poll_write::check(shared)
}
