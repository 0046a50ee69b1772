//! The state word of a task: its bits, its reference count, and every transition they may take.
//!
//! Owns the atomic that decides who may touch what in a task (the field rules are in the room's header).
//! Nothing outside this file reads or changes single bits: each change is a named transition, and its answer
//! is a `#[must_use]` enum that says what the caller now has to do. References alone are counted in
//! `state/references.rs`. This file moves no values and calls nobody.
//!
//! Of a `Send` task any thread makes transitions, each by one read-modify-write. Of a **local** task only its
//! home thread does, by plain loads and stores: nobody else ever writes the word. What other threads want of
//! it they leave in a second word, and a message brings home that there is something (`remote.rs`). The
//! transitions are the same.
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

use super::answer::{Claim, Complete, FarJoin, FarLeave, Leave, Pause, Side, Start, Wake, Woken};
use super::mark::Mark;
use super::remote::Remote;
use crate::base::sync::{AtomicUsize, Ordering};
use std::cell::Cell;
use std::fmt;

mod references;

/// Somebody has the future to himself: polls it, or drops it to cancel the task. Set by (1) and (5), and at
/// the birth of a task that is polled where it is born; cleared by (2) and (4). Never together with COMPLETE.
const RUNNING: usize = 1 << 0;
/// The future is gone and the output, if wanted, is in its place. Set by (4), never cleared.
const COMPLETE: usize = 1 << 1;
/// While not RUNNING: a `Notified` exists. While RUNNING: the task was woken during this poll. Set at birth,
/// unless that is RUNNING, and by (3); cleared by (1); kept by (2), which then makes a `Notified`. Left over
/// and meaningless once COMPLETE.
const NOTIFIED: usize = 1 << 2;
/// The future is to be dropped instead of polled again. Set by abort and (5), never cleared.
const CANCELLED: usize = 1 << 3;
/// A `JoinHandle` exists that has not been dropped. Set at birth, cleared by the drop of the handle, but not
/// any more once COMPLETE.
const JOIN_INTEREST: usize = 1 << 4;
/// The join waker's place is filled. Set and cleared by the `JoinHandle` only, and not any more once
/// COMPLETE: whoever completed the task has then taken the waker out.
const JOIN_WAKER: usize = 1 << 5;
/// Local tasks: a `JoinHandle` elsewhere has asked to be woken, or is to be taken for one that has. Set by
/// the home thread, never cleared.
const FAR_JOINER: usize = 1 << 6;
/// Local tasks: not yet handed over to the home thread; whoever holds the `Unborn` makes the transitions. Set
/// at birth, cleared by the home thread.
const UNBORN: usize = 1 << 7;
/// One reference. Of a local task this counts what its home thread has made less what it has given up, which
/// may be less than nothing; the rest is counted in the other word, and only the sum means anything.
const REFERENCE: usize = 1 << 8;

/// A task that is polled where it is born: the runner and the `JoinHandle` have a reference each.
const RUNNING_FROM_BIRTH: usize = RUNNING | JOIN_INTEREST | (2 * REFERENCE);

/// A copy of the word.
#[derive(Clone, Copy)]
struct Bits(usize);

impl Bits {
    #[inline]
    fn any(self, bits: usize) -> bool {
        self.0 & bits != 0
    }

    #[inline]
    fn is_idle(self) -> bool {
        !self.any(RUNNING | NOTIFIED | COMPLETE)
    }

    #[inline]
    fn references(self) -> usize {
        self.0 / REFERENCE
    }

    #[inline]
    fn with(self, bits: usize) -> Self {
        Bits(self.0 | bits)
    }

    #[inline]
    fn without(self, bits: usize) -> Self {
        Bits(self.0 & !bits)
    }

