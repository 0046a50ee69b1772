//! The thread of the monitor: started with the cores, ended with them.
//!
//! Owns when there is one (tasks may move, or a watchdog wants to know) and its placement: it runs under the
//! start-up mask, so that a pinned core that is stuck does not hold it up. What it does is `sched::monitor`.
#![forbid(unsafe_code)]

use super::error::{StartError, THREAD};
use super::names::thread_name;
use crate::sched::Shared;
use crate::sched::monitor::Monitor;
use crate::sched::watchdog::Watchdog;
use crate::sys::cpu;
use crate::sys::join::Joinable;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

/// How long the end of a runtime waits for a watchdog's callback that is still running, and for what that has
/// left in its thread.
const PATIENCE: Duration = Duration::from_millis(100);

/// The monitor's thread.
pub(super) struct MonitorThread {
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

/// Starts the monitor, if the runtime needs one.
pub(super) fn start(shared: &Arc<Shared>, name: &str) -> Result<Option<MonitorThread>, StartError> {
    if !shared.knows_the_stuck() && matches!(shared.config.watchdog.what, Watchdog::Off) {
        return Ok(None);
    }
    let (over, ended) = channel();
    let monitored = Arc::clone(shared);
    let builder = thread::Builder::new().name(thread_name(name, "-monitor"));
    let started = builder.spawn(move || {
        cpu::unpin();
        Monitor::new(monitored).run();
        let _ = over.send(());
    });
    match started {
        Ok(thread) => {
            shared.set_monitor(thread.thread().clone());
            Ok(Some(MonitorThread { thread, ended }))
        }
        Err(error) => Err(StartError::explain(THREAD, error)),
    }
}

impl MonitorThread {
    pub(super) fn id(&self) -> ThreadId {
        self.thread.thread().id()
    }

    /// Waits for the end of the monitor, which the closing of the runtime asked for. One that is held up by
    /// its callback is left behind.
    pub(super) fn join(self) {
        if self.ended.recv_timeout(PATIENCE).is_ok() {
            // The callback may have made thread-local values.
            let _ = Joinable::from(self.thread).join_until(Instant::now() + PATIENCE);
        }
    }
}
