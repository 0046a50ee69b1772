//! How a runtime is made.
#![forbid(unsafe_code)]

use super::companion::{self, Companion};
use super::core_thread::{self, Plan};
use super::error::StartError;
use super::handle::{Handle, Runtime};
use super::panic_policy::{Later, PanicPolicy};
use super::placement::{self, Placement, place};
use crate::blocking::{self, Pool};
use crate::ring::pool::COUNTS;
use crate::ring::setup::Sizes;
use crate::sched::idle::Appetite;
use crate::sched::watchdog::{self, Watchdog};
use crate::sched::{Config, CoreShared, Shared, queue};
use crate::sys::eventfd::EventFd;
use crate::sys::{cpu, fork, limits};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whether cores are pinned to CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pin {
    /// One core to one CPU, if the process may use its whole mask and the cores take more than half of it;
    /// else not. (Small runtimes, of one process or of several, would share the first CPUs for ever while
    /// others idle.)
    #[default]
    Auto,
    /// One core to one CPU, the first ones of those that the process may use. Who starts several runtimes
    /// gives each a mask of its own (`taskset(1)`, a cpuset).
    Each,
    /// The kernel places the threads, on any of the CPUs the process started with: those of the thread that
    /// was the first to build a runtime, or to use [`thread`](crate::thread) or
    /// [`process`](crate::process).
    Off,
}

/// Whether `Send` tasks may move to another core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Steal {
    /// To a core that has been idle for this long. Sooner, to any core that is idle, once tasks have been
    /// waiting on their core for a millisecond without a gap, or if more wait there than its queue holds
    /// (256): only [`Never`](Self::Never) keeps tasks where they are.
    After(Duration),
    /// Never: nothing ever leaves its core.
    Never,
}

/// How long a core is parked before work is brought to it. Short against a scheduling quantum, long against
/// the gaps between requests of an evenly loaded core.
const IDLE_THRESHOLD: Duration = Duration::from_micros(200);
/// How long a surplus must have lasted before anybody is woken for it. Bringing a task elsewhere costs two
/// switches and cold caches, some 10 µs on each side.
const SURPLUS_YOUNG: Duration = Duration::from_micros(100);
/// A surplus that has lasted this long is not a burst: a core that parks at all has more room than its
/// owner.
const SURPLUS_OLD: Duration = Duration::from_millis(1);
/// How long a core looks for work before it parks, at most: more than a sleeping virtual CPU takes to
/// answer. Where being woken takes less, the window is shorter (base/spin.rs).
const SPIN_WINDOW: Duration = Duration::from_micros(50);
/// What looks for longer would be taken for stuck, and who is called as seldom had better sleep.
const SPIN_WINDOW_MAX: Duration = Duration::from_millis(1);
/// How long a core is stuck in one poll before the watchdog says so.
const STUCK_AFTER: Duration = Duration::from_millis(100);
/// Polls per turn: at 1 µs each about as long as a batch of completions takes to act on.
const POLL_BUDGET: usize = 128;
/// Time per turn: the longest that completions and timers wait for tasks, plus one poll.
const QUANTUM: Duration = Duration::from_micros(500);
/// How old the oldest queued submission may get inside a turn.
const SUBMIT_DELAY: Duration = Duration::from_micros(100);
/// How long dropping a runtime waits for its cores and its blocking pool.
pub(super) const DROP_PATIENCE: Duration = Duration::from_secs(5);

pub(super) type Hook = Arc<dyn Fn(usize) + Send + Sync>;

