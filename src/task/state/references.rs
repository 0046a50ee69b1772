//! The references that the state word counts: made, given up, and merged with those of the other word.
//!
//! Owns no more than these steps, which leave all other bits as they are. Transitions that give up a
//! reference as well are with the others, in `state.rs`; what the two counts of a local task mean is in
//! `remote.rs`.

use super::{Bits, COMPLETE, REFERENCE, State};
use crate::base::sync::Ordering;
use crate::task::answer::Side;

/// More references than memory could hold: a leak in a loop, about to wrap round.
const REFERENCES_MAX: usize = (isize::MAX as usize) / REFERENCE;

impl State {
    /// Adds a reference; the caller has one. On any thread.
    #[inline]
    pub(in crate::task) fn retain(&self) {
        // Relaxed: a reference can only be made from one that exists, and passing it on orders what follows.
        let before = match self.side() {
            Side::Shared => self.word.fetch_add(REFERENCE, Ordering::Relaxed),
            Side::Home if !self.remote.is_merged() => {
                let before = self.word.load(Ordering::Relaxed);
                self.word.store(before.wrapping_add(REFERENCE), Ordering::Release);
                self.total(before, self.remote.count())
            }
            Side::Home | Side::Afar => return self.remote.retain(),
        };
        if Bits(before).references() > REFERENCES_MAX {
            std::process::abort();
        }
    }

    /// Gives up `held` references; true if they were the last. Not from afar.
    #[must_use = "the last one frees the task"]
    #[inline]
    pub(in crate::task) fn release(&self, held: usize) -> bool {
        if !self.is_shared() {
            return self.step(|now| match now.references() == held {
                true => (true, now),
                false => (false, now.less(held)),
            });
        }
        // If ours are the only ones, nobody can make another: the word needs no further change. Acquire: what
        // the others did before they gave up theirs comes before the end.
        Bits(self.word.load(Ordering::Acquire)).references() == held
            || Bits(self.word.fetch_sub(held * REFERENCE, Ordering::AcqRel)).references() == held
    }

    /// Whoever makes the transitions of a local task that is over: gives up `held` references and lets all
    /// others be counted in the other word, by any thread. True if there are no others.
    #[must_use = "the last one frees the task"]
    pub(in crate::task) fn merge(&self, held: usize) -> bool {
        let word = Bits(self.word.load(Ordering::Relaxed));
        debug_assert!(word.any(COMPLETE), "only what is over is merged: {word:?}");
        self.word.store(word.0 & (REFERENCE - 1), Ordering::Release);
        self.remote.merge(self.homes(word.0) - held as isize)
    }

    /// From afar, when the home thread has closed its door: as [`merge`](Self::merge), if nobody has done it.
    pub(in crate::task) fn merge_for_the_dead(&self, held: usize) -> bool {
        // The home thread wrote the word for the last time before it closed the door. Its count stays there,
        // where nobody looks any more but `Debug`.
        let word = self.word.load(Ordering::Acquire);
        self.remote.merge_once(self.homes(word), held as isize)
    }

    /// The references that a local task's word counts, which may be less than none.
    #[inline]
    fn homes(&self, word: usize) -> isize {
        (word as isize) >> REFERENCE.trailing_zeros()
    }

    /// The word of a local task with the references that the other word counts.
    #[inline]
    pub(super) fn total(&self, word: usize, elsewhere: isize) -> usize {
        word.wrapping_add((elsewhere as usize).wrapping_mul(REFERENCE))
    }
}
