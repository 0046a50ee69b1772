//! The receive side of a stream: a state machine that lives with the stream, not with a future.
//!
//! # States
//! | state | who holds a receive for the socket | received bytes |
//! |---|---|---|
//! | Disarmed | nobody | the queue |
//! | Single | one ring, one-shot (a future's, or an orphan being cancelled) | queue, then the op's buffer |
//! | Ahead | one ring, one-shot, the stream's own (poll_read.rs) | queue, then the op's buffer |
//! | Armed | one ring, into buffers that the kernel picks, home core A | A appends to the queue |
//! | Cancelling | the same ring, until the final CQE | A appends to the queue |
//!
//! # Arrows
//! | from | event | to | by |
//! |---|---|---|---|
//! | any | receive, queue not empty | same | the reader takes from the queue |
//! | any | receive, queue empty, end known | same | the reader gets end of stream or the error |
//! | Disarmed | pooled receive, `poll_read`, pool has buffers | Armed(this core) | `receive::arm` |
//! | Disarmed | receive into a buffer; empty pool, starved, no read-ahead | Single | `Receiver::start` |
//! | Disarmed, bulk | `forward_to`, queue empty | same | bytes leave by a system call of who has the turn |
//! | Single | its one CQE | Disarmed | `single_done`; an orphan's bytes go to the queue |
//! | Disarmed | `poll_read`: empty pool, starved, no read-ahead | Ahead | `poll_read::start` |
//! | Ahead, Cancelling | its one CQE | Disarmed | `ahead_done`; the bytes go to the queue |
//! | Armed | CQE with more to come | Armed | append, wake the reader; or send on, see relay.rs |
//! | Armed | over the high-water mark; another group fits better | Cancelling | `Flow::received` |
//! | Armed | the reader's task has moved, not for `SETTLE` | Cancelling | `move_on` |
//! | Armed, Ahead | last handle gone; `release`; `read_ahead(false)`; `forward_to` | Cancelling | `disarm` |
//! | Armed, Cancelling | final CQE: data, end, ENOBUFS, ECANCELED, error | Disarmed | `completed` |
//!
//! Only the final CQE, seen by the home core and published behind the last byte (all of this is under one
//! lock), leaves Cancelling. At no time do two rings hold a receive for one socket: Disarmed is the one state
//! from which an op is started, and the lane's turn admits one starter.
//!
//! Two may wait for one stream: the future that has the turn (`reader`) and whoever polls it without a future
//! (`polled`). Every completion wakes both, because it may have been the one that both were waiting for, but
//! for those whose bytes it sends on.
//! A reader that has just taken the last bytes is stored as if it waited (`next`): it most often will.
//!
//! The lock is held for a handful of instructions and never across a wake of who waits or foreign code. Nor
//! across a system call, but for one: to tell a receive to end (`disarm`, `ahead_submitted`) may flush a
//! submission queue that is full, or ring the doorbell of another core. Neither waits, or takes this lock.
#![forbid(unsafe_code)]

use super::chunks::Chunks;
use super::end::{End, is_no_end};
use super::flow::{Flow, Picked, Start};
use super::poll_read::PollRead;
use super::reader::{Concerned, Reader};
use super::relay::{Completed, Onward, Relay};
use super::since::Since;
use crate::buf::PooledBuf;
use crate::ring::cell::CellRef;
use crate::ring::group::Group;
use crate::ring::multi::Armed;
use crate::sys::fork;
use crate::sys::sqe::{Cqe, RES_GONE};
use std::io;
use std::task::Waker;
use std::time::Duration;

/// How long a stream stays armed where it is after it was armed, though its task has moved on.
pub(crate) const SETTLE: Duration = Duration::from_millis(10);

/// Where the stream stands with the rings.
#[derive(Default)]
pub(crate) enum Mode {
    /// No receive anywhere.
    #[default]
    Disarmed,
    /// A one-shot receive.
    Single,
    /// A receive into buffers that the kernel picks, since then.
    Armed(Armed, Since),
    /// A one-shot receive into the queue; its cell as soon as it has been submitted.
    Ahead(Option<CellRef>),
    /// One of those two that was told to end.
    Cancelling,
}

/// What a reader does next.
pub(crate) enum Next {
    /// Take these bytes.
    Chunk(PooledBuf),
    /// The end, or an error.
    End(io::Result<()>),
    /// Sleep: a completion will wake the reader.
    Wait,
    /// Start a receive: nobody has one.
    Start,
}

