//! Scheduler operations of `Send` tasks, on two workers. The operations are written once (`ops.rs`), with
//! tokio's oneshot, which works on any executor; a peer's file says how its runtime is started and how it
//! spawns and yields. The code that measures is itself a task on a worker: what `block_on` polls is not, and
//! each task that it spawns would have to cross threads.

mod countdown;
mod ops;
mod outside;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
pub(crate) mod tokio;

use std::io;
use std::str::FromStr;
use std::thread;

use crate::meter::Meter;
use crate::plan::Plan;
use crate::sample::Counters;

pub(crate) use countdown::Countdown;
pub(crate) use outside::{blocking, remote, start_up};

/// Workers of each runtime.
pub(crate) const WORKERS: usize = 2;

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendOp {
    /// One of 10,000 tasks that only count themselves; the last one wakes the task that spawned them.
    SpawnMany,
    /// One of the 1,000 yields of one of 200 tasks.
    YieldMany,
    /// One of 1,000 pairs of tasks: the first spawns the second, sends to it and awaits its answer.
    PairPingPong,
    /// One of a chain of 1,000 tasks, each spawned by the one before.
    ChainedSpawn,
}

impl SendOp {
    pub(crate) const ALL: [SendOp; 4] =
        [SendOp::SpawnMany, SendOp::YieldMany, SendOp::PairPingPong, SendOp::ChainedSpawn];

    /// As it is written behind `op=`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SendOp::SpawnMany => "spawn-many",
            SendOp::YieldMany => "yield-many",
            SendOp::PairPingPong => "pair-ping-pong",
            SendOp::ChainedSpawn => "chained-spawn-send",
        }
    }
}

impl SendOp {
    /// What one op is.
    pub(crate) fn title(self) -> &'static str {
        match self {
            SendOp::SpawnMany => "one of 10,000 empty Send tasks, spawned by one task",
            SendOp::YieldMany => "one yield of one of 200 Send tasks",
            SendOp::PairPingPong => "one of 1,000 pairs of Send tasks: spawned, a value there and back",
            SendOp::ChainedSpawn => "one of a chain of 1,000 Send tasks, each spawned by the one before",
        }
    }
}

impl FromStr for SendOp {
    type Err = String;

    fn from_str(name: &str) -> Result<SendOp, String> {
        let unknown = || format!("{name} is no operation of Send tasks");
        SendOp::ALL.into_iter().find(|op| op.name() == name).ok_or_else(unknown)
    }
}

/// A runtime of [`WORKERS`] workers that may move tasks between them.
pub(crate) trait Workers: 'static {
    /// Runs `load` as a task on a worker and ends the runtime.
    fn run<T: Send + 'static>(load: impl Future<Output = T> + Send + 'static) -> io::Result<T>;

    /// Spawns a task that nobody awaits.
    fn start(future: impl Future<Output = ()> + Send + 'static);

    /// The same on the worker of that number, as far as the runtime lets one choose.
    fn start_on(worker: usize, future: impl Future<Output = ()> + Send + 'static);

    /// By which a thread that is no worker spawns.
    type Handle: Clone + Send + 'static;

    /// That of the runtime this thread is in.
    fn handle() -> Self::Handle;

    /// Spawns a task from wherever this is called.
    fn start_from(handle: &Self::Handle, future: impl Future<Output = ()> + Send + 'static);

    /// Starts a thread that is no worker, as the runtime's documentation says to.
    fn thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
        thread::spawn(run)
    }

    /// Runs a call that may block, and waits for it.
    fn blocking(call: impl FnOnce() + Send + 'static) -> impl Future<Output = ()> + Send;

    /// Lets other tasks run.
    fn yield_now() -> impl Future<Output = ()> + Send;

    /// What the runtime this thread is in has counted so far, if it counts.
    fn counters() -> Option<Counters>;
}

/// Does `op` over and over for as long as planned and prints what it cost.
pub(crate) fn run<W: Workers>(plan: &Plan) -> io::Result<()> {
    let (op, times) = (plan.need("op")?, plan.times()?);
    let meter = W::run(async move {
        let mut meter = Meter::new(times);
        match op {
            SendOp::SpawnMany => ops::spawn_many::<W>(&mut meter).await,
            SendOp::YieldMany => ops::yield_many::<W>(&mut meter).await,
            SendOp::PairPingPong => ops::pair_ping_pong::<W>(&mut meter).await,
            SendOp::ChainedSpawn => ops::chained_spawn::<W>(&mut meter).await,
        }
        meter
    })?;
    meter.print()
}
