//! The state word of a task: its bits, its reference count, and every transition they may take.
//!
//! Owns the one atomic that decides who may touch what in a task (the field rules are in the room's header).
//! Nothing outside this file reads or changes single bits: each change is a named transition, and its answer
//! is a `#[must_use]` enum that says what the caller now has to do. This file moves no values and calls
//! nobody.
//!
//! ```text
//!                    start (1)                      complete (4)
//!   NOTIFIED ───────────────────▶ RUNNING ───────────────────────▶ COMPLETE
//!      ▲  ▲                        │ │  ▲
//!      │  │ pause, woken meanwhile │ │  │ claim (5): shutdown of a task
//!      │  └────────────(2)─────────┘ │  │ that nobody is polling
//!      │                       (2)   ▼  │
//!      └─────────────────────────── idle ┘
//!            wake, abort (3)
//! ```

use crate::base::sync::{AtomicUsize, Ordering};
use std::fmt;

/// Somebody has the future to himself: polls it, or drops it to cancel the task. Set by (1) and (5), cleared
/// by (2) and (4). Never together with COMPLETE.
const RUNNING: usize = 1 << 0;
/// The future is gone and the output, if wanted, is in its place. Set by (4), never cleared.
const COMPLETE: usize = 1 << 1;
/// While not RUNNING: a `Notified` exists. While RUNNING: the task was woken during this poll. Set at birth
/// and by (3); cleared by (1); kept by (2), which then makes a `Notified`. Left over and meaningless once
/// COMPLETE.
const NOTIFIED: usize = 1 << 2;
/// The future is to be dropped instead of polled again. Set by abort and (5), never cleared.
const CANCELLED: usize = 1 << 3;
/// A `JoinHandle` exists that has not been dropped. Set at birth, cleared by the drop of the handle, but not
/// any more once COMPLETE.
const JOIN_INTEREST: usize = 1 << 4;
/// The join waker's place is filled. Set and cleared by the `JoinHandle` only, and not any more once
/// COMPLETE: whoever completed the task has then taken the waker out.
const JOIN_WAKER: usize = 1 << 5;
/// One reference.
const REFERENCE: usize = 1 << 6;

/// More references than memory could hold: a leak in a loop, about to wrap round.
const REFERENCES_MAX: usize = (isize::MAX as usize) / REFERENCE;

/// A copy of the word.
#[derive(Clone, Copy)]
struct Bits(usize);

impl Bits {
    fn any(self, bits: usize) -> bool {
        self.0 & bits != 0
    }

    fn is_idle(self) -> bool {
        !self.any(RUNNING | NOTIFIED | COMPLETE)
    }

    fn references(self) -> usize {
        self.0 / REFERENCE
    }

    fn with(self, bits: usize) -> Self {
        Bits(self.0 | bits)
    }

    fn without(self, bits: usize) -> Self {
        Bits(self.0 & !bits)
    }

    fn less(self, references: usize) -> Self {
        debug_assert!(self.references() >= references, "a task gave up a reference it did not have");
        Bits(self.0 - references * REFERENCE)
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(usize, &str); 6] = [
            (RUNNING, "RUNNING "),
            (COMPLETE, "COMPLETE "),
            (NOTIFIED, "NOTIFIED "),
            (CANCELLED, "CANCELLED "),
            (JOIN_INTEREST, "JOIN_INTEREST "),
            (JOIN_WAKER, "JOIN_WAKER "),
        ];
        NAMES.iter().filter(|(bit, _)| self.any(*bit)).try_for_each(|(_, name)| f.write_str(name))?;
        write!(f, "references={}", self.references())
    }
}

/// What the holder of a `Notified` has to do ([`State::start`]).
#[must_use = "the answer says who owns the future now"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// RUNNING is the caller's: drop the future, the task has been aborted.
    Cancel,
    /// The task ended, or is being ended, without this `Notified`; its reference is given up.
    Gone,
    /// As `Gone`, and it was the last reference.
    Last,
    /// RUNNING is the caller's: poll the future.
    Poll,
}

/// What the poller has to do after `Pending` ([`State::pause`]).
#[must_use = "the answer says who owns the future now"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Woken during the poll: the caller's reference is now that of a new `Notified`, to be scheduled.
    Again,
    /// Aborted during the poll: RUNNING is still the caller's, to drop the future.
    Cancel,
    /// The task sleeps; the caller's reference is given up.
    Idle,
    /// Nobody else knows this task: it can never be woken. Free it.
    Last,
}

