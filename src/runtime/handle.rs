//! `Runtime` and `Handle`.
#![forbid(unsafe_code)]

use super::block_on;
use super::companion::{self, Companion};
use super::core_thread::CoreThread;
use super::current::{self, EnterGuard};
use super::end::Threads;
use super::monitor::MonitorThread;
use super::spawn;
use crate::base::reach::Cores;
use crate::blocking::Pool;
use crate::metrics::Metrics;
use crate::sched::{self, Cause, Downfall, Shared};
#[cfg(feature = "tracing")]
use crate::task;
use crate::task::JoinHandle;
use crate::time::Clock;
use std::fmt;
use std::future::{Future, ready};
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Instant;

/// A way to reach a runtime from anywhere: spawn, enter, look at metrics. It may outlive the runtime; tasks
/// spawned then end as cancelled and ops fail with an error.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    companion: Option<Arc<dyn Companion>>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>, pool: Arc<Pool>, companion: Option<Arc<dyn Companion>>) -> Self {
        Self { shared, pool, companion }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool)
    }

    pub(super) fn companion(&self) -> Option<&Arc<dyn Companion>> {
        self.companion.as_ref()
    }

    pub(super) fn reach(&self) -> Arc<Cores> {
        Arc::clone(&self.shared.reach)
    }

    pub(super) fn clock(&self) -> Option<Arc<Clock>> {
        self.shared.clock.clone()
    }

    /// The handle of the runtime this thread is in.
    ///
    /// # Panics
    /// If it is in none; see [`Handle::try_current`].
    #[track_caller]
    pub fn current() -> Self {
        // Not in a closure: the panic names the caller's place.
        match Self::try_current() {
            Some(handle) => handle,
            None => panic!("{}", crate::base::reach::NO_RUNTIME),
        }
    }

    /// The handle of the runtime this thread is in, if any: on a core, in the blocking pool, inside
    /// `block_on`, or after [`Handle::enter`].
    pub fn try_current() -> Option<Self> {
        current::handle()
    }

    /// Makes this the runtime that the calling thread is in, until the guard is dropped. On a core of another
    /// runtime that goes for whatever task is polled there meanwhile, its spawns and its clock: do not hold
    /// the guard over an `await`.
    ///
    /// ```
    /// use ringwork::{runtime::Builder, time};
    /// let runtime = Builder::new().cores(1).build()?;
    /// let _guard = runtime.handle().enter();
    /// // Timers and ops work here now, under whatever executor polls them.
    /// futures_executor::block_on(time::sleep(std::time::Duration::from_millis(1)));
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    pub fn enter(&self) -> EnterGuard {
        current::enter(self.clone())
    }

    /// Polls `future` on the calling thread until it is done. Any number of threads may do so at once; ops
    /// and timers go to the cores.
    ///
    /// # Panics
    /// On a core: it would stop everything that core has to do. Await instead, or move the call into
    /// [`spawn_blocking`](crate::spawn_blocking). If a panic of a task shuts the runtime down
    /// ([`PanicPolicy::ShutDown`](super::PanicPolicy::ShutDown)) before this returns, unless the future is
    /// ready at its first poll.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        assert_not_on_a_core("block_on");
        #[cfg(feature = "tracing")]
        let future = task::begin_block_on(future, Location::caller());
        match self.drive(future) {
            Ok(output) => output,
            Err(cause) => panic!("{cause}"),
        }
    }

    /// Polls `future` here until it is done, or until a panic of a task ends the runtime.
    fn drive<F: Future>(&self, future: F) -> Result<F::Output, Arc<Cause>> {
        let outer = current::outer();
        let _blocking = current::block(self.clone());
        let drive = || block_on::block_on(future, self.clock(), outer, self.downfall());
        companion::around(self.companion(), drive)
    }

    fn downfall(&self) -> Option<&Downfall> {
        self.shared.config.downfall.as_deref()
    }

    /// Ends tasks and jobs, to be through by `deadline`. Whoever waits for that does so elsewhere.
    pub(super) fn begin_end(&self, deadline: Instant) {
        self.shared.barriers.set_deadline(deadline);
        self.close();
    }

    /// The same for nobody who waits: who does, then or before, says by when.
    pub(super) fn begin_end_alone(&self, deadline: Instant) {
        self.shared.barriers.propose_deadline(deadline);
        self.close();
    }

    fn close(&self) {
        self.shared.close();
        self.pool.close();
    }

    /// Spawns a task that may move to an idle core; from a core it is born there.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.spawn(future, Location::caller())
    }

    /// Makes a future on core `core` and runs it there; it never moves and need not be `Send`.
    ///
    /// # Panics
    /// If there is no core of that number.
    #[track_caller]
    pub fn spawn_on<F, Fut>(&self, core: usize, make: F) -> JoinHandle<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        spawn::on_core(self, core, make, Location::caller())
    }

    /// Runs `call` on core `core`, between two polls, and gives its result: the way to a value that a core
    /// keeps for itself ([`core_local!`](crate::core_local)). From the same core too it waits for its turn.
    ///
    /// The call is a task of that core (two allocations) and never moves: it waits behind the tasks that are
    /// to run there, may [`spawn_local`](crate::spawn_local), and bounds how long the core's other work waits
    /// by how long it takes. Dropping the handle detaches it: it runs all the same. Aborting the handle
    /// before its turn cancels it.
    ///
    /// # Errors
    /// The handle gives a [`JoinError`](crate::task::JoinError): a panic if `call` did (contained, the core
    /// goes on), cancelled if the runtime is gone (at once) or goes before the call had its turn. A call to a
    /// core that is stuck waits until it is not, also if the runtime has ended and left that core behind.
    ///
    /// # Panics
    /// If there is no core of that number.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use ringwork::runtime::Handle;
    /// ringwork::core_local! {
    ///     static CACHE: RefCell<Vec<u32>> = RefCell::new(vec![1, 2, 3]);
    /// }
    /// # #[ringwork::main(cores = 2)]
    /// # async fn main() {
    /// let entries = Handle::current().call(1, || CACHE.with(|cache| cache.borrow().len()));
    /// assert_eq!(entries.await.unwrap(), 3);
    /// # }
    /// ```
    #[track_caller]
    pub fn call<F, T>(&self, core: usize, call: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::on_core(self, core, move || ready(call()), Location::caller())
    }

    /// As [`Handle::spawn`], at home on core `core` from the start, as if spawned `at` that place.
    pub(crate) fn spawn_at<F>(
        &self,
        core: usize,
        future: F,
        at: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.spawn_at(core, future, at)
    }

    /// As [`Handle::spawn_on`], as if spawned `at` that place.
    pub(crate) fn spawn_on_at<F, Fut>(
        &self,
        core: usize,
        make: F,
        at: &'static Location<'static>,
    ) -> JoinHandle<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        spawn::on_core(self, core, make, at)
    }

    /// Tasks that waited for their turn on core `core` when it last looked.
    pub(crate) fn queued(&self, core: usize) -> u64 {
        let counters = &self.shared.cores[core].counters;
        counters.local_depth.get() + counters.steal_depth.get()
    }

    /// Whether anybody finds out which cores are stuck.
    pub(crate) fn knows_the_stuck(&self) -> bool {
        self.shared.knows_the_stuck()
    }

    /// Whether core `core` is stuck in a poll.
    pub(crate) fn is_stuck(&self, core: usize) -> bool {
        self.shared.stuck.is_stuck(core)
    }

    /// Wakes `waker` when a core becomes stuck or well, once. To be followed by a look.
    pub(crate) fn watch_stuck(&self, waker: &Waker) {
        self.shared.stuck.register(waker);
    }

    /// Takes [`watch_stuck`](Self::watch_stuck) back.
    pub(crate) fn unwatch_stuck(&self, waker: &Waker) {
        self.shared.stuck.forget(waker);
    }

    /// Runs a call that blocks on the blocking pool.
    ///
    /// # Panics
    /// If the system refuses a thread and the pool has none.
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, call: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::blocking_on(self, call, Location::caller())
    }

    /// How many cores the runtime has.
    pub fn cores(&self) -> usize {
        self.shared.cores.len()
    }

    /// The CPU to which a core is pinned.
    pub(crate) fn cpu_of(&self, core: usize) -> Option<usize> {
        self.shared.cores[core].cpu
    }

    /// What all cores have counted, and the levels of queues and pools.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        for core in &self.shared.cores {
            let mut snapshot = core.counters.snapshot();
            snapshot.doorbells = core.inbox.times_rung();
            snapshot.tasks = core.owned.len() as u64;
            metrics.cores.push(snapshot);
        }
        let pool = self.pool.counts();
        metrics.injector_depth = self.shared.injector.len() as u64;
        metrics.blocking_threads = pool.threads as u64;
        metrics.blocking_idle = pool.idle as u64;
        metrics.blocking_queued = pool.short.queued + pool.heavy.queued;
        metrics.blocking_short = pool.short;
        metrics.blocking_heavy = pool.heavy;
        metrics
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("cores", &self.cores()).finish_non_exhaustive()
    }
}