    #[inline]
    fn less(self, references: usize) -> Self {
        debug_assert!(self.references() >= references, "a task gave up a reference it did not have");
        Bits(self.0 - references * REFERENCE)
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(usize, &str); 8] = [
            (RUNNING, "RUNNING "),
            (COMPLETE, "COMPLETE "),
            (NOTIFIED, "NOTIFIED "),
            (CANCELLED, "CANCELLED "),
            (JOIN_INTEREST, "JOIN_INTEREST "),
            (JOIN_WAKER, "JOIN_WAKER "),
            (FAR_JOINER, "FAR_JOINER "),
            (UNBORN, "UNBORN "),
        ];
        NAMES.iter().filter(|(bit, _)| self.any(*bit)).try_for_each(|(_, name)| f.write_str(name))?;
        write!(f, "references={}", self.references())
    }
}

/// How a task comes into being.
#[derive(Clone, Copy, Debug)]
pub(super) enum Birth {
    /// For a list and a queue of the thread with this mark, or of any: with a `TaskRef`.
    Listed(Mark),
    /// For a queue only, of any thread.
    Unlisted,
    /// For the thread with this mark, which polls it at once: RUNNING, in no list and no queue, with one
    /// reference for the runner.
    Running(Mark),
    /// For the thread with this mark, which is another one: see [`UNBORN`].
    Elsewhere(Mark),
}

/// The word itself, what other threads have left for a local task, and whose task it is.
pub(super) struct State {
    word: AtomicUsize,
    pub(super) remote: Remote,
    /// Never set. In a cell nevertheless: a step that gives up a reference lets another thread free the task
    /// before the step has returned, and it has the state as `&State`, which says of all that is not in a
    /// cell or an atomic that it outlives the call.
    mark: Cell<Mark>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bits(self.total(self.word.load(Ordering::Relaxed), self.remote.count())).fmt(f)
    }
}

impl State {
    /// A task that is to run for the first time: a `Notified` (or an `Unborn`, or a `Newborn`) and a
    /// `JoinHandle` exist.
    #[inline(always)]
    pub(super) fn new(birth: Birth) -> Self {
        let (mark, word) = match birth {
            Birth::Listed(mark) => (mark, NOTIFIED | JOIN_INTEREST | (3 * REFERENCE)),
            Birth::Unlisted => (Mark::ANY, NOTIFIED | JOIN_INTEREST | (2 * REFERENCE)),
            Birth::Running(mark) => (mark, RUNNING_FROM_BIRTH),
            Birth::Elsewhere(mark) => (mark, NOTIFIED | JOIN_INTEREST | UNBORN | (2 * REFERENCE)),
        };
        Self { word: AtomicUsize::new(word), remote: Remote::new(), mark: Cell::new(mark) }
    }

    /// The thread that the task is bound to.
    #[inline]
    pub(super) fn mark(&self) -> Mark {
        self.mark.get()
    }

    /// Where the calling thread stands.
    #[inline]
    pub(super) fn side(&self) -> Side {
        if self.is_shared() {
            Side::Shared
        } else if self.mark() == Mark::here() {
            Side::Home
        } else {
            Side::Afar
        }
    }

    #[inline]
    fn is_shared(&self) -> bool {
        self.mark() == Mark::ANY
    }

    /// The home thread: the task is its own from here on.
    pub(super) fn born(&self) {
        debug_assert_eq!(self.side(), Side::Home);
        self.word.store(self.word.load(Ordering::Relaxed) & !UNBORN, Ordering::Release);
    }

    /// Whether the task is still in the hands of whoever holds its `Unborn`.
    #[inline]
    pub(super) fn is_unborn(&self) -> bool {
        Bits(self.word.load(Ordering::Acquire)).any(UNBORN)
    }

    /// (1) The holder of a `Notified` wants to run the task.
    #[inline]
    pub(super) fn start(&self) -> Start {
        self.step(|now| {
            if now.any(RUNNING | COMPLETE) {
                return give_up_one(now, Start::Gone, Start::Last);
            }
            debug_assert!(now.any(NOTIFIED), "a Notified exists only for a task that is marked so: {now:?}");
            let start = if now.any(CANCELLED) { Start::Cancel } else { Start::Poll };
            (start, now.with(RUNNING).without(NOTIFIED))
        })
    }

