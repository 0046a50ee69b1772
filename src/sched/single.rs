//! What the cores of a runtime share, for tests of one core that no thread runs.
#![forbid(unsafe_code)]

use super::idle::{Appetite, Idleness};
use super::queue::Owner;
use super::running::Running;
use super::shared::{Config, CoreShared, Shared};
use super::watchdog;
use crate::base::inbox::Inbox;
use crate::task::{Notified, OwnedTasks};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The one core of a runtime, and its steal queue.
pub(super) fn core(appetite: Option<Appetite>, watchdog: watchdog::Config) -> (Arc<Shared>, Owner<Notified>) {
    let queue = Owner::new();
    let core = CoreShared {
        inbox: Arc::new(Inbox::new(Box::new(|| ()))),
        stealer: queue.stealer(),
        owned: OwnedTasks::new(),
        counters: Arc::default(),
        idle: Idleness::new(),
        running: Running::default(),
        cpu: None,
        mark: OnceLock::new(),
        thread: AtomicU64::new(0),
    };
    let config = Config {
        appetite,
        poll_budget: 1,
        quantum: Duration::ZERO,
        submit_delay: Duration::ZERO,
        watchdog,
        on_panic: Default::default(),
        downfall: None,
        start_paused: false,
    };
    (Shared::new(Box::new([core]), config), queue)
}
