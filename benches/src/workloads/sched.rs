//! Operations of a scheduler: of tasks that are not `Send` on one thread, and of `Send` tasks on two workers.

use std::io;

use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::programs::{LocalOp, SendOp};
use crate::report::columns::{Layout, SCHEDULING};
use crate::sample::Sample;

enum Sched {
    Local(LocalOp),
    Send(SendOp),
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let local = LocalOp::ALL
        .into_iter()
        .map(|op| Workload::new(op.name(), format!("one thread, {}", op.title()), Sched::Local(op)));
    let send = SendOp::ALL
        .into_iter()
        .map(|op| Workload::new(op.name(), format!("two workers, {}", op.title()), Sched::Send(op)));
    local.chain(send).collect()
}

impl Work for Sched {
    fn role(&self) -> &'static str {
        match self {
            Sched::Local(_) => "local",
            Sched::Send(_) => "send",
        }
    }

    fn layout(&self) -> Layout {
        SCHEDULING
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let (cpus, program) = (bench.cpus.both(), program(self, peer)?);
        match self {
            Sched::Local(op) => bench.by_itself(program, &cpus[..1], bench.timed().with("op", op.name())),
            Sched::Send(op) => bench.by_itself(program, &cpus, bench.timed().with("op", op.name())),
        }
    }
}
