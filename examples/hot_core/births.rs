//! Tasks that compute: all born at once, on one core or evenly on all.

use crate::burn::Work;
use crate::result::Outcome;
use ringwork::runtime::Runtime;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// What the tasks of a run share.
struct Run {
    start: Instant,
    /// From birth to end, in nanoseconds; one place for each task.
    waits: Box<[AtomicU64]>,
    left: AtomicUsize,
    over: Sender<Duration>,
}

impl Run {
    fn ended(&self, number: usize, born: Instant) {
        self.waits[number].store(born.elapsed().as_nanos() as u64, Ordering::Relaxed);
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.over.send(self.start.elapsed());
        }
    }
}

pub(crate) fn run(runtime: &Runtime, tasks: usize, balanced: bool, work: Work) -> io::Result<Outcome> {
    let (over, end) = channel();
    let run = Arc::new(Run {
        start: Instant::now(),
        waits: (0..tasks).map(|_| AtomicU64::new(0)).collect(),
        left: AtomicUsize::new(tasks),
        over,
    });
    let parents = if balanced { runtime.handle().cores() } else { 1 };
    for core in 0..parents {
        let run = Arc::clone(&run);
        let mine = (core * tasks / parents)..((core + 1) * tasks / parents);
        drop(runtime.handle().spawn_on(core, move || async move {
            for number in mine {
                let (run, born) = (Arc::clone(&run), Instant::now());
                drop(ringwork::spawn(async move {
                    work.burn();
                    run.ended(number, born);
                }));
            }
        }));
    }
    let makespan = end.recv().map_err(io::Error::other)?;
    let waits = run.waits.iter().map(|wait| wait.load(Ordering::Relaxed)).collect();
    Ok(Outcome { makespan, waits })
}
