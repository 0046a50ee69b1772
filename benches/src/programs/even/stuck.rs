//! One poll that spawns tasks and then blocks its worker, or does not, at the harness's order: a line
//! `block MS TASKS` or `rest MS TASKS`. The answer is a line when the poll has begun and one when that time
//! is over. It sleeps, and does not spin: the CPU is free for others, only the worker is not. A timer wakes
//! the task: in a real server, too, what blocks was woken by the loop of the worker that it blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Server;
use crate::programs::questions::print;
use crate::programs::send::Workers;
use crate::sample::Culprit;

/// How long the task waits for its timer.
pub(super) const DELAY: Duration = Duration::from_millis(1);

/// What the harness wants.
pub(super) struct Order {
    blocks: bool,
    time: Duration,
    tasks: u64,
}

/// What a task on the first worker does in one poll.
pub(super) struct OnePoll {
    blocks: Option<Duration>,
    tasks: u64,
    run: Arc<AtomicU64>,
    begun: Sender<Instant>,
    /// How many of the tasks have run at the end.
    over: Sender<u64>,
}

impl Order {
    /// The order that a line gives, if it is one.
    pub(super) fn parse(line: &str) -> Option<Order> {
        let [word @ ("block" | "rest"), millis, tasks] = line.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        let (time, tasks) = (Duration::from_millis(millis.parse().ok()?), tasks.parse().ok()?);
        Some(Order { blocks: word == "block", time, tasks })
    }

    /// Says when the poll has begun, and returns at its end, or after the same time if it does not block.
    pub(super) fn carry_out(&self, server: &impl Server) -> Option<Culprit> {
        let (run, (begun, begins), (over, ends)) = (Arc::new(AtomicU64::new(0)), channel(), channel());
        let blocks = self.blocks.then_some(self.time);
        server.start(OnePoll { blocks, tasks: self.tasks, run: run.clone(), begun, over });
        let begun = begins.recv().ok()?;
        print(&"begun");
        let mut tasks_run = ends.recv().ok()?;
        if !self.blocks {
            thread::sleep(self.time.saturating_sub(begun.elapsed()));
            tasks_run = run.load(Ordering::Relaxed);
        }
        let reported_ns = server.told_since(begun).map(|told| (told - begun).as_nanos() as u64);
        Some(Culprit { tasks_run, reported_ns })
    }
}

impl OnePoll {
    /// Awaits the timer, and nothing after that.
    pub(super) async fn run<W: Workers>(self, timer: impl Future<Output = ()>) {
        timer.await;
        // Whoever asked waits for both: it has not gone.
        let _ = self.begun.send(Instant::now());
        for _ in 0..self.tasks {
            let run = self.run.clone();
            W::start(async move {
                run.fetch_add(1, Ordering::Relaxed);
            });
        }
        if let Some(time) = self.blocks {
            thread::sleep(time);
        }
        let _ = self.over.send(self.run.load(Ordering::Relaxed));
    }
}