    /// (2) The poll has returned `Pending`.
    #[inline]
    pub(super) fn pause(&self) -> Pause {
        self.step(|now| {
            debug_assert!(now.any(RUNNING) && !now.any(COMPLETE), "only the poller pauses: {now:?}");
            if now.any(CANCELLED) {
                (Pause::Cancel, now)
            } else if now.any(NOTIFIED) {
                (Pause::Again, now.without(RUNNING))
            } else if now.references() == 1 {
                (Pause::Last, now)
            } else {
                (Pause::Idle, now.without(RUNNING).less(1))
            }
        })
    }

    /// (3) Marks the task as woken; the caller keeps its own reference. On `Schedule` it may turn that
    /// reference into the `Notified`'s or take another one.
    ///
    /// Always a read-modify-write (unless the task is over), also if NOTIFIED is set: what the waker's side
    /// wrote before must be visible to the poll that follows, and a mere load of the bit could pass those
    /// writes.
    #[inline]
    pub(super) fn wake(&self) -> Wake {
        self.mark_as(NOTIFIED)
    }

    /// (3) As [`wake`](Self::wake), for an abort.
    #[inline]
    pub(super) fn abort(&self) -> Wake {
        self.mark_as(NOTIFIED | CANCELLED)
    }

    /// (3) As [`wake`](Self::wake), with the `Notified`'s reference added on `Schedule`; one step in the
    /// usual case.
    #[inline]
    pub(super) fn wake_and_retain(&self) -> Wake {
        if !self.is_shared() {
            let wake = self.wake();
            if wake == Wake::Schedule {
                self.retain();
            }
            return wake;
        }
        let now = Bits(self.word.load(Ordering::Relaxed));
        if now.is_idle() {
            let next = now.with(NOTIFIED).0 + REFERENCE;
            if self.word.compare_exchange(now.0, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Wake::Schedule;
            }
        }
        let wake = self.wake();
        if wake == Wake::Schedule {
            self.retain();
        }
        wake
    }

    /// (3) As [`wake`](Self::wake), with the caller's reference given up in the same step, unless it becomes
    /// the `Notified`'s. Not from afar.
    #[inline]
    pub(super) fn wake_and_release(&self) -> Woken {
        if !self.is_shared() {
            return match self.wake() {
                Wake::Schedule => Woken::Schedule,
                Wake::Seen if self.release(1) => Woken::Last,
                Wake::Seen => Woken::Done,
            };
        }
        self.step(|now| match now.any(COMPLETE) {
            false if now.is_idle() => (Woken::Schedule, now.with(NOTIFIED)),
            // The word changes also if NOTIFIED is set already: see `wake`.
            false => (Woken::Done, now.with(NOTIFIED).less(1)),
            true => give_up_one(now, Woken::Done, Woken::Last),
        })
    }

    /// (4) The future is gone and the output is in its place; the caller gives up `held` references.
    ///
    /// `to_drop` says whether the output has to be dropped if nobody wants it. No read-modify-write at all if
    /// nobody else is left.
    #[inline]
    pub(super) fn complete(&self, held: usize, to_drop: bool) -> Complete {
        let is_reached = !self.is_shared() && (self.remote.is_touched() || self.is_unborn());
        self.step(|now| {
            debug_assert!(now.any(RUNNING) && !now.any(COMPLETE), "only the poller completes: {now:?}");
            if !now.any(JOIN_INTEREST) && to_drop {
                return (Complete::Unwanted, now);
            }
            if now.references() == held {
                return (Complete::Last, now);
            }
            let over = now.without(RUNNING).with(COMPLETE);
            if is_reached || now.any(FAR_JOINER) {
                (Complete::Reached { joined: now.any(JOIN_WAKER) }, over)
            } else if now.any(JOIN_WAKER) {
                (Complete::Joined, over)
            } else {
                (Complete::Done, over.less(held))
            }
        })
    }