/// What comes of a look by a reader.
#[must_use]
pub(crate) struct Step {
    pub(crate) next: Next,
    /// The reader's waker is stored as it is, and looks with it are in vain until somebody takes the lock.
    pub(crate) is_told: bool,
    /// The waker that this one replaces, to be woken without the lock (`Reader::store`).
    pub(crate) replaced: Option<Waker>,
}

/// The receive side of one stream, under its lock.
///
/// In this order: a message that is sent on where it completes touches nothing behind the first buffer.
#[derive(Default)]
#[repr(C)]
pub(crate) struct RecvSide {
    /// A forwarding's, while there is one.
    relay: Option<Relay>,
    /// What poll-shaped receiving needs, from the first time on that it had to wait.
    pub(super) polled: Option<Box<PollRead>>,
    /// What kind of bytes come.
    flow: Flow,
    /// Receives are one-shot and no more than asked for.
    one_shot_only: bool,
    end: Option<End>,
    queue: Chunks,
    reader: Reader,
    mode: Mode,
}

impl RecvSide {
    /// What the reader does next. If it is to wait its waker is stored.
    ///
    /// Its waker is stored, too, when it takes the last bytes while more are to come to this core: it is
    /// primed. Its next call for bytes waits by the mark (`in_vain::InVain`) and need not come to the lock.
    /// The price is that those bytes wake its task even if that does something else by then. That is not for
    /// a forwarding (`relays`): until what it took is on its way the next message is not to be sent on, and
    /// when it waits it must say so.
    pub(crate) fn next(&mut self, waker: &Waker, relays: bool) -> Step {
        let next = self.look();
        let expects = match next {
            Next::Wait => true,
            Next::Chunk(_) => !relays && self.queue.is_empty() && self.end.is_none() && self.is_armed_here(),
            Next::End(_) | Next::Start => false,
        };
        if !expects {
            return Step { next, is_told: false, replaced: None };
        }
        let is_armed = self.is_armed_here();
        if relays && let Some(relay) = &mut self.relay {
            relay.waits(is_armed);
        }
        let replaced = self.reader.store(waker);
        Step { next, is_told: is_armed && self.reader.is(waker), replaced }
    }

    /// Whether a receive of the stream's own brings bytes, and not to another core.
    fn is_armed_here(&self) -> bool {
        matches!(&self.mode, Mode::Armed(armed, _) if !armed.is_elsewhere())
    }

    /// What a reader does next.
    pub(super) fn look(&mut self) -> Next {
        if let Some(chunk) = self.queue.pop_front() {
            if fork::is_child() {
                // The memory of a pool is not there.
                self.queue.push_front(chunk);
                return Next::End(Err(fork::error()));
            }
            return Next::Chunk(chunk);
        }
        if let Some(end) = self.end {
            return Next::End(end.failure().map_or(Ok(()), |res| {
                self.end = None;
                Err(Cqe::error(res))
            }));
        }
        if matches!(self.mode, Mode::Disarmed) {
            return Next::Start;
        }
        self.move_on();
        Next::Wait
    }

    /// The reader waits on another core than the one that is armed: after a while the receive follows it.
    fn move_on(&mut self) {
        if let Mode::Armed(armed, since) = &self.mode
            && armed.is_elsewhere()
            && since.elapsed() >= SETTLE
        {
            self.disarm();
        }
    }

    /// Tells a receive that is the stream's own to end; the final CQE does it.
    pub(crate) fn disarm(&mut self) {
        self.mode = match std::mem::take(&mut self.mode) {
            Mode::Armed(armed, _) => {
                armed.cancel();
                Mode::Cancelling
            }
            Mode::Ahead(cell) => {
                // One that is just being submitted is cancelled by who submits it (`ahead_submitted`).
                if let Some(cell) = cell {
                    cell.cancel();
                }
                Mode::Cancelling
            }
            mode => mode,
        };
    }

    /// Starts a one-shot receive into the queue.
    pub(super) fn start_ahead(&mut self) {
        debug_assert!(matches!(self.mode, Mode::Disarmed), "one receive at a time");
        self.mode = Mode::Ahead(None);
    }

    /// The receive has been given to a ring. It may have completed by now, or been told to end.
    pub(super) fn ahead_submitted(&mut self, submitted: CellRef) {
        match &mut self.mode {
            Mode::Ahead(cell) => *cell = Some(submitted),
            Mode::Cancelling => submitted.cancel(),
            _ => {}
        }
    }

