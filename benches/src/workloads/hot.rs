//! Tasks of 50 µs of work, born at once on one of two workers or evenly on both.

use std::io;
use std::time::Duration;

use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::burn;
use crate::plan::Plan;
use crate::report::columns::{BURST, Layout};
use crate::sample::Sample;

/// Tasks of a burst, and the work of each.
const TASKS: usize = 20_000;
const WORK: Duration = Duration::from_micros(50);

struct Hot {
    is_balanced: bool,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |(name, born, is_balanced)| {
        let title = format!("two workers, 20,000 tasks of 50 µs of work, {born}");
        Workload::new(name, title, Hot { is_balanced })
    };
    [
        ("hot-core", "all born in one task", false),
        ("hot-core-balanced", "half of them born on each worker", true),
    ]
    .map(one)
    .into()
}

impl Work for Hot {
    fn role(&self) -> &'static str {
        "hot"
    }

    fn layout(&self) -> Layout {
        BURST
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        // The same work for all peers and rounds.
        let turns = bench.once("turns of 50 µs", |_| Ok(burn::turns_for(WORK) as f64))?;
        let plan = Plan::default()
            .with("tasks", bench.settings.tasks.unwrap_or(TASKS))
            .with("balanced", u8::from(self.is_balanced))
            .with("turns", turns);
        let cpus = bench.cpus.both();
        bench.by_itself(program(self, peer)?, &cpus, plan)
    }
}
