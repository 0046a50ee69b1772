//! What the cores of a runtime share, for tests of one core that no thread runs.
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
    let config = Config {
        appetite,
        poll_budget: 1,
        quantum: Duration::ZERO,
        submit_delay: Duration::ZERO,
        spin_window: Duration::ZERO,
        cpus: 1,
        watchdog,
        on_panic: Default::default(),
        downfall: None,
        start_paused: false,
    };
    (Shared::new(Box::new([core]), config), queue)
}
