//! When a system call of its own is cheaper than an op.
//!
//! An op that the kernel can do at once costs a turn all the same: its completion wakes the core, which then
//! looks at everything it has to look at and enters the kernel again. Where many complete together they share
//! that turn, and the call that submits them; where few do, each has a turn to itself, and a call on the spot
//! spares it, the cell, and the way of the result back to its future.
//!
//! Owns how many such calls a turn may make: [`CALLS`] if completions are few, none if there were more. Tasks
//! that stream have use for several; those that answer make as few as there are completions.
//! Whether what is to be done can be done without waiting is not its business.
#![forbid(unsafe_code)]

use std::cell::Cell;

/// So many completions in a turn are few. What this number and the next cost and bring is in `design`.
pub(super) const FEW: usize = 2;
/// The most calls of a turn: what such a turn has to say beyond that is worth a batch.
const CALLS: usize = 8;

/// Calls that the turn may still make.
#[derive(Default)]
pub(super) struct Lull(Cell<usize>);

impl Lull {
    /// A turn begins, to which the kernel has brought so many completions.
    #[inline]
    pub(super) fn begin_turn(&self, completions: usize) {
        self.0.set(if completions <= FEW { CALLS } else { 0 });
    }

    /// Whether a call is allowed.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.0.get() > 0
    }

    /// One that is allowed is made.
    pub(super) fn take(&self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_with_few_completions_may_make_few_calls_and_a_busy_one_none() {
        let lull = Lull::default();
        assert!(!lull.is_on());
        for few in 0..=FEW {
            lull.begin_turn(few);
            for _ in 0..CALLS {
                assert!(lull.is_on());
                lull.take();
            }
            assert!(!lull.is_on());
        }
        lull.begin_turn(FEW);
        lull.begin_turn(FEW + 1);
        assert!(!lull.is_on());
    }
}
