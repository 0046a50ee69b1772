//! Sending without a future: the core under the poll-shaped traits.
//!
//! Owns [`poll_write`], [`poll_put`] (for bytes that are made where they are to go), [`poll_flush`],
//! [`poll_send_off`], [`poll_shutdown`] and the state they need ([`PollWrite`]), which lives with the stream
//! and not with a call. It knows no trait: the adapters are `compat`'s, a few lines each.
//!
//! # States
//! | state | the lane's turn | bytes |
//! |---|---|---|
//! | Idle | not ours | none |
//! | Sending | ours, also if nobody polls any more | one op's, and those gathered behind it |
//!
//! | from | event | to | what happens |
//! |---|---|---|---|
//! | Idle | write, the lane is free | Sending | the bytes are copied and submitted at once, as one op |
//! | Idle | write, the lane is taken | Idle | Pending; the writer stands by (turn.rs) |
//! | Sending | write, there is room, nobody waits for the lane | Sending | the bytes are gathered |
//! | Sending | write, no room, or others wait for the lane | Sending | Pending; the writer is stored |
//! | Sending | final CQE, bytes gathered | Sending | the home core submits them as the next op |
//! | Sending | final CQE, nothing gathered | Idle | the turn passes on |
//! | Sending | final CQE, an error | Idle | what is gathered is dropped, the error kept, the turn passes on |
//! | Idle | write, behind a message that was cut | Idle | refused, each time |
//! | Idle | shutdown, the same, where more could be sent | Idle | refused, each time |
//!
//! What leaves on the spot (ops.rs) goes on as behind a final CQE, before the write returns.
//! Each final CQE wakes the writer that is stored; one with an error also who polls for bytes to read. An
//! error is told by the next write, flush or shutdown, once; that of a send whose future was dropped as well.
//! Flush is ready in Idle, sending off always.
//! Shutdown flushes, takes the lane's turn and calls `shutdown(2)`.
//!
//! # Order
//! The turn is held until the last gathered byte has left, so a send with a place in the lane goes behind
//! what was written before it; from when it waits nothing more is gathered, so what is written after it goes
//! behind it. `shutdown_write`, `release` and the drop of an owned send half wait for the turn, or for its
//! passing, like any other.
//!
//! # What if
//! - *The task is never polled again*: its bytes leave all the same. The completion submits what is gathered.
//! - *It moves to another core*: the op stays where it was submitted; the completion continues there. The
//!   first write in Idle goes to the new core's ring.
//! - *The last handle is dropped while Sending*: the bytes still leave and the socket closes behind them,
//!   as the kernel does it for what it has of a closed socket; a peer that takes nothing for
//!   [`ABANDONED_FOR`] ends it, and a linger time of zero at once.
//!   A Unix socket knows neither: there they wait until the peer takes them or closes.
//! - *The runtime goes down*: its end gives these ops, and those that follow them, half of its time
//!   (sched/shutdown.rs). Then they are cancelled like all others; what the socket had no room for is lost,
//!   the next call says so, and the connection is reset, so that the peer does not take a part for all. The
//!   reset takes along what the socket had and the peer had not acknowledged, flushed or not.
//!   A Unix socket cannot be reset: its peer reads the end behind what it got.
//! - *The process is a forked child*: the op completes with an error at once, before [`poll_write`] returns;
//!   the next call tells it. An op that the parent had in flight at the fork is the parent's: in the child's
//!   copy of the stream it never ends, so each call fails. So does shutdown, whose end the peer would take
//!   for the parent's.
//!
//! # Locks
//! The send side's lock is held while bytes are copied, or made ([`poll_put`]), and around the turnstile's;
//! never around a submission, a wake or the drop of a waker. The order is: send side, then the turnstile's
//! or that of whoever makes the bytes. The turn of the last op passes on under it, too: whoever has the lock
//! and sees that nothing is in flight does not find the turn taken for what was.
#![forbid(unsafe_code)]

use super::Connected;
use super::ops::{assert_reach, send_promised};
use super::shared::{SendSide, Shared, follows_a_cut};
use super::turn::Place;
use crate::base::{coop, guard};
use crate::buf::spare;
use crate::ring::transfer::Outward;
use crate::sys::sqe::Cqe;
use crate::sys::{self, fork};
use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// Bytes one op takes, and bytes gathered behind it: enough that the cost of an op is small beside that of
/// its bytes, and no more than 128 KiB for a stream whose peer does not read.
const MOST: usize = 64 * 1024;