    /// (4) In the turn that a task is born with: it is over, the output is in its place, and the runner's
    /// reference is given up. False, and nothing has changed, if anybody else has come to know the task
    /// meanwhile (a waker was cloned, it woke itself): then [`complete`](Self::complete) says what is to be
    /// done.
    #[inline]
    pub(super) fn complete_unseen(&self) -> bool {
        debug_assert_eq!(self.side(), Side::Home);
        // Whoever has a reference elsewhere has left a trace in the other word, or has one that is counted
        // here; with neither, nobody can come to have one.
        let is_unseen = self.word.load(Ordering::Relaxed) == RUNNING_FROM_BIRTH && !self.remote.is_touched();
        if is_unseen {
            self.word.store(COMPLETE | JOIN_INTEREST | REFERENCE, Ordering::Release);
        }
        is_unseen
    }

    /// Instead of the turn that a task is born with: it is to wait for one in a queue, and in a list.
    pub(super) fn queue_instead(&self) {
        debug_assert_eq!(self.word.load(Ordering::Relaxed), RUNNING_FROM_BIRTH);
        self.word.store(NOTIFIED | JOIN_INTEREST | (3 * REFERENCE), Ordering::Release);
    }

    /// (5) A shutdown wants to end the task.
    #[inline]
    pub(super) fn claim(&self) -> Claim {
        self.step(|now| {
            if now.any(COMPLETE) {
                (Claim::Theirs, now)
            } else if now.any(RUNNING) {
                (Claim::Theirs, now.with(CANCELLED))
            } else {
                (Claim::Ours, now.with(RUNNING | CANCELLED))
            }
        })
    }

