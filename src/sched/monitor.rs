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
    looked_at: Instant,
}

impl Monitor {
    /// For the runtime behind `shared`; `now` is the first look.
    pub(crate) fn new(shared: Arc<Shared>, now: Instant) -> Self {
        let seen = shared.cores.iter().map(|_| Seen { progress: 0, since: now, resting: false, deaf: false });
        let (seen, watch) = (seen.collect(), Watch::new(&shared.config.watchdog, shared.cores.len()));
        Self { shared, seen, watch, looked_at: now }
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
        self.looked_at = now;
    }

    /// The time by which this look comes late is held against nobody: the process may have been stopped as a
    /// whole, or the machine have had no CPU for the cores either.
    fn excuse(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.looked_at + TICK).saturating_sub(TICK);
        self.seen.iter_mut().for_each(|seen| seen.since += late);
        self.looked_at = now;
    }

    /// One look at all cores. True if all were at rest now and at the look before.
    fn look(&mut self, now: Instant) -> bool {
        self.excuse(now);
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
        let moved = seen.progress != progress;
        // A core that rested at the look before has had no chance to stand still for long.
        if moved || seen.resting || rested || seen.deaf != deaf {
            seen.since = now;
        }
        (seen.progress, seen.deaf) = (progress, deaf);
        seen.resting && rested && !moved
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::Owner;
    use super::super::shared::{Config, CoreShared};
    use super::super::watchdog::{self, StuckReport, Watchdog};
    use super::*;
    use crate::base::inbox::Inbox;
    use crate::task::OwnedTasks;
    use std::sync::{Mutex, OnceLock};

    const AFTER: Duration = Duration::from_millis(100);

    /// What the watchdog is told of.
    type Reports = Arc<Mutex<Vec<Duration>>>;

    /// The monitor of one core that tells `reports`, looking first at `now`.
    fn monitor(reports: &Reports, now: Instant) -> Monitor {
        let core = CoreShared {
            inbox: Arc::new(Inbox::new(Box::new(|| ()))),
            stealer: Owner::new().stealer(),
            owned: OwnedTasks::new(),
            counters: Arc::default(),
            idle: super::super::idle::Idleness::new(),
            running: super::super::Running::default(),
            cpu: None,
            mark: OnceLock::new(),
            thread: std::sync::atomic::AtomicU64::new(0),
        };
        let reports = Arc::clone(reports);
        let tell = move |report: &StuckReport| reports.lock().unwrap().push(report.at_least);
        let config = Config {
            appetite: None,
            poll_budget: 1,
            quantum: Duration::ZERO,
            submit_delay: Duration::ZERO,
            watchdog: watchdog::Config { what: Watchdog::Call(Arc::new(tell)), after: AFTER },
            on_panic: Default::default(),
            downfall: None,
            start_paused: false,
        };
        Monitor::new(Shared::new(Box::new([core]), config), now)
    }

    #[test]
    fn a_core_without_progress_is_reported_after_the_time_that_was_looked_at() {
        let (reports, start) = (Reports::default(), Instant::now());
        let mut monitor = monitor(&reports, start);
        (1..=12).for_each(|tick| _ = monitor.look(start + TICK * tick));
        assert_eq!(*reports.lock().unwrap(), [AFTER]);
    }

    #[test]
    fn a_monitor_that_overslept_does_not_blame_the_cores() {
        let (reports, start) = (Reports::default(), Instant::now());
        let mut monitor = monitor(&reports, start);
        monitor.look(start + TICK);
        // As after a stop of the whole process: the core has had no more time than the monitor.
        let woken = start + Duration::from_secs(5);
        monitor.look(woken);
        assert!(reports.lock().unwrap().is_empty());
        (1..=12).for_each(|tick| _ = monitor.look(woken + TICK * tick));
        assert_eq!(reports.lock().unwrap().len(), 1, "it is watched all the same");
    }

    #[test]
    fn a_core_that_has_just_woken_is_not_stuck() {
        let (reports, start) = (Reports::default(), Instant::now());
        let mut monitor = monitor(&reports, start);
        monitor.shared.parks(0, start);
        monitor.look(start + TICK);
        let _ = monitor.shared.wakes(0);
        monitor.look(start + TICK * 2);
        assert_eq!(monitor.seen[0].since, start + TICK * 2);
    }
}
