//! What the cores of one runtime show each other.
//!
//! Owns one block per core (inbox, thief's end of the steal queue, list of tasks, counters, what the core is
//! doing) and the runtime-wide words (injector, shutdown, who is parked or stuck). A core's identity is the
//! address of its block.
#![forbid(unsafe_code)]

use super::current;
use super::downfall::Downfall;
use super::drain::Drain;
use super::idle::{Appetite, Idleness, Parked, Spinners};
use super::injector::Injector;
use super::queue::Stealer;
use super::running::Running;
use super::shutdown::Barriers;
use super::stock::Stock;
use super::stuck::Stuck;
use super::watchdog;
use crate::base::apart::Apart;
use crate::base::inbox::Inbox;
use crate::base::reach::Cores;
use crate::metrics::Counters;
use crate::sys::fork;
use crate::task::{
    self, Attributes, Cause, Header, JoinHandle, Mark, Notified, OnPanic, OwnedTasks, Request, Schedule,
    Shell, TaskPanic, TaskRef, Unborn,
};
use crate::time::{Call, Clock};
use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// The scheduler's settings, each with its default in `runtime::Builder`.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// When a core is hungry; `None` never moves a task.
    pub(crate) appetite: Option<Appetite>,
    /// Polls per turn.
    pub(crate) poll_budget: usize,
    /// Time per turn.
    pub(crate) quantum: Duration,
    /// How old the oldest queued submission may get inside a turn.
    pub(crate) submit_delay: Duration,
    /// How long a core looks before it parks, at most.
    pub(crate) spin_window: Duration,
    /// How many CPUs' worth of work the process may do at once.
    pub(crate) cpus: usize,
    /// What becomes of the news that a core is stuck.
    pub(crate) watchdog: watchdog::Config,
    /// Who is told of the panics of tasks.
    pub(crate) on_panic: OnPanic,
    /// If a panic is to end the runtime: whether one has.
    pub(crate) downfall: Option<Arc<Downfall>>,
    /// Whether the clock stands from the start; only for one core.
    pub(crate) start_paused: bool,
}

/// One core as the others see it.
pub(crate) struct CoreShared {
    pub(crate) inbox: Arc<Inbox>,
    /// When its doorbell was last rung.
    pub(crate) called: Arc<Call>,
    pub(crate) stealer: Stealer<Notified>,
    pub(crate) owned: OwnedTasks,
    pub(crate) counters: Arc<Counters>,
    pub(crate) idle: Idleness,
    /// What the core is polling, for the watchdog, and when its turn began, for the monitor.
    pub(crate) running: Arc<Apart<Running>>,
    /// The CPU the core is pinned to.
    pub(crate) cpu: Option<usize>,
    /// The mark of the core's thread. It is there before the thread is: who has a handle may make tasks for a
    /// core that has not started, as the start hook of another does, or that never will.
    mark: Mark,
    /// The core's thread, for reports.
    pub(crate) thread: AtomicU64,
}

impl CoreShared {
    /// A core that is awake and has nothing, on `cpu` if it is to be pinned; `ring` makes it return from the
    /// kernel.
    pub(crate) fn new(
        cpu: Option<usize>,
        stealer: Stealer<Notified>,
        ring: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let called = Arc::new(Call::new());
        let call = Arc::clone(&called);
        let bell = move || {
            call.set();
            ring();
        };
        Self {
            inbox: Arc::new(Inbox::new(Box::new(bell))),
            called,
            stealer,
            owned: OwnedTasks::new(),
            counters: Arc::default(),
            idle: Idleness::new(),
            running: Arc::default(),
            cpu,
            mark: Mark::reserve(),
            thread: AtomicU64::new(0),
        }
    }

    /// On the core's own thread, once, before it has any task: the core's local tasks are this thread's.
    pub(crate) fn claim(&self) {
        self.mark.take();
    }
}

/// All cores of one runtime.
pub(crate) struct Shared {
    pub(crate) cores: Box<[CoreShared]>,
    /// The numbers of the cores' lists of tasks.
    pub(super) lists: Range<u32>,
    pub(crate) reach: Arc<Cores>,
    pub(crate) injector: Injector,
    pub(crate) config: Config,
    pub(crate) barriers: Barriers,
    /// What timers go by, if there is one core; with several it is the system's clock.
    pub(crate) clock: Option<Arc<Clock>>,
    pub(super) drain: Drain,
    pub(crate) parked: Parked,
    pub(super) spinners: Spinners,
    // Written with each task that is spawned from outside; what stands around it is read after each poll.
    pub(super) stock: Apart<Stock>,
    pub(crate) stuck: Stuck,
    closing: AtomicBool,
    monitor: OnceLock<Thread>,
    started: Instant,
}

