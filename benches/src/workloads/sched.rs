//! Operations of a scheduler: of tasks that are not `Send` on one thread, of `Send` tasks on two workers,
//! from outside the workers, between two threads, and of whole runtimes: to start and end one, and what
//! many tasks that sleep need in memory.

use std::io;

use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::programs::{CrossOp, LocalOp, SendOp};
use crate::report::columns::{Layout, MEMORY, SCHEDULING, STARTING};
use crate::sample::Sample;

/// Timers that are set at once.
const TIMERS: usize = 1_000_000;
/// Of glommio's task there may be so many wakers (`task/header.rs` of glommio 0.9.0: an `i16`). Here one task
/// polls all timers, and each has a waker of it.
const GLOMMIO_WAKERS: usize = i16::MAX as usize;

/// Threads that spawn, and tasks that block, at a time.
const CONCURRENCY: [usize; 3] = [1, 8, 64];

enum Sched {
    Local(LocalOp),
    Send(SendOp),
    Remote {
        threads: usize,
    },
    Blocking {
        tasks: usize,
    },
    Cross(CrossOp),
    Sleepers {
        tasks: usize,
    },
    /// On one thread, or with two workers.
    Start {
        two: bool,
    },
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let local = LocalOp::ALL
        .map(|op| Workload::new(op.name(), format!("one thread, {}", op.title()), Sched::Local(op)));
    let send = SendOp::ALL
        .map(|op| Workload::new(op.name(), format!("two workers, {}", op.title()), Sched::Send(op)));
    let remote = CONCURRENCY.map(|threads| {
        let title =
            format!("two workers, one of 64 empty tasks spawned at a time, threads that spawn: {threads}");
        Workload::new(format!("remote-{threads}"), title, Sched::Remote { threads })
    });
    let blocking = CONCURRENCY.map(|tasks| {
        let title = format!("two workers, an empty blocking call awaited, tasks that do so: {tasks}");
        Workload::new(format!("blocking-{tasks}"), title, Sched::Blocking { tasks })
    });
    let cross = CrossOp::ALL
        .map(|op| Workload::new(op.name(), format!("two threads, {}", op.title()), Sched::Cross(op)));
    let sleepers = [(10_000, "sleepers-10k"), (100_000, "sleepers-100k")].map(|(tasks, name)| {
        let title = format!("memory of a local task that sleeps, of {tasks}");
        Workload::new(name, title, Sched::Sleepers { tasks })
    });
    let start = [
        ("start-one", "a runtime of one thread", " (smol's reactor thread starts once per process)", false),
        ("start-two", "a runtime of two workers", "", true),
    ]
    .map(|(name, what, but, two)| {
        let title = format!("{what} started, one empty task run, ended{but}");
        Workload::new(name, title, Sched::Start { two })
    });
    local
        .into_iter()
        .chain(send)
        .chain(remote)
        .chain(blocking)
        .chain(cross)
        .chain(sleepers)
        .chain(start)
        .collect()
}

impl Work for Sched {
    fn role(&self) -> &'static str {
        match self {
            Sched::Local(_) => "local",
            Sched::Send(_) => "send",
            Sched::Remote { .. } => "remote",
            Sched::Blocking { .. } => "blocking",
            Sched::Cross(_) => "cross",
            Sched::Sleepers { .. } => "sleepers",
            Sched::Start { two: false } => "start",
            Sched::Start { two: true } => "start-two",
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Sched::Sleepers { .. } => MEMORY,
            Sched::Start { .. } => STARTING,
            _ => SCHEDULING,
        }
    }

    fn impossible(&self, bench: &Bench, peer: &str) -> Option<String> {
        let timers = bench.settings.idle.unwrap_or(TIMERS);
        let is_too_much = matches!(self, Sched::Local(LocalOp::Timers)) && timers >= GLOMMIO_WAKERS;
        (is_too_much && peer.starts_with("glommio")).then(|| {
            format!(
                "it ends with \"Waker invariant broken: … refcount: -32768\", for it counts the wakers of a \
                 task in 16 bits, and one task polls {timers} timers"
            )
        })
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let (both, program, plan) = (bench.cpus.both(), program(self, peer)?, bench.timed());
        let many = bench.settings.idle;
        let one = &both[..1];
        let (cpus, plan) = match self {
            Sched::Local(LocalOp::Timers) => {
                (one, plan.with("op", LocalOp::Timers.name()).with("timers", many.unwrap_or(TIMERS)))
            }
            Sched::Local(op) => (one, plan.with("op", op.name())),
            Sched::Send(op) => (&both[..], plan.with("op", op.name())),
            Sched::Remote { threads } => (&both[..], plan.with("threads", threads)),
            Sched::Blocking { tasks } => (&both[..], plan.with("tasks", tasks)),
            Sched::Cross(op) => (&both[..], plan.with("op", op.name())),
            // Allocations are counted for their bytes; time is not shown.
            Sched::Sleepers { tasks } => (one, plan.with("count", 1).with("tasks", many.unwrap_or(*tasks))),
            Sched::Start { two } => (if *two { &both[..] } else { one }, plan),
        };
        bench.by_itself(program, cpus, plan)
    }
}
