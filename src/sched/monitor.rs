//! The monitor: the thread that sees to it that a stuck core stops nobody else.
//!
//! Owns what is seen of each core from one look to the next, and the decision who is stuck. While any core
//! is awake it looks every [`TICK`]; once all have been parked from one look to the next it sleeps until a
//! core wakes (idle.rs). It follows no pointer into a task, takes no lock of a core, and never runs a task.
//!
//! # What it sees and does
//! A core makes *progress* if it polls or enters the kernel. One that is awake and has made none for
//! [`STUCK_AFTER`] is stuck in a poll (or in foreign code the loop calls); one that is parked, was rung and
//! has not woken for as long does not answer (stopped, or starved of CPU).
//! - The core is flagged (stuck.rs): awake cores take over its `Send` work once a turn, wakes and foreign
//!   spawns of `Send` tasks go past it, servers accept from its listener.
//! - If it has such work and a core is parked, that one is rung, one per look.
//! - The watchdog is told how long it has been (watchdog.rs).
//!
//! The flag goes with the first look that sees progress. Not helped: its `!Send` tasks, its background
//! queue, its ops in flight. Under `Steal::Never` nothing is flagged, and only the watchdog is served.
#![forbid(unsafe_code)]

use super::shared::Shared;
use super::watchdog::Watch;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How often the monitor looks. 100 wakes a second cost about 0.1 % of a CPU; a stuck core is found in two.
const TICK: Duration = Duration::from_millis(10);
/// Without progress for this long a core is stuck: twenty quanta.
const STUCK_AFTER: Duration = Duration::from_millis(10);

/// What was seen of one core.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    progress: u64,
    /// Since when there has been no progress, as far as the looks tell.
    pub(super) since: Instant,
    /// It is parked and was not rung: there is nothing it should do.
    resting: bool,
    /// It is parked although it was rung.
    pub(super) deaf: bool,
}

/// The monitor of one runtime.
pub(crate) struct Monitor {
    shared: Arc<Shared>,
    seen: Vec<Seen>,
    watch: Watch,
}

impl Monitor {
    /// For the runtime behind `shared`; `now` is the first look.
    pub(crate) fn new(shared: Arc<Shared>, now: Instant) -> Self {
        let seen = shared.cores.iter().map(|_| Seen { progress: 0, since: now, resting: false, deaf: false });
        let (seen, watch) = (seen.collect(), Watch::new(&shared.config.watchdog, shared.cores.len()));
        Self { shared, seen, watch }
    }

    /// Looks until the runtime closes. To be called on the thread that [`Shared::set_monitor`] was told.
    pub(crate) fn run(mut self) {
        while !self.shared.is_closing() {
            let all_rest = self.look(Instant::now());
            if all_rest && self.shared.parked.fall_asleep() {
                while self.shared.parked.is_asleep() && !self.shared.is_closing() {
                    thread::park();
                }
                self.forget(Instant::now());
            } else {
                thread::park_timeout(TICK);
            }
        }
    }

    /// Nothing that was seen before a sleep says anything now.
    fn forget(&mut self, now: Instant) {
        self.seen.iter_mut().for_each(|seen| seen.since = now);
    }

    /// One look at all cores. True if all were at rest now and at the look before.
    fn look(&mut self, now: Instant) -> bool {
        let mut all_rest = true;
        for core in 0..self.seen.len() {
            all_rest &= self.look_at(core, now);
            let seen = &self.seen[core];
            let stuck = !seen.resting && now - seen.since >= STUCK_AFTER;
            if stuck {
                self.watch.stuck(&self.shared, core, seen, now);
            } else {
                self.watch.well(core);
            }
            if self.shared.config.appetite.is_none() {
                continue;
            }
            self.shared.stuck.set(core, stuck);
            if stuck && self.shared.has_movable_work(core) {
                self.shared.ring_parked_for(core);
            }
        }
        all_rest
    }

    /// Updates what is seen of `core`. True if it rests and did so at the look before.
    fn look_at(&mut self, core: usize, now: Instant) -> bool {
        let block = &self.shared.cores[core];
        let progress = block.counters.polls.get().wrapping_add(block.counters.enters.get());
        let parked = block.idle.parked_at().is_some();
        let deaf = parked && block.inbox.is_rung();
        let seen = &mut self.seen[core];
        let rested = seen.resting;
        seen.resting = parked && !deaf;
        if seen.progress != progress || seen.resting || seen.deaf != deaf {
            seen.since = now;
        }
        let moved = seen.progress != progress;
        (seen.progress, seen.deaf) = (progress, deaf);
        seen.resting && rested && !moved
    }
}