impl Shared {
    /// The block of a runtime whose cores are `cores`.
    pub(crate) fn new(mut cores: Box<[CoreShared]>, config: Config) -> Arc<Self> {
        let inboxes = cores.iter().map(|core| Arc::clone(&core.inbox)).collect();
        Arc::new(Self {
            barriers: Barriers::new(cores.len()),
            drain: Drain::new(cores.len()),
            parked: Parked::new(cores.len()),
            spinners: Spinners::new(cores.len(), config.cpus),
            stock: Apart(Stock::new()),
            stuck: Stuck::new(cores.len()),
            clock: match &*cores {
                [core] => Some(Clock::new(Arc::clone(&core.inbox), config.start_paused)),
                _ => None,
            },
            lists: OwnedTasks::number_all(cores.iter_mut().map(|core| &mut core.owned)),
            cores,
            reach: Arc::new(Cores::new(inboxes)),
            injector: Injector::new(),
            config,
            closing: AtomicBool::new(false),
            monitor: OnceLock::new(),
            started: Instant::now(),
        })
    }

    /// Nanoseconds since the runtime started, never 0.
    pub(crate) fn stamp(&self, now: Instant) -> u64 {
        now.duration_since(self.started).as_nanos() as u64 + 1
    }

    /// Whether the runtime takes no more tasks.
    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Whether a task that is spawned now on this thread would never run: the runtime is going, or drains and
    /// this thread is no part of it, or it is the parent's of a forked child.
    #[inline]
    pub(crate) fn refuses_tasks(&self) -> bool {
        self.is_closing() || (self.drain.is_on() && !current::is_part_of(self)) || fork::is_child()
    }

    /// Shutdown phase 1: no more tasks; every core is told, the monitor, and who drains.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.cores.iter().for_each(|core| core.inbox.knock());
        if let Some(monitor) = self.monitor.get() {
            monitor.unpark();
        }
        self.drain.give_up();
        self.stock.close();
    }

    /// Whether anybody finds out which cores are stuck, so that others can help.
    pub(crate) fn knows_the_stuck(&self) -> bool {
        self.config.appetite.is_some() && self.cores.len() > 1
    }

    /// After a start that failed, once all threads of cores have ended: what hooks have sent to a core that
    /// never ran, or left for all of them, ends here.
    pub(crate) fn bury(&self) {
        self.close();
        for core in &self.cores {
            core.owned.close_and_shutdown();
            super::shutdown::close_inbox(&core.inbox);
        }
        self.injector.close();
    }

    /// The thread that runs the monitor, before any core turns.
    pub(crate) fn set_monitor(&self, thread: Thread) {
        let first = self.monitor.set(thread).is_ok();
        debug_assert!(first, "a runtime has one monitor");
    }

    /// Core: parks.
    pub(crate) fn parks(&self, core: usize, now: Instant) {
        self.cores[core].idle.parks(self.stamp(now));
        self.parked.one_more();
    }

    /// Core: is awake. Whether it was asked to search.
    pub(crate) fn wakes(&self, core: usize) -> bool {
        if self.parked.one_less()
            && let Some(monitor) = self.monitor.get()
        {
            monitor.unpark();
        }
        self.cores[core].idle.wakes()
    }

    /// Rings one hungry core, the first of `others`, for a surplus that is `age` old. True if one was.
    pub(crate) fn ring_hungry(
        &self,
        mut others: impl Iterator<Item = usize>,
        now: Instant,
        age: Duration,
    ) -> bool {
        let Some(appetite) = self.config.appetite else { return false };
        let (now, age) = (self.stamp(now), u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
        let hungry = others.find(|&other| {
            let block = &self.cores[other];
            if block.inbox.is_spinning() {
                return block.idle.has_time(age, appetite);
            }
            block.idle.is_hungry(now, age, appetite) && block.inbox.is_parked()
        });
        hungry.is_some_and(|core| self.ask(core))
    }

    /// Monitor: asks one core that is parked or looks, for the work of the stuck core `core`.
    pub(super) fn ring_idle_for(&self, core: usize) {
        let is_idle = |other: &usize| {
            let inbox = &self.cores[*other].inbox;
            inbox.is_parked() || inbox.is_spinning()
        };
        let mut others = (1..self.cores.len()).map(|step| (core + step) % self.cores.len());
        if let Some(helper) = others.find(is_idle) {
            self.ask(helper);
        }
    }

    fn ask(&self, core: usize) -> bool {
        let block = &self.cores[core];
        block.idle.ask();
        block.inbox.knock();
        true
    }

    /// Whether there are tasks at `core`, or in the injector, that another core could run.
    pub(super) fn has_movable_work(&self, core: usize) -> bool {
        let block = &self.cores[core];
        !block.stealer.is_empty() || block.inbox.has_send() || !self.injector.is_empty()
    }

    /// Where a `Send` task of the stuck core `home` goes: to this core, if this thread is one that is well,
    /// else as if it came from outside.
    #[cold]
    fn detour(self: &Arc<Self>, home: usize) -> usize {
        let here = current::index_in(self).filter(|&core| !self.stuck.is_stuck(core));
        here.unwrap_or_else(|| {
            let other = self.pick_core();
            if self.stuck.is_stuck(other) { home } else { other }
        })
    }

    /// Spawns a task that may move. On a core of this runtime it is born there, else on a core picked for
    /// it.
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
        let seat = current::seat_for::<F>(self);
        let (owned, notified, handle) = task::new::<_, Scheduler>(future, seat, attributes);
        notified.header().set_home(home);
        if self.refuses_tasks() || !self.cores[home].owned.insert(owned) {
            notified.shutdown();
            return handle;
        }
        let counters = &self.cores[home].counters;
        match Scheduler::schedule_here(notified, Cause::Woken) {
            // This thread is the core, and the counter's one writer.
            Ok(()) => counters.spawns.add(1),
            Err(notified) => {
                counters.spawns_remote.add(1);
                self.send(notified);
            }
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
        let scheduler = Scheduler::over(Arc::clone(self));
        let (unborn, handle) = task::new_elsewhere(make, scheduler, self.cores[home].mark, attributes);
        unborn.header().set_home(home);
        (unborn, handle)
    }

    /// Brings a task to its home from outside, past a core that is stuck. (A local task is woken by a
    /// request.)
    fn send(self: &Arc<Self>, task: Notified) {
        let (home, stays) = (task.header().home(), task.header().is_background());
        let refused = if stays {
            self.cores[home].inbox.push_pinned(task.into_message())
        } else {
            let to = if self.stuck.is_stuck(home) { self.detour(home) } else { home };
            self.cores[to].inbox.push_send(task.into_message())
        };
        // The core is gone, and so is the task: its owner's list has ended it.
        drop(refused.err());
    }
}

