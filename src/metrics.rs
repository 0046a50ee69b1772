//! L1: what a core counts about itself, and the snapshot users see.
//!
//! Owns one block of counters per core. Each counter has one writer, its core, which adds with a plain load
//! and store; anyone may read. On by default and never switched off. It does not sample, time or aggregate.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Owner only: adds without a read-modify-write.
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Owner only: sets a level.
    #[inline(always)]
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Any thread: adds atomically, for the few counters that several threads write.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters of one core.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
        }

        impl Counters {
            /// What the counters say now.
            pub(crate) fn snapshot(&self) -> CoreMetrics {
                CoreMetrics { $($name: self.$name.get(),)* }
            }
        }

        /// One core's counters at one moment. Counts since the core started, unless said otherwise.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct CoreMetrics {
            $($(#[$doc])* pub $name: u64,)*
        }
    };
}

counters! {
    /// Tasks polled.
    polls,
    /// Calls of `io_uring_enter`.
    enters,
    /// Enters that the kernel asked to repeat (interrupted, overflowed, short of memory).
    enter_retries,
    /// Submissions the kernel took.
    sqes,
    /// Completions seen.
    cqes,
    /// Reads of files that the page cache answered on the spot, without an op.
    cached_reads,
    /// Tasks woken by this core for itself.
    wakes_local,
    /// Tasks that came through the inbox.
    wakes_remote,
    /// Times this core's doorbell was rung.
    doorbells,
    /// Times this core parked.
    parks,
    /// Times this core looked for a moment whether somebody calls, before it parked or instead.
    spins,
    /// Searches of other cores' queues.
    searches,
    /// Searches that found something.
    steals,
    /// Tasks taken from other cores.
    tasks_stolen,
    /// Times this core rang a hungry one for its surplus.
    hungry_wakes,
    /// Tasks moved to the injector because the steal queue was full.
    overflows,
    /// Tasks spawned by this core for itself.
    spawns,
    /// Tasks spawned for this core by other threads.
    spawns_remote,
    /// Tasks alive that were spawned here (a level).
    tasks,
    /// Depth of the local queue (a level).
    local_depth,
    /// Depth of the background queue (a level).
    background_depth,
    /// Depth of the steal queue (a level).
    steal_depth,
    /// Ops in flight (a level).
    in_flight,
    /// Timers set (a level).
    timers,
    /// Provided buffers the kernel has (a level).
    pool_available,
    /// Provided buffers in all.
    pool_buffers,
    /// Times accepting paused here because no descriptor, or no memory for a socket, was left.
    accept_pauses,
    /// Receives that used a heap buffer because the pool was empty.
    pool_misses,
    /// Times the kernel found the pool empty.
    pool_starved,
}

impl Counters {
    /// Owner only: the core is gone, and its levels with it; ops that were leaked stay visible.
    pub(crate) fn show_levels_at_end(&self, leaked_ops: u64) {
        self.in_flight.set(leaked_ops);
        for level in [&self.local_depth, &self.background_depth, &self.steal_depth, &self.timers] {
            level.set(0);
        }
    }
}

/// One lane of the blocking pool at one moment: the short jobs of `spawn_blocking`, or the heavy ones of
/// `spawn_heavy`. Counts since the runtime started, unless said otherwise.
///
/// `wait_total_ns / taken` is how long jobs wait on average; what has been taken between two snapshots, and
/// how long that waited, are the differences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneMetrics {
    /// Jobs that may be run at once.
    pub limit: u64,
    /// Jobs that are being run (a level).
    pub running: u64,
    /// Jobs that wait for a thread (a level).
    pub queued: u64,
    /// Jobs that a thread has taken.
    pub taken: u64,
    /// Jobs that ended before their turn: aborted, or gone with the runtime.
    pub cancelled: u64,
    /// Nanoseconds from spawn to take of all jobs taken.
    pub wait_total_ns: u64,
    /// Nanoseconds from spawn to take of the job that waited longest.
    pub wait_longest_ns: u64,
}

/// The counters of all cores and of the blocking pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Per core, in core order.
    pub cores: Vec<CoreMetrics>,
    /// Tasks waiting in the injector.
    pub injector_depth: u64,
    /// Threads of the blocking pool.
    pub blocking_threads: u64,
    /// Idle threads of the blocking pool.
    pub blocking_idle: u64,
    /// Jobs waiting for a thread of the blocking pool, in both lanes.
    pub blocking_queued: u64,
    /// The blocking pool's calls that block.
    pub blocking_short: LaneMetrics,
    /// The blocking pool's calls that compute.
    pub blocking_heavy: LaneMetrics,
}
