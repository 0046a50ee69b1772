//! Finding work that is not this core's own, and having others find this core's surplus.
//!
//! Owns the order of a search (injector, steal queues by distance, Send lanes), the taking over from stuck
//! cores, and the decision to ring a hungry core. When a core searches is the worker's business, who is
//! hungry is idle.rs, how a queue is stolen from is queue.rs.
#![forbid(unsafe_code)]

use super::current::Core;
use super::injector;
use super::victims::Victims;
use crate::task::Notified;
use std::time::{Duration, Instant};

/// Tasks taken from the injector at a time, at most; what two cores find there is shared.
const INJECTOR_BATCH: usize = 64;
/// After a look that found nobody hungry, the next is this much later: it reads a line of every other core.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// Why a core searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was asked by a core with surplus or by the monitor: it takes whatever there is.
    Asked,
    /// It has been dry for the threshold: it leaves a lone task to the core that will run it next.
    Dry,
}

/// A core's way to other cores' work.
#[derive(Debug)]
pub(super) struct Searcher {
    victims: Victims,
    /// Since when this core has surplus.
    surplus: Option<Instant>,
    /// Since when something waits in the injector.
    overflow: Option<Instant>,
    /// When to look for a hungry core again.
    look_at: Option<Instant>,
}

impl Searcher {
    pub(super) fn new(victims: Victims) -> Self {
        Self { victims, surplus: None, overflow: None, look_at: None }
    }

    /// How often this core is to take one task that did not fit a steal queue; see [`injector::pace`].
    pub(super) fn injector_pace(core: &Core) -> Option<u64> {
        let waiting = core.shared.injector.len();
        if waiting == 0 {
            return None;
        }
        injector::pace(core.steal.borrow().len(), waiting.div_ceil(core.shared.cores.len()))
    }

    /// Queues some of what did not fit the steal queues: this core's share. How much.
    pub(super) fn take_from_injector(core: &Core) -> usize {
        let waiting = core.shared.injector.len();
        if waiting == 0 {
            return 0;
        }
        let share = waiting.div_ceil(core.shared.cores.len());
        core.shared.injector.take(share.min(INJECTOR_BATCH), |task| core.take_home(task))
    }

    /// Takes one task that did not fit a steal queue.
    pub(super) fn one_from_injector(core: &Core) -> Option<Notified> {
        core.shared.injector.take_one()
    }

    /// Looks for `Send` tasks of other cores: all steal queues first, then the Send lanes. Ends with the
    /// first find.
    pub(super) fn search(&mut self, core: &Core, reason: Reason) -> bool {
        core.counters().searches.add(1);
        let least = if reason == Reason::Asked { 1 } else { 2 };
        let victims = self.victims.in_order();
        victims.clone().any(|victim| steal_from(core, victim, least))
            || (reason == Reason::Asked && victims.into_iter().any(|victim| empty_lane_of(core, victim)))
    }

    /// Takes over from stuck cores, whether or not this one has work: half of each steal queue if there is
    /// room, and what was woken. Whether that were any.
    pub(super) fn rescue(&mut self, core: &Core) -> bool {
        if core.shared.stuck.is_stuck(core.index) {
            // Well again, and not noticed yet.
            return false;
        }
        let mut found = false;
        for victim in self.victims.in_order().filter(|&victim| core.shared.stuck.is_stuck(victim)) {
            found |= steal_from(core, victim, 1);
            found |= empty_lane_of(core, victim);
        }
        found
    }

    /// After a poll, if anybody is parked: rings one hungry core if this core's surplus is old enough, or
    /// what waits in the injector is old.
    pub(super) fn offer(&mut self, core: &Core, now: Instant) {
        let Some(appetite) = core.shared.config.appetite else { return };
        self.settle(core);
        let (surplus, overflow) = (core.has_surplus(), !core.shared.injector.is_empty());
        if !surplus && !overflow {
            return;
        }
        let lasts = |since: &mut Option<Instant>, is_there: bool| match is_there {
            true => now.saturating_duration_since(*since.get_or_insert(now)),
            false => Duration::ZERO,
        };
        let (surplus, overflow) = (lasts(&mut self.surplus, surplus), lasts(&mut self.overflow, overflow));
        let is_old = overflow.as_nanos() >= u128::from(appetite.surplus_old);
        let age = if is_old { overflow.max(surplus) } else { surplus };
        if age.as_nanos() < u128::from(appetite.surplus_young) || self.look_at.is_some_and(|at| now < at) {
            return;
        }
        self.look_at = Some(now + LOOK_EVERY);
        if core.shared.ring_hungry(self.victims.in_order(), now, age) {
            core.counters().hungry_wakes.add(1);
        }
    }

