//! The hot paths: what is done over and over in a stretch that counts.
//!
//! Owns the table of them and what they share. Each is run in a process of its own, on a runtime with one
//! core, for a number of rounds of [`BATCH`] ops. The work around the stretches is arranged so that each run
//! does the same: nobody waits for a time, and where two threads take part, one stands still while the other
//! is counted.

use crate::program::step;
use ringwork::runtime::{Builder, Pin, Runtime, Watchdog};
use std::fs;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

mod block;
mod op;
mod poll;
mod recv;
mod remote;
mod spawn;
mod timer;
mod wake;

/// Ops in a round. No more than the cells that a core keeps for the tasks it will spawn.
const BATCH: usize = 32;
/// At most, on one core.
const POLLS_IN_A_TURN: usize = 128;

/// One of them.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// What one op is.
    pub(crate) what: &'static str,
    /// As few as show all that happens: each instruction costs ten microseconds and more.
    rounds: usize,
    run: fn(&Runtime, usize),
}

impl Path {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Path> {
        ALL.iter().find(|path| path.name == name)
    }

    /// Does [`Path::ops`] ops on `runtime`, in stretches.
    pub(crate) fn run(&self, runtime: &Runtime) {
        (self.run)(runtime, self.rounds);
    }

    pub(crate) fn ops(&self) -> usize {
        self.rounds * BATCH
    }
}

/// All, sorted by name. Paths that live of polls make those of a turn.
pub(crate) const ALL: &[Path] = &[
    path("block-on", 1, block::enter, "a future that is ready is given to block_on"),
    path("forward", 1, recv::forward, "64 bytes that come on one of 32 streams are sent on by another"),
    path("op-alone", 1, op::alone, "a read through the ring, awaited by the only task"),
    path("op-complete", 1, op::complete, "the rest of such a read, one of 32 in a turn"),
    path("op-submit", 1, op::submit, "a read through the ring is made and polled once"),
    path("poll-local", 4, poll::local, "the only task, a local one, yields and is polled"),
    path("poll-send", 4, poll::send, "the same of a Send task"),
    path("read-cached", 1, op::cached, "a read that the page cache answers on the spot"),
    path("recv-pooled", 1, recv::pooled, "64 bytes come in a pooled buffer, on one of 32 streams"),
    path("send", 1, recv::send, "64 bytes are sent on one of 32 streams"),
    path("send-off", 1, recv::send_off, "the same, and nobody waits until they have left"),
    path("spawn-blocking", 1, block::hand_over, "a call is handed to the pool, whose threads are busy"),
    path("spawn-blocking-idle", 1, block::summon, "a call is handed to a thread of the pool that sleeps"),
    path(
        "spawn-join-eager",
        1,
        spawn::join_eager,
        "an empty local task is polled where it is spawned, and joined",
    ),
    path("spawn-join-local", 2, spawn::join_local, "an empty local task is spawned and joined"),
    path("spawn-join-send", 2, spawn::join_send, "an empty Send task is spawned by another and joined"),
    path("spawn-local", 1, spawn::local, "a local task is spawned; no more"),
    path("spawn-remote-local", 1, remote::spawn_local, "a local task is spawned by a thread that is no core"),
    path("spawn-remote-send", 1, remote::spawn_send, "a Send task is spawned by a thread that is no core"),
    path("spawn-send", 1, spawn::send, "a Send task is spawned by another; no more"),
    path("timer-cancel", 1, timer::cancel, "a timer is dropped before its time"),
    path("timer-fire", 1, timer::fire, "a timer fires and wakes, one of 32 of a moment"),
    path("timer-insert", 1, timer::insert, "a timer is made and polled once"),
    path(
        "wake-arrives-local",
        1,
        remote::arrives_local,
        "a local task, one of 32 woken elsewhere, is polled",
    ),
    path("wake-arrives-send", 1, remote::arrives_send, "the same of a Send task"),
    path("wake-doorbell", 1, remote::doorbell, "another thread wakes a local task, whose core sleeps"),
    path("wake-local", 1, wake::local, "a local task is woken on its core"),
    path(
        "wake-remote-local",
        1,
        remote::wake_local,
        "another thread wakes a local task, whose core is awake",
    ),
    path("wake-remote-send", 1, remote::wake_send, "another thread wakes a Send task, whose core is awake"),
    path("wake-send", 1, wake::send, "a Send task is woken by another on its core"),
];

const fn path(name: &'static str, rounds: usize, run: fn(&Runtime, usize), what: &'static str) -> Path {
    Path { name, what, rounds, run }
}

/// The runtime of all paths: its defaults, but for what would act by itself.
pub(crate) fn runtime() -> Runtime {
    // The clock stands (clock.rs): who looks for a while would look for ever.
    let builder = Builder::new().cores(1).pin(Pin::Off).max_blocking_threads(1).spin_window(Duration::ZERO);
    builder.watchdog(Watchdog::Off, Duration::from_secs(1)).build().expect("a runtime starts")
}

/// Runs a local task on the core until its end.
fn on_core<F: Future<Output = ()> + 'static>(runtime: &Runtime, make: impl FnOnce() -> F + Send + 'static) {
    runtime.block_on(runtime.handle().spawn_on(0, make)).expect("the path ends by itself");
}

/// Runs a `Send` task until its end.
fn on_any<F: Future<Output = ()> + Send + 'static>(runtime: &Runtime, path: F) {
    runtime.block_on(runtime.spawn(path)).expect("the path ends by itself");
}

/// Counts what `body` executes.
fn stretch<T>(body: impl FnOnce() -> T) -> T {
    step::begin();
    let output = body();
    step::end();
    output
}

/// The same if it `counts`, else it is only done.
fn stretch_if<T>(counts: bool, body: impl FnOnce() -> T) -> T {
    if counts { stretch(body) } else { body() }
}

/// A count with one writer at a time, which costs no read-modify-write.
#[derive(Debug, Default)]
struct Tally(AtomicU64);

impl Tally {
    fn add_one(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The calling thread, as the kernel knows it.
fn thread_id() -> i32 {
    // SAFETY: a system call without memory.
    unsafe { libc::gettid() }
}

/// Waits until a thread of this process sleeps in the kernel.
fn until_asleep(thread: i32) {
    let file = format!("/proc/self/task/{thread}/stat");
    loop {
        let stat = fs::read_to_string(&file).expect("the thread lives");
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('S'));
        if state.expect("a state follows the name") {
            return;
        }
        std::thread::yield_now();
    }
}
