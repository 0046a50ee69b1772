//! Which core a task that comes from outside goes to.
//!
//! Owns the order of preference, and no state. It reads what cores show anyway; a stale reading costs a wake
//! too many or a wait of some µs, never a task.
#![forbid(unsafe_code)]

use super::shared::{CoreShared, Shared};
use crate::sys::cpu;
use std::time::Instant;

/// A core whose turn began longer ago is not at short work, in nanoseconds.
const SHORT_TURN: u64 = 100_000;

impl Shared {
    /// The core for a task that comes from outside, never a stuck one if there is another. A core that is
    /// pinned to the CPU this thread runs on comes late: that CPU is not idle, and to ring the core is to
    /// take the CPU from this thread, for each task anew.
    ///
    /// 1. One that looks for work: it takes the task at once and need not be rung.
    /// 2. A parked one.
    /// 3. If the only ones that look or are parked share this thread's CPU: one that is called at short
    ///    notice and whose turn has just begun, for it will have the task sooner.
    /// 4. Else one that looks or is parked after all.
    /// 5. If there is none: one in turn.
    pub(super) fn pick_core(&self) -> usize {
        let (mut parked, mut on_this_cpu) = (None, None);
        let here = cpu::current();
        for core in (0..self.cores.len()).filter(|&core| !self.stuck.is_stuck(core)) {
            let block = &self.cores[core];
            let looks = block.inbox.is_spinning();
            if !looks && !block.inbox.is_parked() {
                continue;
            }
            if block.cpu.is_some() && block.cpu == here {
                on_this_cpu.get_or_insert(core);
            } else if looks {
                return core;
            } else {
                parked.get_or_insert(core);
            }
        }
        parked.or_else(|| self.quick_one_beside(on_this_cpu?)).or(on_this_cpu).unwrap_or_else(|| {
            let turn = self.reach.next_turn();
            self.all_from(turn).find(|&core| !self.stuck.is_stuck(core)).unwrap_or(turn)
        })
    }

    /// All cores, `first` first.
    fn all_from(&self, first: usize) -> impl Iterator<Item = usize> + use<> {
        let cores = self.cores.len();
        (0..cores).map(move |step| (first + step) % cores)
    }

    /// A core other than `idle` that will look into its inbox in a moment, as far as one can tell.
    fn quick_one_beside(&self, idle: usize) -> Option<usize> {
        let now = self.stamp(Instant::now());
        let is_quick = |block: &CoreShared| {
            let age = block.running.turn_at().map(|began| now.saturating_sub(began));
            block.idle.is_quick() && age.is_some_and(|age| age < SHORT_TURN)
        };
        let mut others = self.all_from(idle + 1).filter(|&core| core != idle && !self.stuck.is_stuck(core));
        others.find(|&core| is_quick(&self.cores[core]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::queue::Owner;
    use crate::sched::single;
    use std::sync::Arc;

    /// Three cores that are awake and have no CPU of their own, except the first, which has this thread's.
    fn cores() -> Arc<Shared> {
        let here = cpu::start_mask()[0];
        assert!(cpu::pin_to(here));
        let core = |cpu| CoreShared::new(cpu, Owner::new().stealer(), || ());
        Shared::new(Box::new([core(Some(here)), core(None), core(None)]), single::config())
    }

    #[test]
    fn of_cores_that_are_all_awake_each_has_its_turn() {
        let shared = cores();
        let mut picked: Vec<_> = (0..3).map(|_| shared.pick_core()).collect();
        picked.sort_unstable();
        assert_eq!(picked, [0, 1, 2]);
    }

    #[test]
    fn one_that_looks_comes_before_a_parked_one_and_that_before_one_on_this_threads_cpu() {
        let shared = cores();
        shared.cores[0].inbox.park();
        assert_eq!(shared.pick_core(), 0, "it is the only one with nothing to do");
        shared.cores[1].inbox.park();
        assert_eq!(shared.pick_core(), 1);
        shared.cores[2].inbox.spin();
        assert_eq!(shared.pick_core(), 2);
        shared.cores[0].inbox.spin();
        assert_eq!(shared.pick_core(), 2);
    }

    #[test]
    fn a_quick_one_spares_this_thread_its_cpu_and_one_in_a_long_turn_does_not() {
        let shared = cores();
        shared.cores[0].inbox.park();
        let busy = &shared.cores[1];
        busy.running.turns(shared.stamp(Instant::now()));
        assert_eq!(shared.pick_core(), 0, "it may be at long work");
        busy.idle.set_quick(true);
        busy.running.turns(shared.stamp(Instant::now() + std::time::Duration::from_secs(60)));
        assert_eq!(shared.pick_core(), 1);
        busy.running.turns(1);
        std::thread::sleep(std::time::Duration::from_nanos(SHORT_TURN));
        assert_eq!(shared.pick_core(), 0);
    }
}
