//! What kind of bytes a stream brings, and how the next receive should go.
//!
//! Owns the difference between messages and bulk, learned from completions alone: messages are received into
//! small buffers, bulk into large ones (ring/pool.rs). It changes nothing by itself: the receive side asks
//! (recv.rs).
//!
//! A receive that the stream makes by itself is multishot, but for bulk that has left bytes behind in the
//! socket: a multishot would take all of them at once, into as many buffers, where a one-shot receive takes
//! what the reader asks for. After one that found no buffer the next one brings its own, so that a stream
//! does not come last again and again; if there are no bytes it does not wait with that.
#![forbid(unsafe_code)]

use crate::ring::group::Group;
use crate::ring::pool;
use crate::sys::sqe::{self, Cqe, Sqe};

/// Unread buffers at which a multishot is cancelled: a sixteenth of a core's. It may take some more before it
/// ends.
pub(super) const HIGH_WATER: usize = 16;
/// The same of large buffers, of which there are fewer: an eighth of a core's.
const BULK_HIGH_WATER: usize = 4;
/// Full buffers in a row that tell bulk from messages.
const FULL_RUN: u8 = 4;
/// Small receives in a row that tell messages from bulk.
pub(super) const SMALL_RUN: u8 = 4;
/// Bytes of a full buffer.
const FULL: usize = pool::BUFFER_SIZE as usize;
/// Bytes of a buffer for bulk.
pub(super) const BULK_SIZE: usize = pool::BULK_SIZE as usize;

/// How a receive into buffers that the kernel picks goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picked {
    /// From which buffers.
    pub(crate) group: Group,
    /// It ends with its first bytes.
    pub(crate) once: bool,
    /// It waits for bytes before it looks for some.
    pub(crate) poll_first: bool,
}

/// How a one-shot receive into a given buffer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It looks for bytes, and waits if there are none.
    Look,
    /// It waits, because the socket was empty.
    Wait,
    /// It looks, and ends with EAGAIN if there are none.
    LookOnly,
}

impl Start {
    /// Describes it so.
    pub(super) fn put_into(self, mut sqe: Sqe) -> Sqe {
        match self {
            Self::Look => sqe,
            Self::Wait => {
                sqe.ioprio |= sqe::RECV_POLL_FIRST;
                sqe
            }
            Self::LookOnly => sqe.op_flags(libc::MSG_DONTWAIT as u32),
        }
    }
}

/// What a stream's completions have said so far. Small, because every stream has one.
#[derive(Default)]
pub(super) struct Flow {
    bulk: bool,
    /// Receives in a row that speak for the other kind.
    run: u8,
    last: Said,
}

/// What the last completion has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    /// That there are bytes left, or nothing.
    #[default]
    Bytes,
    /// That the socket was empty.
    Drained,
    /// That there was no buffer.
    Starved,
}

impl Flow {
    /// How a receive that the stream makes by itself should go.
    pub(super) fn picked(&self) -> Picked {
        if self.bulk {
            Picked { group: Group::Bulk, once: !self.is_drained(), poll_first: self.is_drained() }
        } else {
            Picked { group: Group::Messages, once: false, poll_first: false }
        }
    }

    /// Whether the last receive found no buffer: the next one should bring one, and not wait with it.
    pub(super) fn is_starved(&self) -> bool {
        self.last == Said::Starved
    }

    fn is_drained(&self) -> bool {
        self.last == Said::Drained
    }

    /// How large a heap buffer a one-shot receive takes.
    pub(super) fn single_size(&self) -> usize {
        if self.bulk { BULK_SIZE } else { FULL }
    }

    pub(super) fn is_bulk(&self) -> bool {
        self.bulk
    }

    /// How a one-shot receive into a given buffer should begin.
    pub(super) fn start(&self) -> Start {
        match self.last {
            Said::Starved => Start::LookOnly,
            Said::Drained => Start::Wait,
            Said::Bytes => Start::Look,
        }
    }

    /// A receive into buffers that the kernel picks has started.
    pub(super) fn armed(&mut self) {
        if !self.bulk {
            self.run = 0;
        }
    }

    /// A completion of that receive; `unread` buffers are in the queue now. Whether it should go on.
    #[inline]
    pub(super) fn received(&mut self, cqe: Cqe, unread: usize, group: Group) -> bool {
        self.learn(cqe);
        let Ok(len @ 1..) = usize::try_from(cqe.res) else { return true };
        if group == Group::Bulk {
            return self.received_bulk(len, unread);
        }
        if self.bulk {
            // It was told to end when that was seen.
            return false;
        }
        self.run = if len == FULL { self.run + 1 } else { 0 };
        if unread < HIGH_WATER && self.run < FULL_RUN {
            return true;
        }
        self.saw_bulk();
        false
    }

    fn received_bulk(&mut self, len: usize, unread: usize) -> bool {
        if self.bulk {
            self.weigh(len);
        }
        self.bulk && unread < BULK_HIGH_WATER
    }

    /// A one-shot receive into a buffer that was given to it is over.
    pub(super) fn received_once(&mut self, cqe: Cqe) {
        self.learn(cqe);
        match usize::try_from(cqe.res) {
            Ok(len @ 1..) if self.bulk => self.weigh(len),
            // One-shot without bulk is for want of buffers, which a larger one need not wait for.
            Ok(FULL..) if cqe.sock_nonempty() => self.saw_bulk(),
            _ => {}
        }
    }

    #[inline]
    fn learn(&mut self, cqe: Cqe) {
        if cqe.res > 0 {
            self.last = if cqe.sock_nonempty() { Said::Bytes } else { Said::Drained };
        } else {
            self.learn_from_nothing(cqe.res);
        }
    }

