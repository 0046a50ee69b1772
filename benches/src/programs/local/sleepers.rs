//! Many tasks that sleep, and what each of them needs in memory.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Local, Slot};
use crate::counting;
use crate::meter::latencies;
use crate::plan::Plan;
use crate::report::columns::{HEAP_EACH, MEMORY_BEFORE, MEMORY_EACH};
use crate::sample::Sample;
use crate::usage::Usage;

/// Longer than any turn.
const SLEEP: Duration = Duration::from_secs(3600);

/// Has as many tasks as planned sleep, and prints what they need.
pub(crate) fn sleepers<L: Local>(plan: &Plan) -> io::Result<()> {
    let tasks = plan.need::<u64>("tasks")?;
    let sample = L::run_with_drivers(move || async move {
        let (before, heap, begun) = (Usage::own(), counting::reading(), Instant::now());
        let all = Rc::new((Cell::new(tasks), Slot::new()));
        for _ in 0..tasks {
            let all = all.clone();
            L::start(async move {
                let (awake, asleep) = &*all;
                awake.set(awake.get() - 1);
                if awake.get() == 0 {
                    asleep.send(());
                }
                L::sleep(SLEEP).await;
            });
        }
        all.1.recv().await;
        let (wall, after) = (begun.elapsed(), Usage::own());
        let grown = after.anon_kib.saturating_sub(before.anon_kib) as f64 * 1024.0;
        let allocated =
            counting::reading().zip(heap).map_or(f64::NAN, |((_, now), (_, then))| (now - then) as f64);
        Sample::new(tasks, wall, after.since(&before), &latencies())
            .with(MEMORY_EACH, grown / tasks as f64)
            .with(HEAP_EACH, allocated / tasks as f64)
            .with(MEMORY_BEFORE, before.anon_kib as f64)
    })?;
    sample.print()
}
