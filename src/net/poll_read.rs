//! Receiving without a future: the core under the poll-shaped traits.
//!
//! Owns [`poll_read`], [`poll_recv_pooled`] and the little state they need beside the receive side's own
//! ([`PollRead`]). It knows no trait: the adapters are `compat`'s, a few lines each.
//!
//! # How it works
//! - Bytes go from the stream's queue into the caller's buffer: one copy, made by the caller's closure, which
//!   appends to memory that nobody had to fill with zeros. As many buffers of the queue as fit are taken in
//!   one call; what does not fit of the last one goes back in front.
//! - What fills the queue belongs to the stream and not to a call: a receive into buffers that the kernel
//!   picks, which mostly stays armed between calls, or, where there can be none (an empty or starved pool,
//!   `read_ahead(false)`, a thread that is no core), a one-shot receive in the mode `Ahead` (recv.rs). A call
//!   in vain allocates nothing and submits nothing, unless nobody receives.
//! - A call in vain is often followed by another one before anything has come (hyper asks twice for each
//!   message): a mark beside the lock says so (`in_vain::InVain`), and the second call takes no lock.
//! - Under `read_ahead(false)` the one-shot receive asks for no more than the call that starts it had room
//!   for.
//!
//! # The lane
//! A call has no place in it. While a future has the turn, it stands by (turn.rs). Else it takes from the
//! queue, under the receive side's lock, or waits for the next completion beside whoever comes; only to
//! start a receive does it take the turn, and passes it on before it returns. So a call that is never
//! repeated holds nobody up, and what its receive brings is in the queue for the next one, of either shape.
//! The price: callers with a place go first, always.
//!
//! A buffer of the queue that the caller has room for is copied after it has left the queue; of one that is
//! too large a part is copied under the lock, so that nobody takes the next one before the rest of it.
//!
//! # What if
//! - *The waiting task is dropped*: its waker stays until the next completion and wakes nobody.
//! - *It moves to another core*: the queue is reached from everywhere; an armed multishot follows after
//!   `SETTLE`, as for futures; a one-shot receive completes where it is.
//! - *Two tasks poll one stream* (through halves that borrow it): the last one is woken. The traits promise
//!   no more.
//! - *The last handle is dropped*: the receive is cancelled (`disarm`).
//! - *The runtime goes down*: the receive completes with an error, which wakes the waiting task.
#![forbid(unsafe_code)]

use super::Connected;
use super::flow::{BULK_SIZE, HIGH_WATER};
use super::in_vain::Shape;
use super::ops::{assert_reach, launch};
use super::receive::arm;
use super::recv::{Next, RecvSide};
use super::recv_ops::RecvAhead;
use super::shared::Shared;
use crate::base::coop;
use crate::buf::PooledBuf;
use crate::ring::transfer::Inward;
use crate::sys::fork;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// What the receive side keeps for callers without a future.
#[derive(Default)]
pub(super) struct PollRead {
    /// Who waits for the next completion.
    pub(super) waiter: Option<Waker>,
}

/// Takes at most `room` bytes, which `put` appends to the caller's buffer, in one call or several; zero is
/// the end of the stream (or no room).
///
/// # Errors
/// The kernel's, each once, and not before the bytes that came before it.
pub(crate) fn poll_read(
    stream: &impl Connected,
    cx: &mut Context<'_>,
    room: usize,
    mut put: impl FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    if room == 0 {
        return Poll::Ready(Ok(0));
    }
    let shared = stream.shared();
    if shared.in_vain().is_for(cx.waker()) && !fork::is_child() {
        return Poll::Pending;
    }
    let budget = ready!(coop::poll_proceed(cx));
    loop {
        let taken = ready!(poll_take(shared, cx, Room { bytes: room, several: true }, &mut put));
        let result = match taken {
            Ok(Taken::End) => Ok(0),
            Ok(Taken::Part) => Ok(room),
            Ok(Taken::Whole(chunk)) => Ok(copy(chunk, &mut put)),
            Ok(Taken::Several) => match copy_several(shared, room, &mut put) {
                0 => continue,
                n => Ok(n),
            },
            Err(error) => Err(error),
        };
        budget.made_progress();
        return Poll::Ready(result);
    }
}

/// Takes one received buffer as it is; an empty one is the end of the stream. Nothing is copied.
///
/// # Errors
/// As [`poll_read`].
#[cfg_attr(not(feature = "tls"), allow(dead_code))]
pub(crate) fn poll_recv_pooled(stream: &impl Connected, cx: &mut Context<'_>) -> Poll<io::Result<PooledBuf>> {
    let budget = ready!(coop::poll_proceed(cx));
    let room = Room { bytes: usize::MAX, several: false };
    let taken = ready!(poll_take(stream.shared(), cx, room, &mut |_| {}));
    budget.made_progress();
    Poll::Ready(taken.map(|taken| match taken {
        Taken::Whole(chunk) => chunk,
        Taken::End => PooledBuf::end_of_stream(),
        Taken::Part | Taken::Several => unreachable!("one buffer of any length was asked for"),
    }))
}

/// How much a call takes at most.
#[derive(Clone, Copy)]
struct Room {
    bytes: usize,
    /// More than one buffer, if they fit.
    several: bool,
}

/// What a call gets.
enum Taken {
    End,
    /// More than it has room for, which is full now.
    Part,
    /// The one buffer that it has room for, not copied yet.
    Whole(PooledBuf),
    /// There is room for more than one buffer, all of which are still in the queue.
    Several,
}