/// Makes a [`Runtime`].
///
/// There is one decision to make, how many cores, and its default is right for a program that has the
/// machine for itself: one for each CPU the process may use.
///
/// ```
/// use ringwork::runtime::Builder;
///
/// let runtime = Builder::new().cores(1).build()?;
/// assert_eq!(runtime.block_on(async { 40 + 2 }), 42);
/// # Ok::<(), ringwork::runtime::StartError>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder makes nothing until `build`"]
pub struct Builder {
    cores: Option<usize>,
    pin: Pin,
    steal: Steal,
    spin_window: Duration,
    sizes: Sizes,
    blocking_threads: usize,
    heavy_threads: Option<usize>,
    keep_alive: Duration,
    on_core_start: Option<Hook>,
    watchdog: watchdog::Config,
    on_task_panic: PanicPolicy,
    start_paused: bool,
    companion: Option<companion::Make>,
    name: String,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("cores", &self.cores).field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Builder {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            cores: None,
            pin: Pin::Auto,
            steal: Steal::After(IDLE_THRESHOLD),
            spin_window: SPIN_WINDOW,
            sizes: Sizes::DEFAULT,
            blocking_threads: blocking::Config::SHORT_MAX,
            heavy_threads: None,
            keep_alive: blocking::Config::KEEP_ALIVE,
            on_core_start: None,
            watchdog: watchdog::Config { what: Watchdog::Log, after: STUCK_AFTER },
            on_task_panic: PanicPolicy::Contain,
            start_paused: false,
            companion: None,
            name: "ringwork".to_owned(),
        }
    }

    /// How many cores. Default: the CPUs in the process's mask, or its quota if that is less.
    ///
    /// # Panics
    /// If `cores` is zero.
    #[track_caller]
    pub fn cores(mut self, cores: usize) -> Self {
        assert!(cores > 0, "a runtime has at least one core");
        self.cores = Some(cores);
        self
    }

    /// Whether cores are pinned to CPUs.
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = pin;
        self
    }

    /// Whether `Send` tasks may move to an idle core (the default, after 200 µs).
    pub fn steal(mut self, steal: Steal) -> Self {
        self.steal = steal;
        self
    }

    /// How long a core may look for work before it parks, and a thread of the blocking pool before it sleeps
    /// (default 50 µs). Zero: never.
    ///
    /// They do so only while it pays: if they were called, in their last waits, sooner than it takes to wake
    /// them, and then for twice as long as being woken has taken lately. More than 1 ms counts as that, and
    /// where the process has one CPU nobody looks. Only calls from other threads count
    /// (wakes, spawns, jobs, answers of the pool), and not what the kernel completes. An idle runtime, or one
    /// that is called now and then, uses no CPU for it. Where CPU time is dearer than an answer some ten µs
    /// sooner, or where there are more busy threads than CPUs, say zero.
    ///
    /// ```
    /// use ringwork::runtime::Builder;
    /// use std::time::Duration;
    ///
    /// let runtime = Builder::new().cores(1).spin_window(Duration::ZERO).build()?;
    /// assert_eq!(runtime.block_on(async { 1 + 1 }), 2);
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    pub fn spin_window(mut self, longest: Duration) -> Self {
        self.spin_window = longest.min(SPIN_WINDOW_MAX);
        self
    }

    /// Submission entries of each core's ring (default 256), at least 32 and at most 16,384, rounded up to a
    /// power of two; completions get four times as many. If locked memory is short, less is taken (down to
    /// 32).
    pub fn ring_entries(mut self, entries: u32) -> Self {
        let sq = entries.clamp(Sizes::MIN.sq, 16_384).next_power_of_two();
        self.sizes = Sizes { sq, cq: sq * 4 };
        self
    }

    /// How many calls of [`spawn_blocking`](crate::spawn_blocking) are run at once, each on a thread of the
    /// blocking pool (default 512). Threads are started as needed; more calls wait in a queue.
    ///
    /// The jobs of [`spawn_heavy`](crate::spawn_heavy) have a bound of their own
    /// ([`max_heavy_threads`](Self::max_heavy_threads)), and neither kind waits for the other: the pool has
    /// at most as many threads as both bounds together. Where the system refuses a thread, a job waits for
    /// those there are, whatever they are at; if there is none, whoever hands the job over is told.
    ///
    /// # Panics
    /// If `threads` is zero.
    #[track_caller]
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        assert!(threads > 0, "a blocking pool has at least one thread");
        self.blocking_threads = threads;
        self
    }

    /// How many jobs of [`spawn_heavy`](crate::spawn_heavy) are run at once, each on a thread of the blocking
    /// pool. Default: the CPUs in the process's mask, or its quota if that is less.
    ///
    /// A larger number counts as that default and is no error: more threads that compute than CPUs gain
    /// nothing, and a program that was written for a large machine shall start in a small container. What
    /// came of it is in [`LaneMetrics::limit`](crate::LaneMetrics::limit).
    ///
    /// ```
    /// use ringwork::runtime::Builder;
    ///
    /// let runtime = Builder::new().cores(1).max_blocking_threads(64).max_heavy_threads(1).build()?;
    /// let metrics = runtime.handle().metrics();
    /// assert_eq!((metrics.blocking_short.limit, metrics.blocking_heavy.limit), (64, 1));
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    ///
    /// # Panics
    /// If `threads` is zero.
    #[track_caller]
    pub fn max_heavy_threads(mut self, threads: usize) -> Self {
        assert!(threads > 0, "a blocking pool has at least one thread for jobs that compute");
        self.heavy_threads = Some(threads);
        self
    }

    /// How long a thread of the blocking pool waits for work before it ends (default 10 s).
    pub fn thread_keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// What a panic of a task means for the runtime (default: nothing but the end of that task).
    ///
    /// ```
    /// use ringwork::runtime::{Builder, PanicPolicy};
    ///
    /// let runtime = Builder::new().cores(1).on_task_panic(PanicPolicy::ShutDown).build()?;
    /// let server = std::thread::spawn(|| {
    ///     runtime.run_main(|| async {
    ///         ringwork::spawn(async { panic!("out of paper") });
    ///         std::future::pending::<()>().await
    ///     })
    /// });
    /// let message = server.join().unwrap_err().downcast::<String>().unwrap();
    /// assert!(message.ends_with("panicked: out of paper"));
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    pub fn on_task_panic(mut self, policy: PanicPolicy) -> Self {
        self.on_task_panic = policy;
        self
    }

    /// Starts with a clock that stands: see [`time::pause`](crate::time::pause). For tests. Then there is one
    /// core if nothing else is said.
    ///
    /// ```
    /// use ringwork::runtime::Builder;
    /// use ringwork::time::{sleep, Duration, Instant};
    ///
    /// let runtime = Builder::new().start_paused(true).build()?;
    /// runtime.block_on(async {
    ///     let start = Instant::now();
    ///     sleep(Duration::from_secs(3600)).await;
    ///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
    /// });
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    pub fn start_paused(mut self, paused: bool) -> Self {
        self.start_paused = paused;
        self
    }

    /// Called on each core's thread with its number, before it runs anything. A panic in it fails `build`.
    ///
    /// Tasks that it spawns, on whatever core, run once all cores have started, and are cancelled if `build`
    /// fails. Blocking jobs run at once; those that still wait for a thread when `build` fails are cancelled,
    /// as are those that come once the hook of another core has failed.
    pub fn on_core_start(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_core_start = Some(Arc::new(hook));
        self
    }

    /// What happens when a core is stuck in one poll (default: a `tracing` event of level WARN after 100
    /// ms).
    ///
    /// A report names the core, its thread, the task and where it was spawned. It comes between `after`,
    /// which is 10 ms at the least, and some 20 ms later (while all cores are busy, a poll may be 90 ms old
    /// before it is seen), again whenever the same poll has become twice as old, and about other polls of
    /// that core at most once a second. Time for which the whole process had no CPU does not count, as far as
    /// the monitor can tell.
    ///
    /// ```
    /// use ringwork::runtime::{Builder, Watchdog};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let report = Arc::new(|report: &ringwork::runtime::StuckReport| eprintln!("{report}"));
    /// let runtime = Builder::new()
    ///     .cores(1)
    ///     .watchdog(Watchdog::Call(report), Duration::from_millis(50))
    ///     .build()?;
    /// # drop(runtime);
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    pub fn watchdog(mut self, what: Watchdog, after: Duration) -> Self {
        self.watchdog = watchdog::Config { what, after };
        self
    }

    /// What the threads are called: cores are `NAME-core-N`. The kernel keeps 15 bytes of a thread's name, so
    /// of a NAME that is too long for it only the beginning is used.
    ///
    /// # Panics
    /// If there is a NUL in `name`: the kernel's names end there.
    #[track_caller]
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        assert!(!self.name.contains('\0'), "the name of a thread has no NUL in it");
        self
    }

    /// Starts all cores and waits until each has its ring.
    ///
    /// # Errors
    /// [`StartError`], which names cause and cure. Nothing is left running then, but for a blocking job of a
    /// start hook that has not ended 5 s later.
    ///
    /// # Panics
    /// If the clock is to stand ([`start_paused`](Self::start_paused)) and there is to be more than one core.
    #[track_caller]
    pub fn build(self) -> Result<Runtime, StartError> {
        let mask = cpu::start_mask();
        if mask.is_empty() {
            return Err(StartError::NoCpu);
        }
        if fork::is_child() {
            return Err(StartError::Forked);
        }
        fork::mark().map_err(|error| StartError::explain("marking the process for fork", error))?;
        let quota = cpu::quota();
        let (cores, ..) = self.wishes();
        let placement = place(mask, quota, cores, self.pin);
        assert!(
            !self.start_paused || placement.cores.len() == 1,
            "start_paused needs a runtime with one core: leave `cores` out, or say `cores(1)`"
        );
        let (blocks, seats): (Vec<_>, Vec<_>) = placement
            .cores
            .iter()
            .map(|&cpu| core_block(cpu))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| StartError::explain("making a doorbell", error))?
            .into_iter()
            .unzip();
        let later = Later::default();
        let cpus = placement::cpus(mask, quota);
        let shared = Shared::new(blocks.into(), self.config(&later, cpus));
        let pool = self.pool(&later, cpus, &shared);
        let handle = Handle::new(shared, pool, self.make_companion()?);
        later.set(&handle);
        self.start(&handle, &later, seats, &placement)
    }

    /// The companion first and last: cores may need it from their start hooks on.
    fn start(
        &self,
        handle: &Handle,
        later: &Later,
        seats: Vec<Seat>,
        placement: &Placement,
    ) -> Result<Runtime, StartError> {
        if let Some(companion) = handle.companion() {
            companion.start(companion::inside(later));
        }
        let sizes = affordable(self.sizes, placement.cores.len());
        let plan = Plan { handle, sizes, hook: self.on_core_start.as_ref(), name: &self.name };
        core_thread::start_all(&plan, seats, &placement.cores).inspect_err(|_| {
            if let Some(companion) = handle.companion() {
                companion.end(Instant::now() + DROP_PATIENCE);
            }
        })
    }

    fn make_companion(&self) -> Result<Option<Arc<dyn Companion>>, StartError> {
        let make = |make: &companion::Make| make(&self.name);
        self.companion.as_ref().map(make).transpose().map_err(StartError::of_companion)
    }

    /// What is to run beside the runtime; the last one that is said.
    #[cfg(feature = "tokio-context")]
    pub(crate) fn companion(mut self, make: companion::Make) -> Self {
        self.companion = Some(make);
        self
    }

    /// What decides about placement and rings.
    pub(super) fn wishes(&self) -> (Option<usize>, Pin, Sizes) {
        (self.cores.or(self.start_paused.then_some(1)), self.pin, self.sizes)
    }

    fn config(&self, later: &Later, cpus: usize) -> Config {
        let (on_panic, downfall) = self.on_task_panic.arm(later);
        Config {
            appetite: match self.steal {
                Steal::After(idle) => Some(Appetite {
                    threshold: nanos(idle),
                    surplus_young: nanos(SURPLUS_YOUNG),
                    surplus_old: nanos(SURPLUS_OLD),
                }),
                Steal::Never => None,
            },
            poll_budget: POLL_BUDGET,
            quantum: QUANTUM,
            submit_delay: SUBMIT_DELAY,
            spin_window: self.spin_window,
            cpus,
            watchdog: self.watchdog.clone(),
            on_panic,
            downfall,
            start_paused: self.start_paused,
        }
    }

    /// The pool's threads run under the start-up mask and inside the runtime they belong to.
    fn pool(&self, later: &Later, cpus: usize, shared: &Shared) -> Arc<Pool> {
        let later = later.clone();
        let around = Arc::new(move |work: &mut dyn FnMut()| {
            cpu::unpin();
            match later.get() {
                Some(handle) => companion::for_life(handle, work),
                None => work(),
            }
        });
        let mut config = blocking::Config::new(cpus, around);
        config.short_max = self.blocking_threads;
        config.heavy_max = self.heavy_threads.map_or(cpus, |threads| threads.min(cpus));
        config.keep_alive = self.keep_alive;
        // With one CPU nobody is called while he looks.
        config.spin_window = if cpus > 1 { self.spin_window } else { Duration::ZERO };
        config.on_panic = shared.config.on_panic.clone();
        config.clock = shared.clock.clone();
        Arc::new(Pool::new(config))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The sizes of which `cores` rings, each with its pool, fit into the locked memory the process may have.
pub(super) fn affordable(sizes: Sizes, cores: usize) -> Sizes {
    match limits::lockable_memory() {
        Some(limit) => sizes.fitting(limit / cores as u64, &COUNTS),
        None => sizes,
    }
}

/// What a core's thread takes with it, apart from what all see.
pub(super) struct Seat {
    pub(super) queue: queue::Owner<crate::task::Notified>,
    pub(super) bell: Arc<EventFd>,
}

fn core_block(cpu: Option<usize>) -> std::io::Result<(CoreShared, Seat)> {
    let bell = Arc::new(EventFd::new()?);
    let ringer = Arc::clone(&bell);
    let queue = queue::Owner::new();
    let block = CoreShared::new(cpu, queue.stealer(), move || ringer.ring());
    Ok((block, Seat { queue, bell }))
}
