//! Scheduler operations of tasks that are not `Send`, on one thread. The operations are written once
//! (`ops.rs`), over the one primitive of `slot.rs`; a peer's file says how its runtime is started and how it
//! spawns and yields. So peers differ in their schedulers and wakers and in nothing else. The code that
//! measures is itself a local task of the runtime: what runs inside `block_on` is on some runtimes no task.

pub(crate) mod compio;
pub(crate) mod glommio;
pub(crate) mod monoio;
mod ops;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
mod sleepers;
mod slot;

pub(crate) mod smol;
pub(crate) mod tokio;

use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::meter::Meter;
use crate::plan::Plan;

pub(crate) use sleepers::sleepers;
pub(crate) use slot::Slot;

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalOp {
    /// An empty task is spawned and its handle awaited.
    SpawnJoin,
    /// A task yields.
    Yield,
    /// A value goes from one task to another and back: two wakes.
    PingPong,
    /// One of a chain of tasks, each spawned by the one before; the last one wakes the task that measures.
    ChainedSpawn,
    /// One of many timers, all set and then all dropped before they are due.
    Timers,
}

impl LocalOp {
    pub(crate) const ALL: [LocalOp; 5] =
        [LocalOp::SpawnJoin, LocalOp::Yield, LocalOp::PingPong, LocalOp::ChainedSpawn, LocalOp::Timers];

    /// As it is written behind `op=`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LocalOp::SpawnJoin => "spawn-join",
            LocalOp::Yield => "yield",
            LocalOp::PingPong => "ping-pong",
            LocalOp::ChainedSpawn => "chained-spawn",
            LocalOp::Timers => "timers",
        }
    }
}

impl LocalOp {
    /// What one op is.
    pub(crate) fn title(self) -> &'static str {
        match self {
            LocalOp::SpawnJoin => "an empty local task spawned and awaited",
            LocalOp::Yield => "one local task that yields",
            LocalOp::PingPong => "a value goes from one local task to another and back",
            LocalOp::ChainedSpawn => "one of a chain of 1,000 local tasks, each spawned by the one before",
            LocalOp::Timers => "one of 1,000,000 timers, all set, then all dropped before they are due",
        }
    }
}

impl FromStr for LocalOp {
    type Err = String;

    fn from_str(name: &str) -> Result<LocalOp, String> {
        let unknown = || format!("{name} is no operation of local tasks");
        LocalOp::ALL.into_iter().find(|op| op.name() == name).ok_or_else(unknown)
    }
}

/// A runtime of one thread, as the operations use it.
pub(crate) trait Local: 'static {
    /// What awaiting a task gives.
    type Joined;

    /// Makes a future on the runtime's thread, runs it there as a local task, and ends the runtime.
    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static;

    /// The same on a runtime with all its drivers, where they are optional: tasks sleep, and other threads
    /// wake them.
    fn run_with_drivers<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        Self::run(make)
    }

    /// Starts a runtime with all its drivers, runs an empty local task on it and ends it.
    fn start_and_end() -> io::Result<()> {
        Self::run_with_drivers(|| async {})
    }

    /// Sleeps.
    fn sleep(time: Duration) -> impl Future<Output = ()> + 'static;

    /// Spawns a local task that is awaited.
    fn spawn(future: impl Future<Output = ()> + 'static) -> impl Future<Output = Self::Joined>;

    /// Spawns a local task that nobody awaits.
    fn start(future: impl Future<Output = ()> + 'static);

    /// Lets other tasks run: the runtime's own way, [`yield_once`] if it has none.
    fn yield_now() -> impl Future<Output = ()>;
}

/// Does `op` over and over for as long as planned and prints what it cost.
pub(crate) fn run<L: Local>(plan: &Plan) -> io::Result<()> {
    let (op, times, timers) = (plan.need("op")?, plan.times()?, plan.value_or("timers", 1_000_000)?);
    let measure = move || async move {
        let mut meter = Meter::new(times);
        match op {
            LocalOp::SpawnJoin => ops::spawn_join::<L>(&mut meter).await,
            LocalOp::Yield => ops::yields::<L>(&mut meter).await,
            LocalOp::PingPong => ops::ping_pong::<L>(&mut meter).await,
            LocalOp::ChainedSpawn => ops::chained_spawn::<L>(&mut meter).await,
            LocalOp::Timers => ops::timers::<L>(&mut meter, timers).await,
        }
        meter
    };
    // The drivers would be in the way of those that need none.
    let meter = if op == LocalOp::Timers { L::run_with_drivers(measure) } else { L::run(measure) };
    meter?.print()
}

/// Starts a runtime, runs an empty task and ends the runtime, over and over.
pub(crate) fn start_up<L: Local>(plan: &Plan) -> io::Result<()> {
    let mut meter = Meter::new(plan.times()?);
    loop {
        let begun = Instant::now();
        L::start_and_end()?;
        if !meter.tick(1, Some(begun)) {
            return meter.print();
        }
    }
}

/// Wakes its own task and pends once: `yield_now` of the runtimes that have none.
pub(crate) fn yield_once() -> YieldOnce {
    YieldOnce { yielded: false }
}

/// The future of [`yield_once`].
pub(crate) struct YieldOnce {
    yielded: bool,
}

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
