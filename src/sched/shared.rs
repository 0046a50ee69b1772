//! What the cores of one runtime show each other.
//!
//! Owns one block per core (inbox, thief's end of the steal queue, list of tasks, counters, what the core is
//! doing) and the runtime-wide words (injector, shutdown, who is parked). A core's identity is the address of
//! its block.
#![forbid(unsafe_code)]

use super::current;
use super::injector::Injector;
use super::queue::Stealer;
use super::shutdown::Barriers;
use crate::base::inbox::Inbox;
use crate::base::reach::Cores;
use crate::metrics::Counters;
use crate::sys::fork;
use crate::task::{
    self, Attributes, Cause, Header, JoinHandle, Mark, Notified, OwnedTasks, Schedule, TaskRef, Unborn,
};
use std::future::Future;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The scheduler's settings, each with its default in `runtime::Builder`.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// How long a core is parked before it is hungry; `None` never moves a task.
    pub(crate) idle_threshold: Option<Duration>,
    /// Polls per turn.
    pub(crate) poll_budget: usize,
    /// Time per turn.
    pub(crate) quantum: Duration,
    /// How old the oldest queued submission may get inside a turn.
    pub(crate) submit_delay: Duration,
}

/// One core as the others see it.
pub(crate) struct CoreShared {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) stealer: Stealer<Notified>,
    pub(crate) owned: OwnedTasks,
    pub(crate) counters: Arc<Counters>,
    /// When the core parked, in nanoseconds since the runtime started; 0 while it is awake.
    pub(crate) parked_at: AtomicU64,
    /// The task the core is polling; 0 for none. For the watchdog.
    pub(crate) running: AtomicU64,
    /// Where that task was spawned. For the watchdog.
    pub(crate) running_from: AtomicPtr<Location<'static>>,
    /// The mark of the core's thread; set before the core reports.
    pub(crate) mark: OnceLock<Mark>,
    /// The core's thread, for reports.
    pub(crate) thread: AtomicU64,
}

impl CoreShared {
    /// On the core's own thread, before it reports: the core's local tasks are this thread's.
    pub(crate) fn claim(&self) {
        let first = self.mark.set(Mark::here()).is_ok();
        debug_assert!(first, "a core has one thread");
    }
}

/// All cores of one runtime.
pub(crate) struct Shared {
    pub(crate) cores: Box<[CoreShared]>,
    pub(crate) reach: Arc<Cores>,
    pub(crate) injector: Injector,
    pub(crate) config: Config,
    pub(crate) barriers: Barriers,
    closing: AtomicBool,
    parked: AtomicUsize,
    started: Instant,
}

impl Shared {
    /// The block of a runtime whose cores are `cores`.
    pub(crate) fn new(cores: Box<[CoreShared]>, config: Config) -> Arc<Self> {
        let inboxes = cores.iter().map(|core| Arc::clone(&core.inbox)).collect();
        Arc::new(Self {
            barriers: Barriers::new(cores.len()),
            cores,
            reach: Arc::new(Cores::new(inboxes)),
            injector: Injector::new(),
            config,
            closing: AtomicBool::new(false),
            parked: AtomicUsize::new(0),
            started: Instant::now(),
        })
    }

    /// Nanoseconds since the runtime started, never 0.
    pub(crate) fn stamp(&self, now: Instant) -> u64 {
        now.duration_since(self.started).as_nanos() as u64 + 1
    }

    /// Whether the runtime takes no more tasks.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Whether a task that is spawned now would never run: the runtime is going, or it is the parent's of a
    /// forked child.
    pub(crate) fn refuses_tasks(&self) -> bool {
        self.is_closing() || fork::is_child()
    }

    /// Shutdown phase 1: no more tasks; every core is told. True for the first caller.
    pub(crate) fn close(&self) -> bool {
        let first = !self.closing.swap(true, Ordering::SeqCst);
        self.cores.iter().for_each(|core| core.inbox.knock());
        first
    }

