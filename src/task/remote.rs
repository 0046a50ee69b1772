//! The far side of a local task: what threads that are not its home may want of it, in a word of its own.
//!
//! Owns [`Remote`], and the protocol by which a local task's state word needs no read-modify-write at home.
//! It moves no message and calls nobody: `afar.rs` does, with the answers of this file.
//!
//! # Why
//! A task that is not `Send` is spawned, polled, woken, joined and freed by one thread, nearly always; but
//! its wakers and handles are `Send` and may go anywhere. If every thread changed the state word, each change
//! would have to be a read-modify-write. So only the home thread writes that word, plainly. Everybody else
//! uses this one, always by read-modify-write, and sends a message home if there is something to do there.
//!
//! # The word
//! ```text
//!   count (signed) │ MERGED │ LEAVE │ JOIN │ ABORT │ WAKE │ IN_FLIGHT
//! ```
//! - `count`: references made by far threads less those given up by them. It may be negative: a waker that
//!   was cloned at home may be dropped elsewhere. The number of references that exist is this count plus
//!   the one in the state word; neither means anything alone.
//! - WAKE, ABORT, JOIN, LEAVE: what is asked for. IN_FLIGHT: the task's node is on its way home, with one
//!   reference. Whoever sets IN_FLIGHT owes the push; who finds it set only adds a bit, as with `request` of
//!   `base::message::Node`. The home thread clears all five at once when the node has arrived, in one
//!   read-modify-write, so what came before a request is visible to the poll that follows.
//! - MERGED: the task is over, both counts are in this word, and all threads, the home too, count here. It is
//!   set by whoever makes the transitions, once the task is over and has been reached for; or, once the home
//!   thread has closed its door, by anybody.
//!
//! # Who frees
//! Before MERGED only the home thread. Its own count stands still while it looks at the other one, and nobody
//! can make a reference without having one, so a sum of what it gives up is proof that no other exists. A far
//! thread that gives up a reference cannot know whether it is the last one; it sends it home, unless the node
//! is in flight already: then another reference is, and the home thread will look. After MERGED, whoever
//! brings the count to nothing.
//!
//! # When the home thread goes
//! It ends all its local tasks, *retires* (`Mark::retire`: from here on it is a far thread itself) and closes
//! its inbox, in this order. A push that is refused has therefore seen the last plain write of every local
//! task of that thread. Its sender does what is left to do: the task is over, so that is counting (MERGED)
//! and dropping what nobody has claimed. One kind of task is not over then: one that was sent to the thread
//! and never arrived (UNBORN). Its counts are merged by whoever cancels it, at the very end; until then far
//! threads only count.
//!
//! # Rejected
//! - *Biased counting with a queue of objects to be merged* (as in Choi, Shull and Torrellas, "Biased
//!   Reference Counting", PACT 2018): the idea is theirs; the queue here is the inbox there is.
//! - *Revoking a bias with `membarrier(2)`*: the home thread may be stopped in the middle of a change, and a
//!   far thread would have to wait for it. A wake never waits.
//!
//! Models: `tests/loom`, `local_*`.
#![forbid(unsafe_code)]

use crate::base::sync::{AtomicUsize, Ordering};

const IN_FLIGHT: usize = 1 << 0;
/// The task is to be polled.
pub(super) const WAKE: usize = 1 << 1;
/// The task is to be cancelled.
pub(super) const ABORT: usize = 1 << 2;
/// The handle is elsewhere and waits.
pub(super) const JOIN: usize = 1 << 3;
/// The handle, which was elsewhere, is gone.
pub(super) const LEAVE: usize = 1 << 4;
const MERGED: usize = 1 << 5;
const ONE: usize = 1 << 8;
const REQUESTS: usize = IN_FLIGHT | WAKE | ABORT | JOIN | LEAVE;

/// More references than memory could hold: a leak in a loop, about to wrap round.
const COUNT_MAX: isize = isize::MAX >> 9;

/// What becomes of the reference with which a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum With {
    /// It is given up to the request.
    Given,
    /// It stays with the caller; a message needs another one.
    Kept,
}

/// What the maker of a request has to do.
#[must_use = "a request that is not pushed never arrives"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Send the node home, with the reference that is the message's now.
    Push,
    /// Nothing: a message is on its way.
    Noted,
    /// The task is over and merged; nothing was changed, and a given reference is still the caller's.
    Over,
}

/// One reading of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading(usize);

impl Reading {
    /// The references counted here.
    #[inline]
    pub(super) fn count(self) -> isize {
        (self.0 as isize) >> ONE.trailing_zeros()
    }

    /// Whether all are.
    #[inline]
    pub(super) fn is_merged(self) -> bool {
        self.0 & MERGED != 0
    }

    /// Whether this is asked for.
    #[inline]
    pub(super) fn asks(self, request: usize) -> bool {
        self.0 & request != 0
    }
}

/// The word.
pub(super) struct Remote(AtomicUsize);

impl Remote {
    /// Nobody elsewhere knows the task.
    #[inline]
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Home: what is there. Acquire: what the others did before they gave up a reference comes before its
    /// end.
    #[inline]
    pub(super) fn look(&self) -> Reading {
        Reading(self.0.load(Ordering::Acquire))
    }