    /// The receive into the queue is over, with these bytes; returns whom to wake.
    pub(crate) fn ahead_done(&mut self, cqe: Cqe, asked: usize, bytes: PooledBuf) -> Concerned {
        debug_assert!(matches!(self.mode, Mode::Ahead(_) | Mode::Cancelling), "it was in flight");
        self.mode = Mode::Disarmed;
        if !bytes.is_empty() {
            self.queue.push_back(bytes);
        }
        self.keep_end(cqe, asked);
        if cqe.res == RES_GONE {
            // Nobody else tells the caller, who would start another one, and another.
            self.end = End::error(RES_GONE);
        }
        self.flow.received_once(cqe);
        self.concerned()
    }

    /// Everybody who waits. A primed reader may do so in either shape.
    pub(super) fn concerned(&mut self) -> Concerned {
        if let Some(relay) = &mut self.relay {
            relay.rests();
        }
        Concerned::new(self.reader.take(), self.polled.as_mut().and_then(|polled| polled.waiter.take()))
    }

    /// Starts a one-shot receive.
    pub(crate) fn start_single(&mut self) {
        debug_assert!(matches!(self.mode, Mode::Disarmed), "one receive at a time");
        self.mode = Mode::Single;
    }

    /// Started a receive into buffers that the kernel picks.
    pub(crate) fn start_armed(&mut self, armed: Armed) {
        debug_assert!(matches!(self.mode, Mode::Disarmed), "one receive at a time");
        self.mode = Mode::Armed(armed, Since::now());
        self.flow.armed();
        // Chosen by another thread while this one was arming.
        if self.one_shot_only {
            self.disarm();
        }
    }

    /// How a receive that the stream makes by itself should go, if the stream wants one.
    pub(super) fn picked(&self) -> Option<Picked> {
        (!self.one_shot_only).then(|| self.flow.picked())
    }

    /// Whether the last receive found no buffer.
    pub(super) fn is_starved(&self) -> bool {
        self.flow.is_starved()
    }

    /// Whether bytes come in bulk, and all that were received have been taken.
    pub(super) fn is_bulk_and_taken(&self) -> bool {
        self.flow.is_bulk() && self.queue.is_empty() && self.end.is_none()
    }

    /// The same, and nobody receives: the bytes that the socket has are the next ones.
    pub(super) fn is_bulk_and_idle(&self) -> bool {
        self.flow.is_bulk() && self.is_idle()
    }

    /// Who has the turn takes bytes from the socket by itself from now on.
    pub(super) fn taken_elsewhere(&mut self) {
        self.flow.taken_elsewhere();
    }

    /// What was taken from the socket by who has the turn was no bulk any more.
    pub(super) fn saw_messages(&mut self) {
        self.flow.saw_messages();
    }

    /// Whether receives take no more than they are asked for.
    pub(super) fn is_one_shot_only(&self) -> bool {
        self.one_shot_only
    }

    /// Whether nobody receives.
    pub(super) fn is_disarmed(&self) -> bool {
        matches!(self.mode, Mode::Disarmed)
    }

    /// Whether more than one buffer would fit into this room.
    pub(super) fn has_several_in(&self, room: usize) -> bool {
        match self.queue.first_two() {
            (Some(first), Some(second)) => first.len() + second.len() <= room,
            _ => false,
        }
    }

    /// The next buffer, if it has no more bytes than this.
    pub(super) fn next_fitting(&mut self, room: usize) -> Option<PooledBuf> {
        self.queue.pop_fitting(room)
    }

    /// How large a heap buffer a pooled one-shot receive takes.
    pub(crate) fn single_size(&self) -> usize {
        self.flow.single_size()
    }

    /// How a one-shot receive into a given buffer should begin.
    pub(super) fn start(&self) -> Start {
        self.flow.start()
    }

    /// The one-shot receive is over; returns whom to wake.
    pub(crate) fn single_done(&mut self, cqe: Cqe) -> Concerned {
        debug_assert!(matches!(self.mode, Mode::Single), "only a one-shot receive ends like this");
        self.mode = Mode::Disarmed;
        self.flow.received_once(cqe);
        self.concerned()
    }

    /// Bytes of an orphaned one-shot receive stay with the stream.
    pub(crate) fn keep(&mut self, bytes: PooledBuf) {
        if !bytes.is_empty() {
            self.queue.push_back(bytes);
        }
    }

