//! The monitor: the thread that sees to it that a stuck core stops nobody else.
//!
//! Owns what is seen of each core from one look to the next, and the decision who is stuck. It looks often
//! while a core is parked, which could help, and seldom while none is; once all have been parked from one
//! look to the next it sleeps until a core wakes (idle.rs). It follows no pointer into a task, takes no
//! lock of a core, and never runs a task.
//!
//! # What it sees and does
//! A core publishes when its turn began. A turn is bounded by its quantum and little more (see the room's
//! header), so a core that is awake and whose turn is older than [`STUCK_AFTER`] is stuck in a poll (or in
//! foreign code the loop calls), and has been for nearly as long. One that is parked, was rung and has not
//! woken for as long does not answer (stopped, or starved of CPU).
//! - The core is flagged (stuck.rs): awake cores take over its `Send` work once a turn, wakes and foreign
//!   spawns of `Send` tasks go past it, servers accept from its listener. So do, also under
//!   `Steal::Never`, new ops and timers of threads that are no cores (base/reach.rs).
//! - If it has such work and a core is parked, that one is rung, one per look.
//! - The watchdog is told how long it has been (watchdog.rs).
//!
//! The flag goes with the first look that sees a new turn. Not helped: its `!Send` tasks, its background
//! queue, its ops in flight and its timers. Under `Steal::Never` nothing is flagged: there the watchdog is
//! served, and threads that are no cores.
#![forbid(unsafe_code)]

use super::shared::Shared;
use super::watchdog::{Stretch, Watch};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Looks while a core is parked or stuck: help for a stuck core comes no later. 50 wakes a second are less
/// than a hundredth of those of cores that park at a tenth of their load.
const TICK: Duration = Duration::from_millis(20);
/// Looks while all cores are awake and turn: nobody has time to help, and the watchdog reports in time.
const BUSY_TICK: Duration = Duration::from_millis(80);
/// A turn that is older is stuck: twenty quanta.
pub(super) const STUCK_AFTER: u64 = 10_000_000;

/// What was seen of one core.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Since when it has been parked although it was rung, or awake and in no turn, as far as the looks tell;
    /// with what changes if it has gone on in between.
    since: Option<(u64, Step)>,
    /// It was parked, and nothing was asked of it.
    rested: bool,
}

/// How often a core has parked, and since when it is parked now: the same at two looks, it has not moved.
type Step = (u64, Option<u64>);

/// What one look shows of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// Parked, with nothing to do.
    Rests,
    /// Awake and turning, or just woken.
    Turns,
    Stuck(Stretch),
}

/// The monitor of one runtime.
pub(crate) struct Monitor {
    shared: Arc<Shared>,
    seen: Vec<Seen>,
    watch: Watch,
    /// When the next look is due, if the monitor has not slept.
    due: Option<u64>,
    /// By how much the last late look was late, and when that was.
    late: (u64, u64),
}

impl Monitor {
    /// For the runtime behind `shared`.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let seen = vec![Seen::default(); shared.cores.len()];
        let watch = Watch::new(&shared.config.watchdog, shared.cores.len());
        Self { shared, seen, watch, due: None, late: (0, 0) }
    }

    /// Looks until the runtime closes. To be called on the thread that [`Shared::set_monitor`] was told.
    pub(crate) fn run(mut self) {
        while !self.shared.is_closing() {
            let pause = self.look(Instant::now());
            if pause.is_none() && self.shared.parked.fall_asleep() {
                while self.shared.parked.is_asleep() && !self.shared.is_closing() {
                    thread::park();
                }
                self.due = None;
            } else {
                thread::park_timeout(pause.unwrap_or(TICK));
            }
        }
    }

    /// One look at all cores. When to look again; `None` if all rested, now and at the look before.
    fn look(&mut self, now: Instant) -> Option<Duration> {
        let stamp = self.shared.stamp(now);
        self.excuse(stamp);
        let (mut all_rested, mut all_turn) = (true, true);
        for core in 0..self.seen.len() {
            all_rested &= self.seen[core].rested;
            let sight = self.look_at(core, stamp);
            self.seen[core].rested = sight == Sight::Rests;
            all_rested &= self.seen[core].rested;
            all_turn &= sight == Sight::Turns;
            self.act_on(core, sight, now);
        }
        let pause = match (all_rested, all_turn) {
            (true, _) => None,
            (false, true) => Some(BUSY_TICK),
            (false, false) => Some(TICK),
        };
        self.due = Some(stamp + pause.unwrap_or(TICK).as_nanos() as u64);
        pause
    }

    /// The time by which a look comes late is held against no core: the process may have been stopped as a
    /// whole, or the machine have had no CPU for the cores either.
    fn excuse(&mut self, stamp: u64) {
        let late = self.due.map_or(0, |due| stamp.saturating_sub(due));
        if late > STUCK_AFTER {
            self.late = (late, stamp);
        }
    }

    /// How long it has been since `began`, without what is excused.
    fn age(&self, began: u64, stamp: u64) -> u64 {
        let (late, at) = self.late;
        let excused = if began < at { late } else { 0 };
        stamp.saturating_sub(began).saturating_sub(excused)
    }

    fn look_at(&mut self, core: usize, stamp: u64) -> Sight {
        let block = &self.shared.cores[core];
        let since = &mut self.seen[core].since;
        let parked_at = block.idle.parked_at();
        let deaf = parked_at.is_some() && block.inbox.is_rung();
        if parked_at.is_some() && !deaf {
            *since = None;
            return Sight::Rests;
        }
        let turn = block.running.turn_at().filter(|_| !deaf);
        let began = match turn {
            Some(at) => {
                *since = None;
                at
            }
            // It was rung, or has just woken: the looks have to tell for how long.
            None => {
                let step = (block.counters.parks.get(), parked_at);
                let same = since.filter(|(_, before)| *before == step);
                since.insert(same.unwrap_or((stamp, step))).0
            }
        };
        let age = self.age(began, stamp);
        if age < STUCK_AFTER {
            return Sight::Turns;
        }
        Sight::Stuck(Stretch { began, age: Duration::from_nanos(age), deaf })
    }

    fn act_on(&mut self, core: usize, sight: Sight, now: Instant) {
        // First: whoever the watchdog tells finds what follows done.
        self.flag(core, matches!(sight, Sight::Stuck(_)));
        match sight {
            Sight::Stuck(stretch) => self.watch.stuck(&self.shared, core, stretch, now),
            Sight::Rests | Sight::Turns => self.watch.well(core),
        }
    }

    /// Sees to it that others help `core`, or no longer.
    fn flag(&self, core: usize, is_stuck: bool) {
        self.shared.reach.avoid(core, is_stuck);
        if self.shared.config.appetite.is_none() {
            return;
        }
        self.shared.stuck.set(core, is_stuck);
        if is_stuck && self.shared.has_movable_work(core) {
            self.shared.ring_idle_for(core);
        }
    }
}

#[cfg(test)]
mod tests;
