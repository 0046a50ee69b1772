//! Work that comes from outside the workers: tasks spawned by other threads, and calls that block. Many do it
//! at once, so it is counted in one place and timed by a thread that sleeps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Workers;
use crate::meter::{Meter, Times, latencies};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::usage::Usage;

/// Tasks that a thread spawns before it waits for all of them.
const BURST: u64 = 64;

/// What all count, and whether it is over.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    is_over: AtomicBool,
}

impl Tally {
    fn add(&self, done: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Sleeps through warm-up and measurement. What was done meanwhile.
    fn measure(&self, times: Times) -> Sample {
        thread::sleep(times.warm);
        let (done, used, begun) = (self.done.load(Ordering::Relaxed), Usage::own(), Instant::now());
        thread::sleep(times.measure);
        let done = self.done.load(Ordering::Relaxed) - done;
        let sample = Sample::new(done, begun.elapsed(), Usage::own().since(&used), &latencies());
        self.is_over.store(true, Ordering::Relaxed);
        sample
    }
}

/// Spawns from as many threads as planned and prints what a task cost.
pub(crate) fn remote<W: Workers>(plan: &Plan) -> io::Result<()> {
    let (threads, times) = (plan.need::<usize>("threads")?, plan.times()?);
    let sample = W::run(async move {
        let (handle, tally) = (W::handle(), Arc::new(Tally::default()));
        let spawning: Vec<_> = (0..threads)
            .map(|_| {
                let (handle, tally) = (handle.clone(), tally.clone());
                W::thread(move || spawn_bursts::<W>(&handle, &tally))
            })
            .collect();
        let (told, telling) = oneshot::channel();
        W::thread(move || {
            let sample = tally.measure(times);
            let ended = spawning.into_iter().all(|thread| thread.join().is_ok());
            // Who asked waits for it.
            let _ = told.send(ended.then_some(sample));
        });
        telling.await
    })?;
    sample.ok().flatten().ok_or_else(|| io::Error::other("a thread has panicked"))?.print()
}

fn spawn_bursts<W: Workers>(handle: &W::Handle, tally: &Tally) {
    let me = thread::current();
    while !tally.is_over() {
        let left = Arc::new(AtomicU64::new(BURST));
        for _ in 0..BURST {
            let (left, me) = (left.clone(), me.clone());
            W::start_from(handle, async move {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    me.unpark();
                }
            });
        }
        while left.load(Ordering::Acquire) > 0 {
            thread::park();
        }
        tally.add(BURST);
    }
}

/// Has as many tasks as planned await one empty blocking call after the other, and prints what a call cost.
pub(crate) fn blocking<W: Workers>(plan: &Plan) -> io::Result<()> {
    let (tasks, times) = (plan.need::<usize>("tasks")?, plan.times()?);
    let sample = W::run(async move {
        let tally = Arc::new(Tally::default());
        let ends: Vec<_> = (0..tasks)
            .map(|_| {
                let (tally, (ended, end)) = (tally.clone(), oneshot::channel());
                W::start(async move {
                    while !tally.is_over() {
                        W::blocking(|| ()).await;
                        tally.add(1);
                    }
                    let _ = ended.send(());
                });
                end
            })
            .collect();
        let (told, telling) = oneshot::channel();
        W::thread(move || {
            // Who asked waits for it.
            let _ = told.send(tally.measure(times));
        });
        let sample = telling.await;
        for end in ends {
            end.await.map_err(|_| io::Error::other("a task has panicked"))?;
        }
        sample.map_err(io::Error::other)
    })??;
    sample.print()
}

/// Starts a runtime, runs an empty task on it and ends it, over and over.
pub(crate) fn start_up<W: Workers>(plan: &Plan) -> io::Result<()> {
    let mut meter = Meter::new(plan.times()?);
    loop {
        let begun = Instant::now();
        W::run(async {})?;
        if !meter.tick(1, Some(begun)) {
            return meter.print();
        }
    }
}
