//! What the monitor makes of what it sees, look by look, of one core that no thread runs.
#![forbid(unsafe_code)]

use super::*;
use crate::sched::single;
use crate::sched::watchdog::{self, StuckReport, Watchdog};
use std::sync::Mutex;

const AFTER: Duration = Duration::from_millis(100);

/// What the watchdog is told of.
type Reports = Arc<Mutex<Vec<Duration>>>;

/// The monitor of one core that tells `reports`.
fn monitor(reports: &Reports) -> Monitor {
    let reports = Arc::clone(reports);
    let tell = move |report: &StuckReport| reports.lock().unwrap().push(report.at_least);
    let (shared, _) =
        single::core(None, watchdog::Config { what: Watchdog::Call(Arc::new(tell)), after: AFTER });
    Monitor::new(shared)
}

/// A turn of the core begins.
fn turns(monitor: &Monitor, now: Instant) {
    monitor.shared.cores[0].running.turns(monitor.shared.stamp(now));
}

#[test]
fn a_turn_that_does_not_end_is_reported_with_its_age() {
    let reports = Reports::default();
    let mut monitor = monitor(&reports);
    let start = Instant::now();
    turns(&monitor, start);
    assert_eq!(monitor.look(start + TICK / 4), Some(BUSY_TICK));
    (1..=6).for_each(|tick| assert_eq!(monitor.look(start + TICK * tick), Some(TICK)));
    assert_eq!(*reports.lock().unwrap(), [AFTER]);
}

#[test]
fn a_core_that_turns_is_never_stuck() {
    let reports = Reports::default();
    let mut monitor = monitor(&reports);
    let start = Instant::now();
    for look in 1..=20 {
        let now = start + BUSY_TICK * look;
        turns(&monitor, now);
        assert_eq!(monitor.look(now), Some(BUSY_TICK));
    }
    assert!(reports.lock().unwrap().is_empty());
}

#[test]
fn a_monitor_that_overslept_does_not_blame_the_core() {
    let reports = Reports::default();
    let mut monitor = monitor(&reports);
    let start = Instant::now();
    turns(&monitor, start);
    monitor.look(start + TICK / 4);
    // As after a stop of the whole process: the core has had no more time than the monitor.
    let woken = start + Duration::from_secs(5);
    monitor.look(woken);
    assert!(reports.lock().unwrap().is_empty());
    (1..=3).for_each(|tick| _ = monitor.look(woken + TICK * tick));
    assert_eq!(reports.lock().unwrap().len(), 1, "it is watched all the same");
}

#[test]
fn a_core_that_has_just_woken_is_not_stuck() {
    let reports = Reports::default();
    let mut monitor = monitor(&reports);
    let start = Instant::now();
    turns(&monitor, start);
    monitor.shared.cores[0].running.parks();
    monitor.shared.parks(0, start);
    let looks = [1, 2, 3].map(|look| monitor.look(start + TICK * 10 * look));
    assert_eq!(looks, [Some(TICK), None, None], "at rest twice: the monitor may sleep");
    let _ = monitor.shared.wakes(0);
    assert_eq!(monitor.look(start + TICK * 40), Some(BUSY_TICK));
    assert!(reports.lock().unwrap().is_empty());
}

#[test]
fn a_core_that_parks_and_is_rung_again_and_again_is_not_stuck() {
    let reports = Reports::default();
    let mut monitor = monitor(&reports);
    let start = Instant::now();
    for look in 1..=20 {
        let now = start + TICK * look;
        // Each look falls between a ring and its wake.
        turns(&monitor, now);
        let core = &monitor.shared.cores[0];
        core.running.parks();
        monitor.shared.parks(0, now);
        core.inbox.park();
        core.inbox.knock();
        assert_eq!(monitor.look(now), Some(BUSY_TICK), "look {look}");
        monitor.shared.cores[0].inbox.unpark();
        let _ = monitor.shared.wakes(0);
    }
    assert!(reports.lock().unwrap().is_empty());
}