/// How long the peer of a stream that nobody holds any more may take nothing: about what the kernel gives a
/// closed socket of its own (`tcp_orphan_retries`, `tcp(7)`).
const ABANDONED_FOR: Duration = Duration::from_secs(100);

/// All that was written has left, and nothing is to be told.
pub(super) const SETTLED: u8 = 0;
/// An op is in flight.
const SENDING: u8 = 1;
/// There is an error to be told.
const FAILED: u8 = 2;

/// What the send side keeps for callers without a future.
#[derive(Default)]
pub(super) struct PollWrite {
    /// An op is in flight, and the lane's turn is its.
    sending: bool,
    /// Bytes that go with the next op.
    gathered: Vec<u8>,
    /// What has gone wrong and was not told.
    failure: Option<io::Error>,
    /// Who waits for room, or for all to have left.
    writer: Option<Waker>,
}

impl PollWrite {
    /// What has gone wrong, once. Under the lock, because another message may fail at any time.
    fn tell(&mut self, shared: &Shared) -> Option<io::Error> {
        let failure = self.failure.take()?;
        shared.written.store(SETTLED, Ordering::Release);
        shared.note_told();
        Some(failure)
    }

    /// Stores who waits; what was stored comes back, to be dropped without the lock.
    fn wait(&mut self, waker: &Waker) -> Option<Waker> {
        let same = self.writer.as_ref().is_some_and(|writer| writer.will_wake(waker));
        if same { None } else { self.writer.replace(waker.clone()) }
    }
}

/// Takes what there is room for of `bufs`; the number is zero only if they are empty. What it takes leaves
/// without another call.
///
/// # Errors
/// What became of bytes taken before.
///
/// # Panics
/// On a thread that is no core and has entered no runtime.
pub(crate) fn poll_write(
    stream: &impl Connected,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if bufs.iter().all(|buf| buf.is_empty()) {
        return Poll::Ready(take_failure(stream.shared()).map_or(Ok(0), Err));
    }
    poll_put(stream, cx, |into| copy(into, bufs))
}

/// Has `put` append bytes, at most [`MOST`] and a record more, behind those that were taken before and have
/// not left; returns what it returns. They leave without another call, and nothing is made that does not.
///
/// `put` runs under the send side's lock, which is what keeps the order of two callers.
///
/// # Errors
/// What became of bytes taken before; `put` is not called.
///
/// # Panics
/// As [`poll_write`].
pub(crate) fn poll_put<R>(
    stream: &impl Connected,
    cx: &mut Context<'_>,
    put: impl FnOnce(&mut Vec<u8>) -> R,
) -> Poll<io::Result<R>> {
    let budget = ready!(coop::poll_proceed(cx));
    let shared = stream.shared();
    let mut side = shared.send_side();
    let writer = &mut side.polled;
    if let Some(failure) = writer.tell(shared) {
        budget.made_progress();
        return Poll::Ready(Err(failure));
    }
    if writer.sending {
        if fork::is_child() {
            return Poll::Ready(Err(fork::error()));
        }
        if writer.gathered.len() >= MOST || shared.send_turn().has_waiting() {
            return pend(side, cx.waker());
        }
        if writer.gathered.capacity() == 0 {
            writer.gathered = spare::take();
        }
        budget.made_progress();
        return Poll::Ready(Ok(put(&mut writer.gathered)));
    }
    assert_reach();
    if let Err(replaced) = shared.send_turn().try_enter(cx.waker()) {
        drop(side);
        drop(replaced);
        return stands_by();
    }
    let turn = Visit(shared);
    if let Err(error) = shared.check_whole() {
        drop(side);
        return Poll::Ready(Err(error));
    }
    let mut bytes = spare::take();
    let result = put(&mut bytes);
    if bytes.is_empty() {
        drop(side);
        spare::give_back(bytes);
        return Poll::Ready(Ok(result));
    }
    writer.sending = true;
    shared.written.store(SENDING, Ordering::Release);
    drop(side);
    turn.stay();
    submit(shared, bytes);
    budget.made_progress();
    Poll::Ready(Ok(result))
}