/// Looks into the queue; starts a receive if nobody receives.
#[inline(always)]
fn poll_take(
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
    room: Room,
    put: &mut impl FnMut(&[u8]),
) -> Poll<io::Result<Taken>> {
    loop {
        let (found, replaced) = {
            let mut side = shared.recv();
            // Looked at under the lock: a future that has the turn may have a buffer in its hands, of which
            // it puts a part back.
            if shared.recv_turn().is_free() {
                let taken = side.take(cx.waker(), room, put);
                if let (Found::Nothing, _) = taken
                    && let Some(stored) = side.polled.as_ref().and_then(|polled| polled.waiter.as_ref())
                {
                    shared.in_vain().begins(stored, Shape::Pollster);
                }
                taken
            } else {
                (Found::Others, None)
            }
        };
        drop(replaced);
        return Poll::Ready(match found {
            Found::Others if fork::is_child() => Err(fork::error()),
            Found::Others if shared.recv_turn().stand_by(cx.waker()) => return Poll::Pending,
            Found::Others => continue,
            Found::Nothing if fork::is_child() => Err(fork::error()),
            Found::Nothing => return Poll::Pending,
            Found::NobodyReceives => match start(shared, cx, room.bytes) {
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => return Poll::Pending,
            },
            Found::Some(taken) => Ok(taken),
            Found::Failed(error) => Err(error),
        });
    }
}

/// What a call finds.
enum Found {
    /// Somebody has the turn.
    Others,
    Some(Taken),
    Failed(io::Error),
    /// It waits for a completion.
    Nothing,
    NobodyReceives,
}

impl RecvSide {
    /// Looks into the queue on behalf of a call with this much room. If the call is to wait its waker is
    /// stored, and the one it replaces comes back, to be dropped without the lock.
    fn take(&mut self, waker: &Waker, room: Room, put: &mut impl FnMut(&[u8])) -> (Found, Option<Waker>) {
        // The memory of a pool is not there in a child: `look` says so.
        if room.several && !fork::is_child() && self.has_several_in(room.bytes) {
            return (Found::Some(Taken::Several), None);
        }
        let found = match self.look() {
            Next::Chunk(chunk) if chunk.len() <= room.bytes => Found::Some(Taken::Whole(chunk)),
            Next::Chunk(mut chunk) => {
                put(&chunk[..room.bytes]);
                chunk.advance(room.bytes);
                self.put_back(chunk);
                Found::Some(Taken::Part)
            }
            Next::End(Ok(())) => Found::Some(Taken::End),
            Next::End(Err(error)) => Found::Failed(error),
            Next::Start => Found::NobodyReceives,
            Next::Wait => {
                let waiter = &mut self.polled.get_or_insert_default().waiter;
                let same = waiter.as_ref().is_some_and(|waiter| waiter.will_wake(waker));
                let replaced = if same { None } else { waiter.replace(waker.clone()) };
                return (Found::Nothing, replaced);
            }
        };
        (found, None)
    }

    /// The buffers that fit, all at once: between two looks another reader could take one.
    fn batch(&mut self, mut room: usize) -> [Option<PooledBuf>; HIGH_WATER] {
        let mut batch = [const { None }; HIGH_WATER];
        for place in &mut batch {
            let Some(next) = self.next_fitting(room) else { break };
            room -= next.len();
            *place = Some(next);
        }
        batch
    }

    /// A buffer for a one-shot receive on behalf of a call with this much room.
    fn buffer(&self, room: usize) -> PooledBuf {
        PooledBuf::heap(if self.is_one_shot_only() { room.min(BULK_SIZE) } else { self.single_size() })
    }
}

/// Hands a buffer to `put`; returns how many bytes that were.
fn copy(chunk: PooledBuf, put: &mut impl FnMut(&[u8])) -> usize {
    put(&chunk);
    chunk.len()
}

/// Takes as many buffers as fit and hands them to `put`; returns how many bytes that were. None if a future
/// has the turn by now, or another reader has been quicker.
///
/// Apart from the usual case of one buffer, which has no use for room for sixteen.
#[cold]
#[inline(never)]
fn copy_several(shared: &Shared, room: usize, put: &mut impl FnMut(&[u8])) -> usize {
    let batch = {
        let mut side = shared.recv();
        if !shared.recv_turn().is_free() {
            return 0;
        }
        side.batch(room)
    };
    batch.into_iter().map_while(|chunk| chunk).map(|chunk| copy(chunk, put)).sum()
}

/// Nobody receives: starts a receive that the stream keeps.
fn start(shared: &Arc<Shared>, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<()>> {
    let Ok(_turn) = shared.recv_turn().visit(cx.waker()) else { return Poll::Pending };
    // A future may have started one before this call had the turn.
    if !shared.recv().is_disarmed() || arm(shared)? {
        return Poll::Ready(Ok(()));
    }
    assert_reach();
    let (buffer, start) = {
        let mut side = shared.recv();
        side.start_ahead();
        (side.buffer(room), side.start())
    };
    let into = Inward::new(buffer);
    let op = launch(RecvAhead { shared: Arc::clone(shared), into, start });
    if let Some(cell) = op.cell() {
        shared.recv().ahead_submitted(cell.clone());
    }
    Poll::Ready(Ok(()))
}
