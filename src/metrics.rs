//! L1: what a core counts about itself, and the snapshot users see.
//!
//! Owns one block of counters per core. Each counter has one writer, its core, which adds with a plain load
//! and store; the one that other threads add to stands apart. Anyone may read. On by default and never
//! switched off. It does not sample, time or aggregate.
#![forbid(unsafe_code)]

use crate::base::apart::Apart;
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

    /// The value now.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter of which several threads are the writers.
#[derive(Debug, Default)]
pub(crate) struct SharedCounter(Apart<AtomicU64>);

impl SharedCounter {
    /// Any thread: adds atomically.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $kind:ident),* $(,)?) => {
        /// The counters of one core.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: $kind,)*
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
    polls: Counter,
    /// Calls of `io_uring_enter`.
    enters: Counter,
    /// Enters that the kernel asked to repeat (interrupted, overflowed, short of memory).
    enter_retries: Counter,
    /// Submissions the kernel took.
    sqes: Counter,
    /// Completions seen.
    cqes: Counter,
    /// Reads of files that the page cache answered on the spot, without an op.
    cached_reads: Counter,
    /// Messages that their socket took on the spot, without an op.
    sends_on_the_spot: Counter,
    /// Tasks that this core queued for itself: those that it woke, and `Send` tasks that it spawned.
    wakes_local: Counter,
    /// Tasks that came through the inbox.
    wakes_remote: Counter,
    /// Times this core's doorbell was rung.
    doorbells: Counter,
    /// Times this core parked.
    parks: Counter,
    /// Times this core looked for a moment whether somebody calls, before it parked or instead.
    spins: Counter,
    /// Searches of other cores' queues.
    searches: Counter,
    /// Times this core took tasks of another one: by a search, or because that one is stuck. So there may be
    /// more of them than searches.
    steals: Counter,
    /// Tasks taken from other cores.
    tasks_stolen: Counter,
    /// Times this core rang a hungry one for its surplus.
    hungry_wakes: Counter,
    /// Tasks moved to the injector because the steal queue was full.
    overflows: Counter,
    /// Tasks that began here and were spawned by this core, or were made for it: by `spawn_on`, by
    /// `Handle::call`, as `main`.
    spawns: Counter,
    /// `Send` tasks that other threads spawned and this core was given.
    spawns_remote: SharedCounter,
    /// Tasks alive that were spawned here (a level).
    tasks: Counter,
    /// Depth of the local queue (a level).
    local_depth: Counter,
    /// Depth of the background queue (a level).
    background_depth: Counter,
    /// Depth of the steal queue (a level).
    steal_depth: Counter,
    /// Ops in flight (a level).
    in_flight: Counter,
    /// Timers set (a level).
    timers: Counter,
    /// Provided buffers for messages that nobody has (a level). The kernel gets more of them as turns need
    /// more.
    pool_available: Counter,
    /// Provided buffers for messages in all: 8 KiB each.
    pool_buffers: Counter,
    /// Provided buffers for bulk that nobody has (a level). The kernel gets some of them, as many as are
    /// needed at a time.
    pool_large_available: Counter,
    /// Provided buffers for bulk in all, 64 KiB each; 0 if there was no locked memory to register them.
    pool_large_buffers: Counter,
    /// Times accepting paused here because no descriptor, or no memory for a socket, was left.
    accept_pauses: Counter,
    /// Receives by this core into a heap buffer, because the kernel had too few others, or the receive before
    /// had found none.
    pool_misses: Counter,
    /// Times the kernel found no buffer for messages.
    pool_starved: Counter,
    /// Times the kernel found no buffer for bulk. It has no more than are needed at a time: up to about one
    /// in sixteen receives of bulk is normal.
    pool_large_starved: Counter,
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