    /// A core parks or wakes.
    pub(crate) fn set_parked(&self, core: usize, at: Option<Instant>) {
        let block = &self.cores[core];
        match at {
            Some(now) => {
                block.parked_at.store(self.stamp(now), Ordering::SeqCst);
                self.parked.fetch_add(1, Ordering::SeqCst);
            }
            None => {
                block.parked_at.store(0, Ordering::SeqCst);
                self.parked.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// How many cores are parked (one load: the check of a core with surplus).
    pub(crate) fn parked(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }

    /// Rings one hungry core, if there is one. `from` is the core with surplus.
    pub(crate) fn ring_hungry(&self, from: usize, now: Instant) -> bool {
        let Some(threshold) = self.config.idle_threshold else { return false };
        let before = self.stamp(now).saturating_sub(threshold.as_nanos() as u64);
        let others = (1..self.cores.len()).map(|step| (from + step) % self.cores.len());
        for other in others {
            let block = &self.cores[other];
            let parked_at = block.parked_at.load(Ordering::SeqCst);
            if parked_at != 0 && parked_at <= before && block.inbox.is_parked() {
                block.inbox.knock();
                return true;
            }
        }
        false
    }

    /// The core for a task that comes from outside: a parked one first, else in turn.
    fn pick_core(&self) -> usize {
        let parked = self.cores.iter().position(|core| core.inbox.is_parked());
        parked.unwrap_or_else(|| {
            let picked = self.reach.pick();
            self.cores.iter().position(|core| Arc::ptr_eq(&core.inbox, picked)).unwrap_or(0)
        })
    }

    /// Spawns a task that may move. On a core of this runtime it is born there, else on a core picked for it.
    pub(crate) fn spawn<F>(
        self: &Arc<Self>,
        future: F,
        attributes: impl Into<Attributes>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let home = current::index_in(self).unwrap_or_else(|| self.pick_core());
        self.spawn_at(home, future, attributes)
    }

    /// Spawns a task that may move, at home on core `home`.
    pub(crate) fn spawn_at<F>(
        self: &Arc<Self>,
        home: usize,
        future: F,
        attributes: impl Into<Attributes>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (owned, notified, handle) = task::new(future, Scheduler::new(self, home), attributes);
        notified.header().set_home(home);
        if self.refuses_tasks() || !self.cores[home].owned.insert(owned) {
            notified.shutdown();
            return handle;
        }
        self.cores[home].counters.spawns.add_shared(1);
        if let Err(notified) = Scheduler::schedule_here(notified, Cause::Woken) {
            self.send(notified);
        }
        handle
    }

    /// Makes a task that is to be born on core `home` and never leaves it. The [`Unborn`] has to get there.
    pub(crate) fn make_for<M, F>(
        self: &Arc<Self>,
        home: usize,
        make: M,
        attributes: impl Into<Attributes>,
    ) -> (Unborn, JoinHandle<F::Output>)
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let mark = *self.cores[home].mark.get().expect("a core has its mark before anybody has a handle");
        task::new_elsewhere(make, Scheduler::new(self, home), mark, attributes)
    }

    /// Brings a task to its home from outside.
    fn send(&self, task: Notified) {
        let home = &self.cores[task.header().home()];
        let local = task.header().is_local();
        let message = task.into_message();
        let refused = if local { home.inbox.push_pinned(message) } else { home.inbox.push_send(message) };
        // The core is gone, and so is the task: its owner's list has ended it.
        drop(refused.err());
    }
}

/// The scheduler as a task knows it.
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    /// The core in whose list the task is.
    born: usize,
}

impl Scheduler {
    /// For a task born on core `born`.
    pub(crate) fn new(shared: &Arc<Shared>, born: usize) -> Self {
        Self { shared: Arc::clone(shared), born }
    }
}

impl Schedule for Scheduler {
    fn schedule(&self, task: Notified) {
        self.shared.send(task);
    }

    fn schedule_here(task: Notified, _cause: Cause) -> Result<(), Notified> {
        current::queue_here(task)
    }

    fn realm(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    fn release(&self, task: &Header) -> Option<TaskRef> {
        self.shared.cores[self.born].owned.remove(task)
    }
}