    /// After a poll, and at the end of a turn: what has gone is not remembered, also if nobody was parked
    /// meanwhile.
    pub(super) fn settle(&mut self, core: &Core) {
        if self.surplus.is_some() && !core.has_surplus() {
            self.surplus = None;
        }
        if self.overflow.is_some() && core.shared.injector.is_empty() {
            self.overflow = None;
        }
    }

    /// After a search that found something: what is more than this core runs next is offered on at once.
    pub(super) fn offer_on(&mut self, core: &Core, now: Instant) {
        let Some(appetite) = core.shared.config.appetite else { return };
        if core.has_surplus() {
            // It was old when it was taken.
            let age = Duration::from_nanos(appetite.surplus_young);
            if core.shared.ring_hungry(self.victims.in_order(), now, age) {
                core.counters().hungry_wakes.add(1);
            }
        }
    }
}

/// Steals half of the queue of `victim`, if it has at least `least` tasks.
fn steal_from(core: &Core, victim: usize, least: usize) -> bool {
    let stealer = &core.shared.cores[victim].stealer;
    if stealer.len() < least {
        return false;
    }
    // There is no spill that they would have to wait behind: without `Steal::Never` it stays empty.
    let taken = stealer.steal_half_into(&mut core.steal.borrow_mut());
    if taken > 0 {
        moved_here(core, taken as u64);
    }
    taken > 0
}

/// Takes what has been woken for `victim` and not been taken in by it.
fn empty_lane_of(core: &Core, victim: usize) -> bool {
    let lane = core.shared.cores[victim].inbox.take_send();
    let mut taken = 0;
    for task in lane.filter_map(|message| Notified::from_message(message).ok().flatten()) {
        core.take_home(task);
        taken += 1;
    }
    if taken > 0 {
        moved_here(core, taken);
    }
    taken > 0
}

fn moved_here(core: &Core, tasks: u64) {
    core.counters().steals.add(1);
    core.counters().tasks_stolen.add(tasks);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::idle::Appetite;
    use crate::sched::queue::Owner;
    use crate::sched::shared::{Config, CoreShared, Shared};
    use crate::sched::single;
    use crate::sys::topology::Distance;
    use std::panic::Location;
    use std::sync::Arc;

    #[test]
    fn a_core_with_an_empty_steal_queue_asks_for_help_with_what_has_waited_in_the_injector_for_long() {
        let appetite = Appetite { threshold: 0, surplus_young: 100_000, surplus_old: 1_000_000 };
        let config = Config { appetite: Some(appetite), ..single::config() };
        let queue = Owner::new();
        let block = CoreShared::new(None, queue.stealer(), || ());
        let parked = CoreShared::new(None, Owner::new().stealer(), || ());
        let shared = Shared::new(Box::new([block, parked]), config);
        let core = Core::new(Arc::clone(&shared), 0, queue);
        let mut searcher = Searcher::new(Victims::new(0, &[Distance::Far, Distance::Far]));
        let now = Instant::now();
        shared.parks(1, now);
        shared.cores[1].inbox.park();
        // This thread is no core: the task is brought to its inbox.
        drop(shared.spawn_at(0, async {}, Location::caller()));
        let task = shared.cores[0].inbox.take_send().next().expect("it is there");
        shared.injector.push(Notified::from_message(task).ok().flatten().expect("it is a task"));
        let mut offer_at = |micros| {
            searcher.offer(&core, now + Duration::from_micros(micros));
            searcher.settle(&core);
            shared.cores[1].idle.takes_request()
        };
        assert_eq!([0, 100, 999, 1_000].map(&mut offer_at), [false, false, false, true]);
        shared.bury();
    }
}