/// A running runtime. Dropping it shuts it down and waits for at most 5 s; see [`Runtime::shutdown_timeout`].
#[must_use = "dropping a runtime shuts it down"]
pub struct Runtime {
    handle: Handle,
    /// Only the end touches them; the lock makes a runtime `Sync`, as one in a `static` must be.
    pub(super) threads: Mutex<Threads>,
}

impl Runtime {
    pub(super) fn new(handle: Handle, cores: Vec<CoreThread>, monitor: Option<MonitorThread>) -> Self {
        Self { handle, threads: Mutex::new(Threads { cores, monitor }) }
    }

    /// A handle to this runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// As [`Handle::block_on`].
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// As [`Handle::enter`].
    pub fn enter(&self) -> EnterGuard {
        self.handle.enter()
    }

    /// As [`Handle::spawn`].
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.shared.spawn(future, Location::caller())
    }

    /// Makes the main future on core 0, runs it there, shuts the runtime down and returns what it gave. What
    /// `#[ringwork::main]` calls.
    ///
    /// # Panics
    /// On a core, of whatever runtime: it would stop everything that core has to do. Move the call into
    /// [`spawn_blocking`](crate::spawn_blocking). If the main future panics. If a panic of another task
    /// shuts the runtime down ([`PanicPolicy::ShutDown`](super::PanicPolicy::ShutDown)) while the main
    /// future runs, or before this call has noticed that it ended; its output is dropped then.
    #[track_caller]
    pub fn run_main<F, Fut>(self, make: F) -> Fut::Output
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        assert_not_on_a_core("run_main");
        let mut main = self.handle.spawn_on(0, make);
        let own = main.id();
        let ended = match self.handle.drive(&mut main) {
            // It has panicked itself, which is about to reach its handle. Nothing has woken this thread
            // before the cause was there, so no poll that began before has taken the output.
            Err(cause) if cause.task == own => block_on::block_on(&mut main, None, current::outer(), None),
            ended => ended,
        };
        let cause = self.handle.downfall().and_then(Downfall::cause);
        match (ended, cause.filter(|cause| cause.task != own)) {
            (Err(cause), _) | (_, Some(cause)) => panic!("{cause}"),
            (Ok(Ok(output)), None) => output,
            (Ok(Err(error)), None) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            (Ok(Err(error)), None) => panic!("the main task ended early: {error}"),
        }
    }
}

/// Refuses a call that waits for the end of a future, where no task of the core would get on meanwhile.
#[track_caller]
fn assert_not_on_a_core(call: &str) {
    assert!(
        sched::current_index().is_none(),
        "{call} would stop this core and all it has to do: await the future, or use spawn_blocking"
    );
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("cores", &self.handle.cores()).finish_non_exhaustive()
    }
}