/// What the completer has to do next ([`State::complete`]).
#[must_use = "the answer says what is left to do"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complete {
    /// Over; the caller's references are given up.
    Done,
    /// COMPLETE is set and the join waker is the caller's, as are its references still: take the waker, give
    /// up the references, wake.
    Joined,
    /// Nobody else knows this task: free it.
    Last,
    /// Nobody will ask for the output: drop it, then call `complete` again and say so.
    Unwanted,
}

/// Whether a wake or an abort owes a call to the scheduler.
#[must_use = "a task marked NOTIFIED without a `Notified` sleeps for ever"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The task is over, already scheduled, or sees the mark when its poll ends.
    Seen,
    /// A `Notified` must be made and scheduled.
    Schedule,
}

/// Who drops the future of a task that is shut down ([`State::claim`]).
#[must_use = "a claimed task must be cancelled by the claimer"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The caller: RUNNING is now its own.
    Ours,
    /// Whoever is polling it: it is marked and ends when that poll does. Or it is over already.
    Theirs,
}

/// What a dropped `JoinHandle` has to do ([`State::leave`]).
#[must_use = "the answer says what the handle still owns"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Nothing; the handle's reference is given up.
    Done,
    /// As `Done`, and it was the last reference.
    Last,
    /// The output is the handle's: drop it, then give up the reference.
    Output,
    /// The join waker is the handle's: drop it, then give up the reference.
    Waker,
}

/// The word itself.
pub(super) struct State(AtomicUsize);

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bits(self.0.load(Ordering::Relaxed)).fmt(f)
    }
}

impl State {
    /// A task that is to run for the first time: a `Notified` and a `JoinHandle` exist, and `references` in
    /// all.
    pub(super) fn new(references: usize) -> Self {
        debug_assert!(references >= 2, "the Notified and the JoinHandle hold one each");
        Self(AtomicUsize::new(NOTIFIED | JOIN_INTEREST | (references * REFERENCE)))
    }

    /// (1) The holder of a `Notified` wants to run the task.
    pub(super) fn start(&self) -> Start {
        self.step(|now| {
            if now.any(RUNNING | COMPLETE) {
                return give_up_one(now, Start::Gone, Start::Last);
            }
            debug_assert!(now.any(NOTIFIED), "a Notified exists only for a task that is marked so: {now:?}");
            let start = if now.any(CANCELLED) { Start::Cancel } else { Start::Poll };
            (start, Some(now.with(RUNNING).without(NOTIFIED)))
        })
    }

    /// (2) The poll has returned `Pending`.
    pub(super) fn pause(&self) -> Pause {
        self.step(|now| {
            debug_assert!(now.any(RUNNING) && !now.any(COMPLETE), "only the poller pauses: {now:?}");
            if now.any(CANCELLED) {
                (Pause::Cancel, None)
            } else if now.any(NOTIFIED) {
                (Pause::Again, Some(now.without(RUNNING)))
            } else if now.references() == 1 {
                (Pause::Last, None)
            } else {
                (Pause::Idle, Some(now.without(RUNNING).less(1)))
            }
        })
    }

    /// (3) Marks the task as woken; the caller keeps its own reference. On `Schedule` it may turn that
    /// reference into the `Notified`'s or take another one.
    ///
    /// Always a read-modify-write (unless the task is over), also if NOTIFIED is set: what the waker's side
    /// wrote before must be visible to the poll that follows, and a mere load of the bit could pass those
    /// writes.
    pub(super) fn wake(&self) -> Wake {
        self.mark(NOTIFIED)
    }

    /// (3) As [`wake`](Self::wake), for an abort.
    pub(super) fn abort(&self) -> Wake {
        self.mark(NOTIFIED | CANCELLED)
    }

    /// (3) As [`wake`](Self::wake), with the `Notified`'s reference added on `Schedule`; one step in the
    /// usual case.
    pub(super) fn wake_and_retain(&self) -> Wake {
        let now = Bits(self.0.load(Ordering::Relaxed));
        if now.is_idle() {
            let next = now.with(NOTIFIED).0 + REFERENCE;
            if self.0.compare_exchange(now.0, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Wake::Schedule;
            }
        }
        let wake = self.wake();
        if wake == Wake::Schedule {
            self.retain();
        }
        wake
    }

    /// (4) The future is gone and the output is in its place; the caller gives up `held` references.
    ///
    /// `output_kept` says whether the output is still there. No read-modify-write at all if nobody else is
    /// left.
    pub(super) fn complete(&self, held: usize, output_kept: bool) -> Complete {
        self.step(|now| {
            debug_assert!(now.any(RUNNING) && !now.any(COMPLETE), "only the poller completes: {now:?}");
            if !now.any(JOIN_INTEREST) && output_kept {
                return (Complete::Unwanted, None);
            }
            if now.references() == held {
                return (Complete::Last, None);
            }
            let over = now.without(RUNNING).with(COMPLETE);
            if now.any(JOIN_WAKER) {
                (Complete::Joined, Some(over))
            } else {
                (Complete::Done, Some(over.less(held)))
            }
        })
    }

