//! The workloads, and which peers take part in each.

use std::time::Duration;

use crate::programs::{self, LocalOp, SendOp};

/// What a workload does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Ping-pong of `size` bytes over `connections` connections.
    Echo { size: usize, connections: usize },
    /// The same through a proxy.
    Proxy { size: usize, connections: usize },
    /// Random page-cached 4 KiB reads by `tasks` tasks.
    Read { tasks: usize },
    /// Scheduler operations of local tasks on one thread.
    Local(LocalOp),
    /// The same of `Send` tasks on two workers.
    Send(SendOp),
    /// Tasks of 50 µs, born on one of two workers or evenly on both.
    Hot { is_balanced: bool },
    /// Echo on two workers, evenly loaded at `percent` of what saturates the slowest peer.
    Even { percent: u32 },
    /// The same load on the connections of the last core only, while the first one is blocked, or not, in a
    /// poll that has spawned `tasks`.
    Stuck { percent: f64, tasks: u32 },
}

/// Tasks of the hot workloads, and the work of each.
pub(crate) const HOT_TASKS: usize = 20_000;
pub(crate) const HOT_WORK: Duration = Duration::from_micros(50);

/// Message and connections of the even workloads.
pub(crate) const EVEN_SIZE: usize = 64;
pub(crate) const EVEN_CONNECTIONS: usize = 64;

/// One line of `list`, one table of `compare`.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) work: Work,
}

/// All workloads, in the order in which they run.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "echo-64x1",
        title: "TCP echo, 64 B ping-pong over 1 connection",
        work: Work::Echo { size: 64, connections: 1 },
    },
    Workload {
        name: "echo-64x64",
        title: "TCP echo, 64 B ping-pong over 64 connections",
        work: Work::Echo { size: 64, connections: 64 },
    },
    Workload {
        name: "echo-64x512",
        title: "TCP echo, 64 B ping-pong over 512 connections",
        work: Work::Echo { size: 64, connections: 512 },
    },
    Workload {
        name: "echo-4096x64",
        title: "TCP echo, 4 KiB ping-pong over 64 connections",
        work: Work::Echo { size: 4096, connections: 64 },
    },
    Workload {
        name: "read-4096x32",
        title: "file, random 4 KiB reads from the page cache by 32 tasks",
        work: Work::Read { tasks: 32 },
    },
    Workload {
        name: "proxy-64x64",
        title: "TCP proxy, 64 B ping-pong over 64 connections",
        work: Work::Proxy { size: 64, connections: 64 },
    },
    Workload {
        name: "spawn-join",
        title: "one thread, an empty local task spawned and awaited",
        work: Work::Local(LocalOp::SpawnJoin),
    },
    Workload {
        name: "yield",
        title: "one thread, one local task that yields",
        work: Work::Local(LocalOp::Yield),
    },
    Workload {
        name: "ping-pong",
        title: "one thread, a value goes from one local task to another and back",
        work: Work::Local(LocalOp::PingPong),
    },
    Workload {
        name: "chained-spawn",
        title: "one thread, one of a chain of 1,000 local tasks, each spawned by the one before",
        work: Work::Local(LocalOp::ChainedSpawn),
    },
    Workload {
        name: "spawn-many",
        title: "two workers, one of 10,000 empty Send tasks, spawned by one task",
        work: Work::Send(SendOp::SpawnMany),
    },
    Workload {
        name: "yield-many",
        title: "two workers, one yield of one of 200 Send tasks",
        work: Work::Send(SendOp::YieldMany),
    },
    Workload {
        name: "pair-ping-pong",
        title: "two workers, one of 1,000 pairs of Send tasks: spawned, a value there and back",
        work: Work::Send(SendOp::PairPingPong),
    },
    Workload {
        name: "chained-spawn-send",
        title: "two workers, one of a chain of 1,000 Send tasks, each spawned by the one before",
        work: Work::Send(SendOp::ChainedSpawn),
    },
    Workload {
        name: "hot-core",
        title: "two workers, 20,000 tasks of 50 µs of work, all born in one task",
        work: Work::Hot { is_balanced: false },
    },
    Workload {
        name: "hot-core-balanced",
        title: "two workers, 20,000 tasks of 50 µs of work, half of them born on each worker",
        work: Work::Hot { is_balanced: true },
    },
    Workload {
        name: "even-10",
        title: "TCP echo on two workers, 64 B over 64 connections, at 10 % of saturation",
        work: Work::Even { percent: 10 },
    },
    Workload {
        name: "even-30",
        title: "TCP echo on two workers, 64 B over 64 connections, at 30 % of saturation",
        work: Work::Even { percent: 30 },
    },
    Workload {
        name: "even-70",
        title: "TCP echo on two workers, 64 B over 64 connections, at 70 % of saturation",
        work: Work::Even { percent: 70 },
    },
    Workload {
        name: "stuck-core",
        title: "TCP echo on one of two workers, at 10 % of saturation, the other blocked in a poll or not",
        work: Work::Stuck { percent: 10.0, tasks: 1000 },
    },
    Workload {
        name: "stuck-core-alone",
        title: "the same at 0.1 % of saturation, and the poll spawns nothing before it blocks",
        work: Work::Stuck { percent: 0.1, tasks: 0 },
    },
];

/// Every peer of any workload; a table has its rows in this order. The first is the floor.
pub(crate) const PEERS: &[&str] = &[
    "floor",
    "epoll",
    "pread",
    "tokio",
    "tokio-multi",
    "tokio-multi-stuck",
    "monoio",
    "glommio",
    "compio",
    "ringwork",
    "ringwork-stuck",
    "ringwork-never",
];

/// Ends the name of a peer one of whose workers is blocked.
const STUCK: &str = "-stuck";

impl Workload {
    /// The workload of that name.
    pub(crate) fn find(name: &str) -> Option<&'static Workload> {
        WORKLOADS.iter().find(|w| w.name == name)
    }

    /// One of the workers of `peer` is blocked.
    pub(crate) fn is_stuck(peer: &str) -> bool {
        peer.ends_with(STUCK)
    }

    /// Name of the program that is `peer` here.
    pub(crate) fn program(&self, peer: &str) -> String {
        let work = match self.work {
            Work::Echo { .. } => "echo",
            Work::Proxy { .. } => "proxy",
            Work::Read { .. } => "read",
            Work::Local(_) => "local",
            Work::Send(_) => "send",
            Work::Hot { .. } => "hot",
            Work::Even { .. } => "even",
            // Blocked or not, it is one program.
            Work::Stuck { .. } => return format!("{}_stuck", peer.trim_end_matches(STUCK)),
        };
        format!("{peer}_{work}")
    }

    /// The peers that this build has a program for.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &'static str> {
        PEERS.iter().copied().filter(|peer| programs::find(&self.program(peer)).is_some())
    }
}