    /// What an orphaned one-shot receive learned about the end.
    pub(crate) fn keep_end(&mut self, cqe: Cqe, asked: usize) {
        if cqe.res == 0 && asked > 0 {
            self.end = Some(End::EOF);
        } else if cqe.res < 0 && !is_no_end(cqe.res) {
            self.end = End::error(cqe.res);
        }
    }

    /// Puts bytes back in front: a reader had room for only some of them.
    pub(crate) fn put_back(&mut self, rest: PooledBuf) {
        self.queue.push_front(rest);
    }

    /// A completion of a receive into buffers that the kernel picks, in order; returns whom to wake, or what
    /// to send on, if that may be.
    #[inline(always)]
    pub(crate) fn completed(
        &mut self,
        cqe: Cqe,
        chunk: Option<PooledBuf>,
        group: Group,
        may_pass: impl FnOnce() -> bool,
    ) -> Completed {
        let unread = self.queue.len() + usize::from(chunk.is_some());
        let goes_on = self.flow.received(cqe, unread, group);
        if let Some(mut chunk) = chunk {
            if self.relay.is_some() {
                let is_next_message = unread == 1 && group == Group::Messages && goes_on && cqe.more();
                match self.pass(chunk, is_next_message && may_pass()) {
                    Ok(onward) => return Completed::Onward(onward),
                    Err(back) => chunk = back,
                }
            }
            self.queue.push_back(chunk);
        }
        Completed::Concerns(self.queued(cqe, goes_on))
    }

    /// Sends a message on that has just come, if there is a forwarding that waits and nothing else.
    fn pass(&mut self, chunk: PooledBuf, may_pass: bool) -> Result<Onward, PooledBuf> {
        match &mut self.relay {
            Some(relay) if may_pass && self.polled.as_ref().is_none_or(|polled| polled.waiter.is_none()) => {
                relay.pass(chunk)
            }
            _ => Err(chunk),
        }
    }

    /// What a completion has brought is in the queue.
    #[inline]
    fn queued(&mut self, cqe: Cqe, goes_on: bool) -> Concerned {
        if cqe.more() {
            if !goes_on {
                self.disarm();
            }
            return self.concerned();
        }
        self.mode = Mode::Disarmed;
        match cqe.res {
            0 => self.end = Some(End::EOF),
            res if is_no_end(res) => {}
            res if res < 0 => self.end = End::error(res),
            _ => {}
        }
        self.concerned()
    }

    /// Chooses between reading ahead and receiving no more than is asked for.
    pub(crate) fn set_one_shot_only(&mut self, one_shot_only: bool) {
        self.one_shot_only = one_shot_only;
        if one_shot_only {
            self.disarm();
        }
    }

    /// Whether nothing is in flight and nothing unread.
    fn is_idle(&self) -> bool {
        matches!(self.mode, Mode::Disarmed) && self.queue.is_empty() && self.end.is_none()
    }

    /// Whether nothing is in flight, unread or untold, so that whoever gets the socket gets all. The end of
    /// the stream is the socket's to tell, as often as it is asked.
    pub(super) fn is_settled(&self) -> bool {
        let is_told = self.end.is_none_or(|end| end == End::EOF);
        matches!(self.mode, Mode::Disarmed) && self.queue.is_empty() && is_told
    }

    /// The error of the socket that no call has told, and the socket tells no more.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        // Not one of the runtime's.
        let res = self.end?.failure().filter(|res| *res != RES_GONE)?;
        self.end = None;
        Some(Cqe::error(res))
    }

    /// Ends what is in flight, and says whether nothing is any more. A waker that this one replaces comes
    /// back, as by `next`.
    pub(crate) fn poll_disarmed(&mut self, waker: &Waker) -> (bool, Option<Waker>) {
        self.disarm();
        if matches!(self.mode, Mode::Disarmed) {
            return (true, None);
        }
        (false, self.reader.store(waker))
    }

    /// A forwarding begins.
    ///
    /// # Errors
    /// What was given, if there is one already.
    pub(super) fn begin_relay(&mut self, relay: Relay) -> Result<(), Relay> {
        if self.relay.is_some() {
            return Err(relay);
        }
        self.relay = Some(relay);
        Ok(())
    }

    /// The forwarding that has begun so.
    pub(super) fn relay(&mut self) -> Option<&mut Relay> {
        self.relay.as_mut()
    }

    /// It ends.
    pub(super) fn end_relay(&mut self) -> Option<Relay> {
        self.relay.take()
    }

    /// All unread bytes, in order.
    pub(crate) fn unread(&mut self) -> Vec<u8> {
        self.queue.drain()
    }
}

#[cfg(test)]
mod tests;