    /// (5) A shutdown wants to end the task.
    pub(super) fn claim(&self) -> Claim {
        self.step(|now| {
            if now.any(COMPLETE) {
                (Claim::Theirs, None)
            } else if now.any(RUNNING) {
                (Claim::Theirs, Some(now.with(CANCELLED)))
            } else {
                (Claim::Ours, Some(now.with(RUNNING | CANCELLED)))
            }
        })
    }

    /// Only says that the task shall not be polled again; nobody is told.
    pub(super) fn mark_cancelled(&self) {
        self.0.fetch_or(CANCELLED, Ordering::AcqRel);
    }

    /// Whether the task is over: the output, if it is still there, belongs to the `JoinHandle`.
    pub(super) fn is_complete(&self) -> bool {
        Bits(self.0.load(Ordering::Acquire)).any(COMPLETE)
    }

    /// `JoinHandle`: whether its waker is stored (only the handle itself changes that before the end).
    pub(super) fn has_join_waker(&self) -> bool {
        Bits(self.0.load(Ordering::Relaxed)).any(JOIN_WAKER)
    }

    /// `JoinHandle`: has written its waker and publishes it. False if the task is over: the waker is still
    /// its own.
    #[must_use = "on false the waker is still the handle's"]
    pub(super) fn publish_join_waker(&self) -> bool {
        !Bits(self.0.fetch_or(JOIN_WAKER, Ordering::AcqRel)).any(COMPLETE)
    }

    /// `JoinHandle`: wants its waker back. False if the task is over: the waker has gone to whoever completed
    /// it.
    #[must_use = "on true the waker is the handle's"]
    pub(super) fn withdraw_join_waker(&self) -> bool {
        self.step(|now| {
            debug_assert!(now.any(COMPLETE | JOIN_WAKER), "only a stored waker is withdrawn: {now:?}");
            if now.any(COMPLETE) { (false, None) } else { (true, Some(now.without(JOIN_WAKER))) }
        })
    }

    /// The `JoinHandle` is dropped.
    pub(super) fn leave(&self) -> Leave {
        self.step(|now| {
            if now.any(COMPLETE) {
                (Leave::Output, None)
            } else if now.any(JOIN_WAKER) {
                (Leave::Waker, Some(now.without(JOIN_INTEREST | JOIN_WAKER)))
            } else {
                give_up_one(now.without(JOIN_INTEREST), Leave::Done, Leave::Last)
            }
        })
    }

    /// Adds a reference; the caller has one.
    pub(super) fn retain(&self) {
        // Relaxed: a reference can only be made from one that exists, and passing it on orders what follows.
        let before = Bits(self.0.fetch_add(REFERENCE, Ordering::Relaxed));
        if before.references() > REFERENCES_MAX {
            std::process::abort();
        }
    }

    /// Gives up `held` references; true if they were the last.
    #[must_use = "the last one frees the task"]
    pub(super) fn release(&self, held: usize) -> bool {
        // If ours are the only ones, nobody can make another: the word needs no further change. Acquire: what
        // the others did before they gave up theirs comes before the end.
        Bits(self.0.load(Ordering::Acquire)).references() == held
            || Bits(self.0.fetch_sub(held * REFERENCE, Ordering::AcqRel)).references() == held
    }

    fn mark(&self, bits: usize) -> Wake {
        if self.is_complete() {
            return Wake::Seen;
        }
        if Bits(self.0.fetch_or(bits, Ordering::AcqRel)).is_idle() { Wake::Schedule } else { Wake::Seen }
    }

    /// One transition: `decide` sees the word and names the answer and the next word, if it is to change.
    fn step<R>(&self, decide: impl Fn(Bits) -> (R, Option<Bits>)) -> R {
        let mut now = self.0.load(Ordering::Acquire);
        loop {
            let (answer, next) = decide(Bits(now));
            let Some(Bits(next)) = next else { return answer };
            match self.0.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return answer,
                Err(changed) => now = changed,
            }
        }
    }
}

/// Gives up one reference in the same step; if it is the only one, the word need not change any more.
fn give_up_one<R>(now: Bits, done: R, last: R) -> (R, Option<Bits>) {
    if now.references() == 1 { (last, None) } else { (done, Some(now.less(1))) }
}