/// As [`poll_put`], but only behind what is in flight: false if nothing is, and `put` is not called. The turn
/// of what was in flight before has passed on then.
///
/// For what must not be left behind when it is over.
#[cfg(feature = "tls")]
pub(crate) fn put_behind(stream: &impl Connected, put: impl FnOnce(&mut Vec<u8>)) -> bool {
    let Some(mut side) = stream.shared().send_side_if_any() else { return false };
    let writer = &mut side.polled;
    if !writer.sending {
        return false;
    }
    if writer.gathered.capacity() == 0 {
        writer.gathered = spare::take();
    }
    put(&mut writer.gathered);
    true
}

/// The turn while there is nothing in flight: it passes on, unless it stays for what is about to be.
struct Visit<'a>(&'a Shared);

impl Visit<'_> {
    fn stay(self) {
        std::mem::forget(self);
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.leave_send(Place::THROUGH);
    }
}

/// Ready when all that was written has been handed to the kernel.
///
/// # Errors
/// As [`poll_write`].
pub(crate) fn poll_flush(stream: &impl Connected, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let shared = stream.shared();
    // Those who write and flush at the same time have no order anyway; for one who does it in turn this is
    // the value its write has left, or what has become of it.
    if shared.written.load(Ordering::Acquire) == SETTLED {
        return Poll::Ready(Ok(()));
    }
    let mut side = shared.send_side();
    let writer = &mut side.polled;
    if let Some(failure) = writer.tell(shared) {
        return Poll::Ready(Err(failure));
    }
    if !writer.sending {
        return Poll::Ready(Ok(()));
    }
    if fork::is_child() { Poll::Ready(Err(fork::error())) } else { pend(side, cx.waker()) }
}

/// Tells what has become of what was written, and waits for nothing: what was taken leaves without another
/// call. Ready always.
///
/// For callers who flush and go on to read with [`poll_read`](super::poll_read::poll_read): they are woken
/// when a write fails. To wait for the completion would wake and poll them once more for every message.
///
/// # Errors
/// As [`poll_write`].
#[cfg_attr(not(feature = "hyper"), allow(dead_code))]
pub(crate) fn poll_send_off(stream: &impl Connected) -> Poll<io::Result<()>> {
    Poll::Ready(check(stream.shared()))
}

/// Closes the send direction behind all that was written. A connection that is gone has none, which is no
/// error.
///
/// # Errors
/// As [`poll_write`].
pub(crate) fn poll_shutdown(stream: &impl Connected, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    ready!(poll_flush(stream, cx))?;
    let shared = stream.shared();
    if shared.send_turn().try_enter(cx.waker()).is_err() {
        return stands_by();
    }
    let _turn = Visit(shared);
    Poll::Ready(match shared.end_sending() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    })
}

/// What has gone wrong with bytes that were taken, if nobody was told: for who takes the socket over.
pub(super) fn take_failure(shared: &Shared) -> Option<io::Error> {
    shared.send_side_if_any()?.polled.tell(shared)
}

/// What has gone wrong with bytes that were taken, if nobody was told.
///
/// # Errors
/// Just that.
pub(super) fn check(shared: &Shared) -> io::Result<()> {
    // As in `poll_flush`.
    if shared.written.load(Ordering::Acquire) != FAILED {
        return Ok(());
    }
    take_failure(shared).map_or(Ok(()), Err)
}

/// Before something is sent that nobody will wait for, by who has the turn.
///
/// # Errors
/// What has gone wrong with a message before, if nobody was told; if somebody was, that this would follow it.
#[inline]
pub(super) fn check_whole(shared: &Shared) -> io::Result<()> {
    if shared.is_torn() { Err(take_failure(shared).unwrap_or_else(follows_a_cut)) } else { Ok(()) }
}

/// Whether a flush would have something to wait for or to tell.
pub(super) fn is_unsettled(shared: &Shared) -> bool {
    shared.written.load(Ordering::Acquire) != SETTLED
}