    /// A receive ended without bytes. One that was cancelled says nothing.
    #[cold]
    fn learn_from_nothing(&mut self, res: i32) {
        match -res {
            libc::ENOBUFS => self.last = Said::Starved,
            libc::EAGAIN => self.last = Said::Drained,
            _ if self.is_starved() => self.last = Said::Bytes,
            _ => {}
        }
    }

    /// Somebody takes bytes from the socket by other means: what was learned of it is no longer so.
    pub(super) fn taken_elsewhere(&mut self) {
        self.last = Said::Bytes;
    }

    /// Whether a receive of this many bytes is still bulk.
    fn weigh(&mut self, len: usize) {
        self.run = if len >= FULL { 0 } else { self.run + 1 };
        if self.run >= SMALL_RUN {
            self.saw_messages();
        }
    }

    #[cold]
    fn saw_bulk(&mut self) {
        (self.bulk, self.run) = (true, 0);
    }

    /// What comes is no bulk any more.
    pub(super) fn saw_messages(&mut self) {
        (self.bulk, self.run) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sqe::{CQE_MORE, CQE_SOCK_NONEMPTY};

    fn cqe(len: usize, flags: u32) -> Cqe {
        Cqe { flags, ..Cqe::made_up(len as i32) }
    }

    #[test]
    fn a_receive_without_the_pool_that_leaves_bytes_behind_is_followed_by_larger_ones() {
        let received = |flow: &mut Flow, len, flags| {
            flow.received_once(cqe(len, flags));
            flow.single_size()
        };
        let mut flow = Flow::default();
        assert_eq!(received(&mut flow, FULL, 0), FULL, "nothing is left");
        assert_eq!(received(&mut flow, FULL - 1, CQE_SOCK_NONEMPTY), FULL, "it had room");
        assert_eq!(received(&mut flow, FULL, CQE_SOCK_NONEMPTY), BULK_SIZE);
        for _ in 0..SMALL_RUN - 1 {
            assert_eq!(received(&mut flow, 100, 0), BULK_SIZE);
        }
        assert_eq!(received(&mut flow, 100, 0), FULL, "messages again");
    }

    #[test]
    fn bulk_is_received_once_where_bytes_are_left_and_on_and_on_where_none_are() {
        let mut flow = Flow::default();
        let messages = Picked { group: Group::Messages, once: false, poll_first: false };
        for run in 1..=FULL_RUN {
            assert_eq!(flow.picked(), messages);
            let more = CQE_MORE | CQE_SOCK_NONEMPTY;
            assert_eq!(flow.received(cqe(FULL, more), 1, Group::Messages), run < FULL_RUN);
        }
        assert_eq!(flow.picked(), Picked { group: Group::Bulk, once: true, poll_first: false });
        flow.armed();
        assert!(flow.received(cqe(BULK_SIZE, 0), 1, Group::Bulk));
        assert_eq!(flow.picked(), Picked { group: Group::Bulk, once: false, poll_first: true });
        flow.armed();
        for unread in 1..=BULK_HIGH_WATER {
            let goes_on = flow.received(cqe(BULK_SIZE, CQE_MORE), unread, Group::Bulk);
            assert_eq!(goes_on, unread < BULK_HIGH_WATER);
        }
    }

    #[test]
    fn small_receives_end_bulk_also_if_each_is_armed_anew() {
        let mut flow = Flow { bulk: true, ..Flow::default() };
        for run in 1..=SMALL_RUN {
            flow.armed();
            let goes_on = flow.received(cqe(100, CQE_SOCK_NONEMPTY), 1, Group::Bulk);
            assert_eq!(goes_on, run < SMALL_RUN);
        }
        assert_eq!(flow.picked().group, Group::Messages);
    }

    #[test]
    fn full_buffers_that_come_while_a_receive_is_told_to_end_speak_for_bulk() {
        let mut flow = Flow::default();
        for _ in 0..2 * FULL_RUN - 1 {
            flow.received(cqe(FULL, CQE_MORE | CQE_SOCK_NONEMPTY), 1, Group::Messages);
        }
        assert!(flow.received(cqe(100, 0), 1, Group::Bulk), "one small receive is no run");
    }

    #[test]
    fn a_receive_that_found_no_buffer_is_followed_by_one_that_brings_its_own() {
        let mut flow = Flow { bulk: true, last: Said::Drained, ..Flow::default() };
        assert!(flow.received(Cqe::made_up(-libc::ENOBUFS), 0, Group::Bulk), "it is over by itself");
        assert_eq!(flow.start(), Start::LookOnly);
        let waits = Picked { group: Group::Bulk, once: false, poll_first: true };
        for (res, why) in [(BULK_SIZE as i32, "it got all there was"), (-libc::EAGAIN, "there was nothing")] {
            let mut flow = Flow { bulk: true, last: Said::Starved, ..Flow::default() };
            flow.received_once(Cqe::made_up(res));
            assert!(!flow.is_starved());
            assert_eq!(flow.picked(), waits, "{why}");
        }
    }

    #[test]
    fn a_receive_that_was_cancelled_says_nothing_of_the_socket() {
        let mut flow = Flow { bulk: true, last: Said::Drained, ..Flow::default() };
        assert!(flow.received(Cqe::made_up(-libc::ECANCELED), 0, Group::Bulk));
        assert_eq!(flow.start(), Start::Wait);
        flow.taken_elsewhere();
        assert_eq!(flow.start(), Start::Look);
    }
}