/// The scheduler as a task knows it.
#[derive(Clone)]
pub(crate) struct Scheduler {
    /// Always there, except in `drop`.
    shared: Option<Arc<Shared>>,
}

impl Scheduler {
    /// With a reference that is given to it.
    #[inline]
    pub(crate) fn over(shared: Arc<Shared>) -> Self {
        Self { shared: Some(shared) }
    }

    #[inline]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.shared.as_ref().expect("there until drop")
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            current::keep_spare(shared);
        }
    }
}

impl Schedule for Scheduler {
    fn schedule(&self, task: Notified) {
        self.shared().send(task);
    }

    #[inline]
    fn schedule_here(task: Notified, cause: Cause) -> Result<(), Notified> {
        current::queue_here(task, cause)
    }

    fn request(&self, request: Request) {
        let home = &self.shared().cores[request.header().home()];
        // If the core is gone, the message that comes back does what is left to do.
        drop(home.inbox.push_pinned(request.into_message()).err());
    }

    #[inline]
    fn release(&self, task: &Header) -> Option<TaskRef> {
        let shared = self.shared();
        // It is in the list of the core where it was born, or in none: taken out of it, or never listed.
        let born = task.list_number().wrapping_sub(shared.lists.start) as usize;
        shared.cores.get(born)?.owned.remove(task)
    }

    #[inline]
    fn keep(shell: Shell<Self>) {
        current::keep_shell(shell);
    }

    fn panicked(&self, panic: &TaskPanic<'_>) {
        self.shared().config.on_panic.tell(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::queue::Owner;
    use crate::sched::single;

    #[test]
    fn a_core_that_looks_is_asked_for_help_with_an_old_surplus_and_with_no_younger_one() {
        let appetite = Appetite { threshold: 1_000, surplus_young: 100, surplus_old: 5_000 };
        let core = || CoreShared::new(None, Owner::new().stealer(), || ());
        let config = Config { appetite: Some(appetite), ..single::config() };
        let shared = Shared::new(Box::new([core(), core()]), config);
        let looks = &shared.cores[1];
        let rings = |age| shared.ring_hungry(1..2, Instant::now(), Duration::from_nanos(age));
        assert!(!rings(5_000), "it is awake");
        looks.inbox.spin();
        assert!(!rings(4_999));
        assert!(rings(5_000));
        assert!(looks.inbox.was_knocked_at() && looks.idle.takes_request());
        assert!(!rings(5_000), "it has been asked and has not come yet");
    }
}
