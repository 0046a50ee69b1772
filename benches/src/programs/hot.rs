//! Many tasks of 50 µs of work, born at once: all in one task of one worker, or as many in a task on each
//! worker. Prints how long it took until all were done and how long each waited for its end, in one line. A
//! twentieth of the tasks goes before, unmeasured.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::send::{Countdown, WORKERS, Workers};
use crate::burn::burn;
use crate::meter::latencies;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::usage::Usage;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
struct HotPlan {
    tasks: usize,
    /// As many tasks are born on each worker.
    is_balanced: bool,
    /// The work of one task, as [`burn`] counts it.
    turns: u64,
}

/// The tasks of one burst and when each ended.
struct Burst {
    begun: Instant,
    turns: u64,
    /// Nanoseconds from birth to end of each task.
    lives: Box<[AtomicU64]>,
    countdown: Arc<Countdown>,
}

/// Works as planned and prints what it cost.
pub(crate) fn run<W: Workers>(plan: &Plan) -> io::Result<()> {
    let plan = HotPlan {
        tasks: plan.need("tasks")?,
        is_balanced: plan.is_set("balanced")?,
        turns: plan.need("turns")?,
    };
    let sample = W::run(async move {
        burst::<W>(HotPlan { tasks: plan.tasks.div_ceil(20), ..plan }).await;
        let (counted, before) = (W::counters(), Usage::own());
        let burst = burst::<W>(plan).await;
        let (wall, after) = (burst.begun.elapsed(), Usage::own());
        let mut latency = latencies();
        for life in &burst.lives {
            latency.saturating_record(life.load(Ordering::Relaxed));
        }
        let mut sample = Sample::new(plan.tasks as u64, wall, after.since(&before), &latency);
        sample.counters = W::counters().zip(counted).map(|(now, then)| now.since(&then));
        sample
    })?;
    sample.print()
}

async fn burst<W: Workers>(plan: HotPlan) -> Arc<Burst> {
    let (countdown, all) = Countdown::new(plan.tasks as u64);
    let lives = (0..plan.tasks).map(|_| AtomicU64::new(0)).collect();
    let burst = Arc::new(Burst { begun: Instant::now(), turns: plan.turns, lives, countdown });
    if plan.is_balanced {
        let share = plan.tasks.div_ceil(WORKERS);
        for worker in 0..WORKERS {
            let (burst, from) = (burst.clone(), worker * share);
            let mine = from..plan.tasks.min(from + share);
            W::start_on(worker, async move { give_birth::<W>(&burst, mine) });
        }
    } else {
        give_birth::<W>(&burst, 0..plan.tasks);
    }
    all.await.expect("the last task sends");
    burst
}

fn give_birth<W: Workers>(burst: &Arc<Burst>, tasks: Range<usize>) {
    for index in tasks {
        let (burst, born) = (burst.clone(), Instant::now());
        W::start(async move {
            burn(burst.turns);
            burst.lives[index].store(born.elapsed().as_nanos() as u64, Ordering::Relaxed);
            burst.countdown.one_is_done();
        });
    }
}
