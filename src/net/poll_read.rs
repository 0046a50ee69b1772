//! Receiving without a future: the core under the poll-shaped traits.
//!
//! Owns [`poll_read`] and the little state it needs beside the receive side's own ([`PollRead`]). It knows
//! no trait: the adapters are `compat`'s, a few lines each.
//!
//! # How it works
//! - Bytes go from the stream's queue into the caller's buffer: one copy, made by the caller's closure, which
//!   appends to memory that nobody had to fill with zeros. As many buffers of the queue as fit are taken in
//!   one call; what does not fit of the last one goes back in front.
//! - What fills the queue belongs to the stream and not to a call: the multishot, which stays armed between
//!   calls, or, where there can be none (bulk, an empty pool, `read_ahead(false)`, a thread that is no
//!   core), a one-shot receive in the mode `Ahead` (recv.rs). A call in vain allocates nothing and submits
//!   nothing, unless nobody receives.
//! - Under `read_ahead(false)` the one-shot receive asks for no more than the call that starts it had room
//!   for.
//!
//! # The lane
//! A call has the turn of the lane while it runs and never longer. Pending, it has no place: it stands by
//! (turn.rs) while a future has the turn, and else waits for the next completion beside whoever comes. So a
//! call that is never repeated holds nobody up, and what its receive brings is in the queue for the next one,
//! of either shape. The price: callers with a place go first, always.
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

use super::TcpStream;
use super::ops::{RecvAhead, assert_reach, heap_buffer, launch};
use super::receive::arm;
use super::recv::{BULK_SIZE, Next, RecvSide};
use super::shared::Shared;
use super::turn::Place;
use crate::base::coop;
use crate::buf::PooledBuf;
use crate::ring::transfer::Inward;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// What the receive side keeps for callers without a future.
#[derive(Default)]
pub(super) struct PollRead {
    /// Who waits for the next completion.
    pub(super) waiter: Option<Waker>,
    /// The buffer of the last bulk receive, for the next one.
    spare: Option<PooledBuf>,
}

/// The turn for the length of one call.
struct Visit<'a>(&'a Arc<Shared>);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.recv_turn.leave(Place::Through);
    }
}

/// Takes at most `room` bytes, which `put` appends to the caller's buffer, in one call or several; zero is
/// the end of the stream (or no room).
///
/// # Errors
/// The kernel's, each once, and not before the bytes that came before it.
pub(crate) fn poll_read(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    room: usize,
    mut put: impl FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    if room == 0 {
        return Poll::Ready(Ok(0));
    }
    let budget = ready!(coop::poll_proceed(cx));
    let shared = stream.shared();
    if shared.recv_turn.try_enter(cx.waker()).is_err() {
        return Poll::Pending;
    }
    let _turn = Visit(shared);
    loop {
        let (next, replaced) = shared.recv().next_polled(cx.waker());
        drop(replaced);
        let result = match next {
            Next::Wait => return Poll::Pending,
            Next::Start => match start(shared, room) {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            Next::End(result) => result.map(|()| 0),
            Next::Chunk(chunk) => Ok(take(shared, chunk, room, &mut put)),
        };
        budget.made_progress();
        return Poll::Ready(result);
    }
}

impl RecvSide {
    /// What a caller without a future does next. If it is to wait its waker is stored, and the one it
    /// replaces comes back, to be dropped without the lock.
    fn next_polled(&mut self, waker: &Waker) -> (Next, Option<Waker>) {
        let next = self.look();
        if !matches!(next, Next::Wait) {
            return (next, None);
        }
        let waiter = &mut self.polled.get_or_insert_default().waiter;
        let same = waiter.as_ref().is_some_and(|waiter| waiter.will_wake(waker));
        let replaced = if same { None } else { waiter.replace(waker.clone()) };
        (next, replaced)
    }

    /// After a part of the queue was taken: the buffers that follow it at once, as far as there are any.
    fn more(&mut self) -> Option<PooledBuf> {
        match self.has_chunk().then(|| self.look()) {
            Some(Next::Chunk(chunk)) => Some(chunk),
            _ => None,
        }
    }

    /// A buffer for a one-shot receive on behalf of a call with this much room.
    fn buffer(&mut self, room: usize) -> PooledBuf {
        if self.is_one_shot_only() {
            return heap_buffer(room.min(BULK_SIZE));
        }
        let spare = self.polled.as_mut().and_then(|polled| polled.spare.take());
        spare.filter(|_| self.is_bulk()).unwrap_or_else(|| heap_buffer(self.single_size()))
    }

    /// Keeps the memory of a bulk receive while bytes come in bulk.
    fn recycle(&mut self, mut emptied: PooledBuf) {
        if self.is_bulk() && emptied.reset(BULK_SIZE) {
            self.polled.get_or_insert_default().spare = Some(emptied);
        }
    }
}

/// Hands `first`, and what is behind it, to `put`, up to `room` bytes; returns how many.
fn take(shared: &Shared, first: PooledBuf, room: usize, put: &mut impl FnMut(&[u8])) -> usize {
    let (mut taken, mut next) = (0, Some(first));
    while let Some(mut chunk) = next.take() {
        let n = chunk.len().min(room - taken);
        put(&chunk[..n]);
        taken += n;
        chunk.advance(n);
        if !chunk.is_empty() {
            shared.recv().put_back(chunk);
            break;
        }
        let mut side = shared.recv();
        if !chunk.is_from_pool() {
            side.recycle(chunk);
        }
        if taken < room {
            next = side.more();
        }
    }
    taken
}

/// Nobody receives: arms a multishot, or starts a one-shot receive that the stream keeps.
fn start(shared: &Arc<Shared>, room: usize) -> io::Result<()> {
    if arm(shared)? {
        return Ok(());
    }
    assert_reach();
    let (buffer, poll_first) = {
        let mut side = shared.recv();
        side.start_ahead();
        (side.buffer(room), side.poll_first())
    };
    let into = Inward::new(buffer);
    let op = launch(RecvAhead { shared: Arc::clone(shared), into, poll_first });
    if let Some(cell) = op.cell() {
        shared.recv().ahead_submitted(cell.clone());
    }
    Ok(())
}