    /// The references counted here.
    #[inline]
    pub(super) fn count(&self) -> isize {
        self.look().count()
    }

    /// Whether all references are counted here.
    #[inline]
    pub(super) fn is_merged(&self) -> bool {
        self.look().is_merged()
    }

    /// Home: whether anybody elsewhere has ever left a trace that is still there.
    #[inline]
    pub(super) fn is_touched(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Adds a reference; the caller has one.
    pub(super) fn retain(&self) {
        let before = Reading(self.0.fetch_add(ONE, Ordering::Relaxed));
        if before.count() > COUNT_MAX {
            std::process::abort();
        }
    }

    /// From afar: asks for `requests` (or for nothing but that a reference be given up).
    pub(super) fn ask(&self, requests: usize, with: With) -> Asked {
        // Acquire: who finds the counts merged finds the task complete.
        let mut now = self.0.load(Ordering::Acquire);
        loop {
            if now & MERGED != 0 {
                return Asked::Over;
            }
            let is_first = now & IN_FLIGHT == 0;
            let next = match (is_first, with) {
                (true, With::Given) | (false, With::Kept) => now,
                (true, With::Kept) => now.wrapping_add(ONE),
                (false, With::Given) => now.wrapping_sub(ONE),
            };
            let next = next | requests | IN_FLIGHT;
            match self.0.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if is_first => return Asked::Push,
                Ok(_) => return Asked::Noted,
                Err(changed) => now = changed,
            }
        }
    }

    /// The node has arrived, or will not: takes what was asked for. The message's reference is the caller's.
    pub(super) fn take(&self) -> Reading {
        Reading(self.0.fetch_and(!REQUESTS, Ordering::AcqRel))
    }

    /// Merged: gives up `held` references if the word is still as in `seen`.
    pub(super) fn give_up(&self, seen: Reading, held: isize) -> bool {
        let next = seen.0.wrapping_sub((held as usize).wrapping_mul(ONE));
        self.0.compare_exchange(seen.0, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// From afar, merged: gives up one reference. True if it was the last.
    #[must_use = "the last one frees the task"]
    pub(super) fn release(&self) -> bool {
        let before = Reading(self.0.fetch_sub(ONE, Ordering::AcqRel));
        debug_assert!(before.is_merged(), "only the home thread knows how many there are");
        before.count() == 1
    }

    /// Counts `more` references here and all others from now on. True if there are none.
    #[must_use = "without references the task is to be freed"]
    pub(super) fn merge(&self, more: isize) -> bool {
        let added = (more as usize).wrapping_mul(ONE);
        let before = self.0.fetch_add(added.wrapping_add(MERGED), Ordering::AcqRel);
        debug_assert_eq!(before & MERGED, 0, "the counts are merged once");
        Reading(before).count() + more == 0
    }

    /// As [`merge`](Self::merge) with `more`, unless somebody has done it; and gives up `held`.
    #[must_use = "without references the task is to be freed"]
    pub(super) fn merge_once(&self, more: isize, held: isize) -> bool {
        let mut now = self.0.load(Ordering::Acquire);
        loop {
            let seen = Reading(now);
            let count = seen.count() - held + if seen.is_merged() { 0 } else { more };
            let next = (count as usize).wrapping_mul(ONE) | (now & (ONE - 1)) | MERGED;
            match self.0.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return count == 0,
                Err(changed) => now = changed,
            }
        }
    }

    /// As [`release`](Self::release), for a task that somebody else will merge later: then never the last, as
    /// far as this thread knows.
    #[must_use = "the last one frees the task"]
    pub(super) fn release_early(&self) -> bool {
        let before = Reading(self.0.fetch_sub(ONE, Ordering::AcqRel));
        before.is_merged() && before.count() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_is_pushed_and_later_ones_are_noted_until_it_arrives() {
        let remote = Remote::new();
        assert_eq!(remote.ask(WAKE, With::Kept), Asked::Push);
        assert_eq!(remote.ask(ABORT, With::Kept), Asked::Noted);
        let taken = remote.take();
        assert!(taken.asks(WAKE) && taken.asks(ABORT) && !taken.asks(JOIN));
        assert_eq!(remote.ask(JOIN, With::Kept), Asked::Push);
        assert_eq!(remote.count(), 2, "two messages had a reference of their own");
    }

    #[test]
    fn a_reference_that_is_given_up_travels_with_the_message_or_is_counted_off() {
        let remote = Remote::new();
        assert_eq!(remote.ask(0, With::Given), Asked::Push);
        assert_eq!(remote.count(), 0, "the message has it");
        assert_eq!(remote.ask(WAKE, With::Given), Asked::Noted);
        assert_eq!(remote.count(), -1);
    }

    #[test]
    fn counts_are_merged_once_and_the_last_reference_is_known_to_be_the_last() {
        let remote = Remote::new();
        remote.retain();
        assert!(!remote.merge(1));
        assert_eq!(remote.ask(WAKE, With::Given), Asked::Over);
        assert!(!remote.release());
        assert!(remote.release());
        let (one, other) = (Remote::new(), Remote::new());
        assert!(one.merge(0) && other.merge_once(1, 1));
        let twice = Remote::new();
        assert!(!twice.merge_once(2, 1));
        assert!(twice.merge_once(2, 1), "the second time nothing is added");
    }
}
