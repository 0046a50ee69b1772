//! Fairness with bounds: whatever floods a core, every other source is served before so many polls have
//! passed. Nothing here is measured in time.
//!
//! The bounds follow from what the scheduler states: a turn has at most [`TURN`] polls, after which inbox,
//! timers and completions are looked at; of local and steal queue neither gets more than [`IN_A_ROW`] polls
//! while the other waits; the injector is asked every [`INJECTOR_EVERY`] polls, a deep one as often as the
//! number of tasks in it deserves; between two polls of background tasks another task has one.

mod flood;
#[path = "../kit/mod.rs"]
mod kit;
mod queues;
mod source;

use flood::Flood;
use kit::within;
use ringwork::runtime::{Builder, Handle, Pin, Steal};
use std::time::Duration;

/// Polls in a turn.
const TURN: u64 = 128;
/// Polls that one of the two queues may have in a row.
const IN_A_ROW: u64 = 8;
/// The injector gets one poll in so many at least.
const INJECTOR_EVERY: u64 = 61;
/// Polls without a pause from which on a deep injector has its share.
const BUSY: u64 = 1024;
/// Polls between two looks at the clock.
const CLOCK_EVERY: u64 = 16;
/// Timers that fire in one turn.
const TIMERS_PER_TURN: u64 = 1024;
/// Places of a steal queue.
const STEAL_QUEUE: u64 = 256;

/// Longer than the slowest flood takes in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Polls the one core has made.
fn polls(handle: &Handle) -> u64 {
    handle.metrics().cores[0].polls
}

/// Floods one core and checks that each source is served within its bound.
fn every_source_is_served_amid(make: fn(&Handle) -> Flood) {
    within(LIMIT, move || {
        for steal in [Steal::After(Duration::from_micros(200)), Steal::Never] {
            let runtime = Builder::new().cores(1).pin(Pin::Off).steal(steal).build().unwrap();
            let handle = runtime.handle();
            let flood = make(handle);
            for probe in source::probes(&runtime, &flood) {
                let mut worst = source::Wait::default();
                for _ in 0..flood.rounds {
                    flood.wait();
                    worst = worst.max(probe.once());
                }
                println!("{steal:?}, {}: {worst}", probe.name);
                assert!(worst.polls <= worst.bound, "{steal:?}: {} waited {worst}", probe.name);
            }
            drop(flood);
        }
    });
}

#[test]
fn a_storm_of_local_tasks_leaves_every_source_served() {
    every_source_is_served_amid(Flood::of_local_tasks);
}

#[test]
fn a_storm_of_tasks_that_may_move_leaves_every_source_served() {
    every_source_is_served_amid(Flood::of_send_tasks);
}

#[test]
fn a_flood_of_wakes_from_outside_leaves_every_source_served() {
    every_source_is_served_amid(Flood::of_remote_wakes);
}

#[test]
fn a_flood_of_completions_leaves_every_source_served() {
    every_source_is_served_amid(Flood::of_completions);
}

#[test]
fn a_storm_of_background_tasks_leaves_every_source_served() {
    every_source_is_served_amid(Flood::of_background_tasks);
}

#[test]
fn a_local_queue_of_a_hundred_thousand_tasks_leaves_every_source_served() {
    every_source_is_served_amid(Flood::of_a_deep_local_queue);
}

#[test]
fn an_injector_of_twenty_thousand_tasks_leaves_every_source_served() {
    every_source_is_served_amid(Flood::of_a_deep_injector);
}

#[test]
fn a_flood_of_due_timers_leaves_every_source_served() {
    every_source_is_served_amid(Flood::of_due_timers);
}
