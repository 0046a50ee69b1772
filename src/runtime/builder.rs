//! How a runtime is made.
#![forbid(unsafe_code)]

use super::core_thread::{self, Plan};
use super::current;
use super::error::StartError;
use super::handle::{Handle, Runtime};
use super::placement::place;
use crate::base::inbox::Inbox;
use crate::blocking::{self, Pool};
use crate::metrics::Counters;
use crate::ring::pool::BUFFERS;
use crate::ring::setup::Sizes;
use crate::sched::idle::{Appetite, Idleness};
use crate::sched::watchdog::{self, Watchdog};
use crate::sched::{Config, CoreShared, Running, Shared, queue};
use crate::sys::eventfd::EventFd;
use crate::sys::{cpu, fork, limits};
use crate::task::OwnedTasks;
use std::any::Any;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Whether cores are pinned to CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pin {
    /// One core to one CPU, if the process may use its whole mask; else not.
    #[default]
    Auto,
    /// One core to one CPU.
    Each,
    /// The kernel places the threads.
    Off,
}

/// Whether `Send` tasks may move to another core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Steal {
    /// To a core that has been idle for this long.
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
    sizes: Sizes,
    blocking_threads: usize,
    on_core_start: Option<Hook>,
    watchdog: watchdog::Config,
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
            sizes: Sizes::DEFAULT,
            blocking_threads: blocking::Config::THREADS_MAX,
            on_core_start: None,
            watchdog: watchdog::Config { what: Watchdog::Log, after: STUCK_AFTER },
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

    /// Submission entries of each core's ring, rounded up to a power of two; completions get four times as
    /// many. If locked memory is short, less is taken (down to 32).
    pub fn ring_entries(mut self, entries: u32) -> Self {
        let sq = entries.clamp(Sizes::MIN.sq, 16_384).next_power_of_two();
        self.sizes = Sizes { sq, cq: sq * 4 };
        self
    }

    /// The most threads of the blocking pool (default 512; they are started as needed and end when idle for
    /// 10 s).
    ///
    /// # Panics
    /// If `threads` is zero.
    #[track_caller]
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        assert!(threads > 0, "a blocking pool has at least one thread");
        self.blocking_threads = threads;
        self
    }

    /// Called on each core's thread with its number, before it runs anything. A panic in it fails `build`.
    pub fn on_core_start(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_core_start = Some(Arc::new(hook));
        self
    }

    /// What happens when a core is stuck in one poll (default: a `tracing` event of level WARN after 100
    /// ms).
    ///
    /// A report names the core, its thread, the task and where it was spawned. It comes between `after` and
    /// some 20 ms later, again whenever the same poll has become twice as old, and about other polls of that
    /// core at most once a second.
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

    /// What the threads are called: cores are `NAME-core-N`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts all cores and waits until each has its ring.
    ///
    /// # Errors
    /// [`StartError`], which names cause and cure. Nothing is left running then.
    pub fn build(self) -> Result<Runtime, StartError> {
        let mask = cpu::start_mask();
        if mask.is_empty() {
            return Err(StartError::NoCpu);
        }
        if fork::is_child() {
            return Err(StartError::Forked);
        }
        fork::mark().map_err(|error| StartError::explain("marking the process for fork", error))?;
        let placement = place(mask, cpu::quota(), self.cores, self.pin);
        let (blocks, seats): (Vec<_>, Vec<_>) = placement
            .cores
            .iter()
            .map(|&cpu| core_block(cpu))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| StartError::explain("making a doorbell", error))?
            .into_iter()
            .unzip();
        let shared = Shared::new(blocks.into(), self.config());
        let pool = self.pool(&shared, mask.len());
        let handle = Handle::new(shared, pool);
        let sizes = affordable(self.sizes, placement.cores.len());
        let plan = Plan { handle: &handle, sizes, hook: self.on_core_start.as_ref(), name: &self.name };
        core_thread::start_all(&plan, seats, &placement.cores)
    }

    /// What decides about placement and rings.
    pub(super) fn wishes(&self) -> (Option<usize>, Pin, Sizes) {
        (self.cores, self.pin, self.sizes)
    }

    fn config(&self) -> Config {
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
            watchdog: self.watchdog.clone(),
        }
    }

    /// The pool's threads run under the start-up mask and inside the runtime they belong to.
    fn pool(&self, shared: &Arc<Shared>, cpus: usize) -> Arc<Pool> {
        let handle: Arc<OnceLock<std::sync::Weak<Pool>>> = Arc::default();
        let (shared, own) = (Arc::downgrade(shared), Arc::clone(&handle));
        let start = Arc::new(move || -> Box<dyn Any> {
            cpu::unpin();
            let pool = own.get().and_then(std::sync::Weak::upgrade);
            match (shared.upgrade(), pool) {
                (Some(shared), Some(pool)) => Box::new(current::enter(Handle::new(shared, pool))),
                _ => Box::new(()),
            }
        });
        let mut config = blocking::Config::new(cpus, start);
        config.threads_max = self.blocking_threads;
        let pool = Arc::new(Pool::new(config));
        let _ = handle.set(Arc::downgrade(&pool));
        pool
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The sizes of which `cores` rings, each with its pool, fit into the locked memory the process may have.
pub(super) fn affordable(sizes: Sizes, cores: usize) -> Sizes {
    match limits::lockable_memory() {
        Some(limit) => sizes.fitting(limit / cores as u64, BUFFERS),
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
    let block = CoreShared {
        inbox: Arc::new(Inbox::new(Box::new(move || ringer.ring()))),
        stealer: queue.stealer(),
        owned: OwnedTasks::new(),
        counters: Arc::new(Counters::default()),
        idle: Idleness::new(),
        running: Running::default(),
        cpu,
        mark: OnceLock::new(),
        thread: AtomicU64::new(0),
    };
    Ok((block, Seat { queue, bell }))
}