/// The last handle is gone. Bytes that are on their way go on, within limits.
pub(super) fn abandoned(shared: &Shared) {
    if fork::is_child() {
        // The connection is the parent's.
        return;
    }
    let is_written = || shared.send_side_if_any().is_some_and(|side| side.polled.sending);
    if !shared.off.load(Ordering::Relaxed) && !is_written() {
        return;
    }
    let socket = shared.socket();
    if matches!(socket.linger(), Ok(Some(Duration::ZERO))) {
        // The send in flight fails. Not by a shutdown: its FIN would tell the peer that it had everything.
        let _ = sys::io::reset(shared.fd());
    } else {
        // A connection that is gone already needs no limit.
        let _ = socket.set_tcp_user_timeout(Some(ABANDONED_FOR));
    }
}

/// What was submitted is over: its op has had its final CQE, on its home core unless it never got there; or
/// it has left on the spot, within the call that has brought it.
fn sent(shared: &Arc<Shared>, result: io::Result<usize>, bytes: Vec<u8>) {
    spare::give_back(bytes);
    let failure = failure_of(result);
    let mut side = shared.send_side();
    if failure.is_some() {
        shared.note_lost();
    }
    let writer = &mut side.polled;
    debug_assert!(writer.sending, "an op was in flight");
    let next = std::mem::take(&mut writer.gathered);
    let goes_on = failure.is_none() && !next.is_empty();
    writer.sending = goes_on;
    let has_failed = failure.is_some();
    let written = match (goes_on, has_failed) {
        (true, _) => SENDING,
        (_, true) => FAILED,
        _ => SETTLED,
    };
    shared.written.store(written, Ordering::Release);
    writer.failure = failure;
    let waiter = writer.writer.take();
    // Under the lock: who asks here and is told that nothing is in flight must not find the turn taken for it
    // (`put_behind`).
    let next_in_line = if goes_on { None } else { shared.send_turn().hand_on() };
    drop(side);
    if goes_on {
        submit(shared, next);
    } else {
        spare::give_back(next);
        shared.close_write_if_asked();
    }
    next_in_line.into_iter().chain(waiter).for_each(guard::wake);
    if has_failed {
        // Whoever flushed with `poll_send_off` and went on to read has nothing else to be told by.
        shared.wake_readers();
    }
}

/// What has gone wrong with an op that had bytes to move.
pub(super) fn failure_of(result: io::Result<usize>) -> Option<io::Error> {
    match result {
        Ok(1..) => None,
        Ok(_) => Some(io::ErrorKind::WriteZero.into()),
        Err(error) => Some(error),
    }
}

/// A message whose future is gone ended so, and is not whole. Before its turn passes.
#[cold]
pub(super) fn lost(shared: &Shared, cqe: Cqe, has_begun: bool) {
    if has_begun {
        shared.note_cut();
    } else if cqe.res == -libc::ECANCELED {
        // Who sent it has stopped it before anything left, and did not wait to be told. Nothing is missing.
        return;
    }
    if let Some(failure) = failure_of(cqe.result().and(Ok(0))) {
        keep(shared, failure);
    }
}

/// Keeps what has gone wrong with a message that nobody waits for, for whichever call comes next. For who has
/// the turn.
pub(super) fn keep(shared: &Shared, failure: io::Error) {
    let mut side = shared.send_side();
    shared.note_lost();
    side.polled.failure = Some(failure);
    shared.written.store(FAILED, Ordering::Release);
}

/// Sends the bytes. The turn is theirs until [`sent`], which a send on the spot calls at once.
fn submit(shared: &Arc<Shared>, bytes: Vec<u8>) {
    send_promised(Arc::clone(shared), Outward::new(bytes), sent);
}

/// The lane is taken. In a child of fork it never comes free where the parent has an op in flight.
fn stands_by<T>() -> Poll<io::Result<T>> {
    match fork::check() {
        Ok(()) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}

fn pend<T>(mut side: MutexGuard<'_, SendSide>, waker: &Waker) -> Poll<T> {
    let replaced = side.polled.wait(waker);
    drop(side);
    drop(replaced);
    Poll::Pending
}

/// Appends what fits of `bufs`; returns how much.
fn copy(into: &mut Vec<u8>, bufs: &[IoSlice<'_>]) -> usize {
    let before = into.len();
    for buf in bufs {
        let n = buf.len().min(MOST - into.len());
        into.extend_from_slice(&buf[..n]);
    }
    into.len() - before
}
