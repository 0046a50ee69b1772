//! What the cores of a runtime share, for tests of cores that no thread runs.
#![forbid(unsafe_code)]

use super::idle::Appetite;
use super::queue::Owner;
use super::shared::{Config, CoreShared, Shared};
use super::watchdog;
use crate::task::Notified;
use std::sync::Arc;
use std::time::Duration;

/// The one core of a runtime, and its steal queue.
pub(super) fn core(appetite: Option<Appetite>, watchdog: watchdog::Config) -> (Arc<Shared>, Owner<Notified>) {
    let queue = Owner::new();
    let core = CoreShared::new(None, queue.stealer(), || ());
    (Shared::new(Box::new([core]), Config { appetite, watchdog, ..config() }), queue)
}

/// Settings under which nothing moves, looks or reports.
pub(super) fn config() -> Config {
    Config {
        appetite: None,
        poll_budget: 1,
        quantum: Duration::ZERO,
        submit_delay: Duration::ZERO,
        spin_window: Duration::ZERO,
        cpus: 1,
        watchdog: watchdog::Config { what: watchdog::Watchdog::Off, after: Duration::MAX },
        on_panic: Default::default(),
        downfall: None,
        start_paused: false,
    }
}
