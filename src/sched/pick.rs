//! Which core a task that comes from outside goes to.
//!
//! Owns the order of preference, and no state. It reads what cores show anyway; a stale reading costs a wake
//! too many or a wait of some µs, never a task.
#![forbid(unsafe_code)]

use super::shared::{CoreShared, Shared};
use crate::sys::cpu;
use std::time::Instant;

/// A core whose turn began longer ago has more to do than to look into its inbox, in nanoseconds. A turn ends
/// with a look for work (base/spin.rs), which is shorter than this.
const SHORT_TURN: u64 = 100_000;

impl Shared {
    /// The core for a task that comes from outside, never a stuck one if there is another:
    ///
    /// 1. one that looks for work: it takes the task at once and need not be rung;
    /// 2. a parked one, unless it is pinned to the CPU that this thread runs on. That CPU is not idle: to
    ///    ring this core is to take the CPU from this thread, for each task anew;
    /// 3. if there is only such a one: a core that runs short turns, which will have the task sooner;
    /// 4. else that parked one after all;
    /// 5. if none is parked: one in turn.
    pub(super) fn pick_core(&self) -> usize {
        let well = || (0..self.cores.len()).filter(|&core| !self.stuck.is_stuck(core));
        let mut on_this_cpu = None;
        let mut parked = None;
        let here = cpu::current();
        for core in well() {
            let block = &self.cores[core];
            if block.inbox.is_spinning() {
                return core;
            }
            if block.inbox.is_parked() {
                let is_here = block.cpu.is_some() && block.cpu == here;
                let place = if is_here { &mut on_this_cpu } else { &mut parked };
                place.get_or_insert(core);
            }
        }
        parked.or_else(|| self.keeps_up_beside(on_this_cpu?)).or(on_this_cpu).unwrap_or_else(|| {
            let turn = self.reach.next_turn();
            let mut in_turn = (0..self.cores.len()).map(|step| (turn + step) % self.cores.len());
            in_turn.find(|&core| !self.stuck.is_stuck(core)).unwrap_or(turn)
        })
    }

    /// A core other than `parked` that will look into its inbox soon.
    fn keeps_up_beside(&self, parked: usize) -> Option<usize> {
        let now = self.stamp(Instant::now());
        let keeps_up = |block: &CoreShared| {
            let age = block.running.turn_at().map(|began| now.saturating_sub(began));
            age.is_some_and(|age| age < SHORT_TURN)
        };
        (0..self.cores.len())
            .find(|&core| core != parked && !self.stuck.is_stuck(core) && keeps_up(&self.cores[core]))
    }
}