    /// Whether the task is over: the output, if it is still there, belongs to the `JoinHandle`.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        Bits(self.word.load(Ordering::Acquire)).any(COMPLETE)
    }

    /// `JoinHandle`: whether its waker is stored (only the handle itself changes that before the end).
    #[inline]
    pub(super) fn has_join_waker(&self) -> bool {
        Bits(self.word.load(Ordering::Relaxed)).any(JOIN_WAKER)
    }

    /// Home: a handle elsewhere wanted to be woken at the end.
    pub(super) fn note_far_joiner(&self) -> FarJoin {
        self.step(|now| match (now.any(COMPLETE), now.any(JOIN_INTEREST)) {
            (true, _) => (FarJoin::Over, now),
            (false, true) => (FarJoin::Waits, now.with(FAR_JOINER)),
            (false, false) => (FarJoin::Left, now),
        })
    }

    /// Home: the handle, which was elsewhere, is gone; its reference is not at issue. What it has left to the
    /// caller.
    pub(super) fn note_far_leave(&self) -> FarLeave {
        self.step(|now| {
            let left = now.without(JOIN_INTEREST | JOIN_WAKER);
            match (now.any(COMPLETE), now.any(JOIN_WAKER)) {
                (true, _) => (FarLeave::Output, now),
                (false, true) => (FarLeave::Waker, left),
                (false, false) => (FarLeave::Nothing, left),
            }
        })
    }

    /// Home, of a new task that is refused: its counts are merged when it is over, whoever has reached for
    /// it.
    pub(super) fn merge_at_end(&self) {
        debug_assert_eq!(self.side(), Side::Home);
        self.word.store(self.word.load(Ordering::Relaxed) | FAR_JOINER, Ordering::Release);
    }

    /// `JoinHandle`: has written its waker and publishes it. False if the task is over: the waker is still
    /// its own.
    #[must_use = "on false the waker is still the handle's"]
    #[inline]
    pub(super) fn publish_join_waker(&self) -> bool {
        if !self.is_shared() {
            return self.step(|now| match now.any(COMPLETE) {
                true => (false, now),
                false => (true, now.with(JOIN_WAKER)),
            });
        }
        !Bits(self.word.fetch_or(JOIN_WAKER, Ordering::AcqRel)).any(COMPLETE)
    }

    /// `JoinHandle`: wants its waker back. False if the task is over: the waker has gone to whoever completed
    /// it.
    #[must_use = "on true the waker is the handle's"]
    #[inline]
    pub(super) fn withdraw_join_waker(&self) -> bool {
        self.step(|now| {
            debug_assert!(now.any(COMPLETE | JOIN_WAKER), "only a stored waker is withdrawn: {now:?}");
            if now.any(COMPLETE) { (false, now) } else { (true, now.without(JOIN_WAKER)) }
        })
    }

    /// The `JoinHandle` is dropped.
    #[inline]
    pub(super) fn leave(&self) -> Leave {
        self.step(|now| {
            if now.any(COMPLETE) {
                // The last one takes with it what is left, the output too.
                (if now.references() == 1 { Leave::Last } else { Leave::Output }, now)
            } else if now.any(JOIN_WAKER | FAR_JOINER) {
                let joined = now.any(JOIN_WAKER);
                (Leave::Wakers { joined }, now.without(JOIN_INTEREST | JOIN_WAKER))
            } else {
                match now.references() {
                    1 => (Leave::Last, now),
                    _ => (Leave::Done, now.without(JOIN_INTEREST).less(1)),
                }
            }
        })
    }

    #[inline]
    fn mark_as(&self, bits: usize) -> Wake {
        if self.is_complete() {
            return Wake::Seen;
        }
        let before = if self.is_shared() {
            Bits(self.word.fetch_or(bits, Ordering::AcqRel))
        } else {
            let before = self.word.load(Ordering::Relaxed);
            self.word.store(before | bits, Ordering::Release);
            Bits(before)
        };
        if before.is_idle() { Wake::Schedule } else { Wake::Seen }
    }

    /// One transition: `decide` sees the word and names the answer and the next word. Nothing is written if
    /// that is the same: a transition that has to be a read-modify-write, for what it makes visible, changes
    /// the word. (An `Option` of a word would come back through memory.)
    #[inline]
    fn step<R>(&self, decide: impl Fn(Bits) -> (R, Bits)) -> R {
        if !self.is_shared() {
            return self.step_at_home(decide);
        }
        let mut now = self.word.load(Ordering::Acquire);
        loop {
            let (answer, Bits(next)) = decide(Bits(now));
            if next == now {
                return answer;
            }
            match self.word.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return answer,
                Err(changed) => now = changed,
            }
        }
    }

    /// As [`step`](Self::step), on the one thread that writes the word. `decide` sees all references: if it
    /// sees one, there is one, because nobody can make another without having one.
    #[inline]
    fn step_at_home<R>(&self, decide: impl Fn(Bits) -> (R, Bits)) -> R {
        loop {
            let remote = self.remote.look();
            let word = self.word.load(Ordering::Relaxed);
            let now = self.total(word, remote.count());
            let (answer, Bits(next)) = decide(Bits(now));
            if next == now {
                return answer;
            }
            if !remote.is_merged() {
                let elsewhere = (remote.count() as usize).wrapping_mul(REFERENCE);
                self.word.store(next.wrapping_sub(elsewhere), Ordering::Release);
                return answer;
            }
            // Over, and counted elsewhere: only references change now.
            let fewer = (now - next) / REFERENCE;
            if self.remote.give_up(remote, fewer as isize) {
                return answer;
            }
        }
    }
}

/// Gives up one reference in the same step; if it is the only one, the word need not change any more.
#[inline]
fn give_up_one<R>(now: Bits, done: R, last: R) -> (R, Bits) {
    if now.references() == 1 { (last, now) } else { (done, now.less(1)) }
}
