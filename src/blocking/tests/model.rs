//! Random histories of the line and of its queues, checked against the rules at the tops of their files.
//!
//! All that threads of the pool share is the line under its lock, so what they can do to each other is to
//! call its methods in some order. [`Pool`] plays all of them: each step is what one thread does while it
//! holds the lock, and after each step the books are compared with its own.
#![forbid(unsafe_code)]

use super::super::line::{Lane, Line, Summons};
use super::super::queue::{Queue, Turn};
use super::super::sleeper::Sleeper;
use crate::task::{self, Header, JoinHandle, Notified, Request, Schedule, TaskRef};
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Instant;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// Where a job waits, as its abort finds it.
trait Place: Send + 'static {
    fn take_out(&mut self, lane: Lane, job: &Header) -> Option<Turn>;
}

impl Place for Queue {
    fn take_out(&mut self, _: Lane, job: &Header) -> Option<Turn> {
        self.remove(job).map(|waiting| waiting.job)
    }
}

impl Place for Line {
    fn take_out(&mut self, lane: Lane, job: &Header) -> Option<Turn> {
        self.withdraw(lane, job)
    }
}

struct Waits<P>(Arc<Mutex<P>>, Lane);

impl<P> Clone for Waits<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), self.1)
    }
}

impl<P: Place> Schedule for Waits<P> {
    fn schedule(&self, job: Notified) {
        unreachable!("{job:?} is queued from birth");
    }

    fn request(&self, _: Request) {
        unreachable!("jobs are not local");
    }

    fn release(&self, _: &Header) -> Option<TaskRef> {
        None
    }

    fn aborted(&self, job: &Header) {
        let withdrawn = self.0.lock().unwrap().take_out(self.1, job);
        if let Some(job) = withdrawn {
            job.shutdown();
        }
    }
}

fn job<P: Place>(place: &Arc<Mutex<P>>, lane: Lane) -> (Turn, JoinHandle<()>) {
    let waits = Waits(Arc::clone(place), lane);
    let (job, handle) = task::new_unowned(std::future::ready(()), waits, Location::caller());
    (Turn::new(job, None), handle)
}

#[test]
fn a_queue_keeps_the_order_whatever_is_taken_out_of_it() {
    for seed in 1..=20 {
        let mut random = Random(seed);
        let queue = Arc::new(Mutex::new(Queue::new()));
        let mut waiting: Vec<JoinHandle<()>> = Vec::new();
        let mut out = Vec::new();
        // First it mostly grows, then it mostly shrinks.
        for step in 0..4_000 {
            let pushes = if step < 2_000 { 2 } else { 1 };
            let push = random.below(3) < pushes;
            if push {
                let (job, handle) = job(&queue, Lane::Short);
                queue.lock().unwrap().push(job, Instant::now());
                waiting.push(handle);
            } else if random.chance(2) {
                let popped = queue.lock().unwrap().pop();
                let oldest = (!waiting.is_empty()).then(|| waiting.remove(0));
                assert_eq!(
                    popped.as_ref().map(|popped| popped.job.header().id()),
                    oldest.as_ref().map(JoinHandle::id)
                );
                out.extend(popped);
            } else if !waiting.is_empty() {
                let aborted = waiting.remove(random.below(waiting.len()));
                aborted.abort();
                assert!(aborted.is_finished());
            }
            let mut queue = queue.lock().unwrap();
            assert_eq!(queue.len(), waiting.len());
            // What is out is not found, although its place may be another's by now.
            assert!(out.iter().rev().take(8).all(|gone| queue.remove(gone.job.header()).is_none()));
        }
        // The queue has jobs that have the queue.
        while queue.lock().unwrap().pop().is_some() {}
    }
}

/// What a thread does next.
#[derive(Clone, Copy, Debug)]
enum Thread {
    /// The system is asked for it.
    Starting(usize),
    /// Summoned, and on its way to the line.
    Coming(usize),
    /// Has taken a job of this lane.
    AtWork(usize, Lane),
}

impl Thread {
    fn coming(&self) -> Option<usize> {
        if let Self::Coming(number) = self { Some(*number) } else { None }
    }
}

struct Pool {
    random: Random,
    line: Arc<Mutex<Line>>,
    limits: (usize, usize),
    threads: Vec<Thread>,
    /// In the order in which they became idle.
    idle: Vec<usize>,
    /// The one of them that does not sleep yet.
    looks: Option<usize>,
    sleeper: Arc<Sleeper>,
    at_work: Vec<(usize, Turn)>,
    jobs: Vec<JoinHandle<()>>,
    ran: u64,
    /// Whether the system refuses threads now and then, and whether it has.
    refuses: bool,
    refused: bool,
}

impl Pool {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let limits = (1 + random.below(3), 1 + random.below(2));
        Self {
            line: Arc::new(Mutex::new(Line::new(limits.0, limits.1))),
            limits,
            threads: Vec::new(),
            idle: Vec::new(),
            looks: None,
            // Of no CPU, or all threads of the model would seem to need the one this test runs on.
            sleeper: Arc::new(Sleeper::of_this_thread()),
            at_work: Vec::new(),
            jobs: Vec::new(),
            ran: 0,
            refuses: random.chance(2),
            refused: false,
            random,
        }
    }

    fn answer(&mut self, summons: Summons) {
        match summons {
            Summons::None => {}
            Summons::Start(number) => self.threads.push(Thread::Starting(number)),
            // The one that became idle last.
            Summons::Wake(_) => {
                let number = self.idle.pop().expect("an idle thread is woken");
                assert_ne!(self.looks, Some(number), "it is told");
                self.threads.push(Thread::Coming(number));
            }
            Summons::Tell(_) => {
                let number = self.looks.take().expect("a thread that looks is told");
                self.idle.retain(|&idle| idle != number);
                self.threads.push(Thread::Coming(number));
            }
        }
    }

    fn spawn(&mut self) {
        let lane = if self.random.chance(2) { Lane::Heavy } else { Lane::Short };
        let (job, handle) = job(&self.line, lane);
        let pushed = self.line.lock().unwrap().push(lane, job, Instant::now());
        self.jobs.push(handle);
        match pushed {
            Ok(summons) => self.answer(summons),
            Err(job) => job.shutdown(),
        }
    }

    fn abort(&mut self) {
        if !self.jobs.is_empty() {
            let at = self.random.below(self.jobs.len());
            self.jobs[at].abort();
        }
    }

    /// An idle thread has waited long enough.
    fn time_out(&mut self) {
        if !self.idle.is_empty() {
            let number = self.idle.remove(self.random.below(self.idle.len()));
            let mut line = self.line.lock().unwrap();
            assert!(!line.was_summoned(number));
            if self.looks == Some(number) {
                self.looks = None;
                line.fall_asleep(number);
            }
            line.leave(number);
        }
    }

    /// The thread that looks has looked for long enough; it may have been summoned just before.
    fn fall_asleep(&mut self) {
        let number = self.looks.take().or_else(|| self.threads.iter().find_map(Thread::coming));
        if let Some(number) = number {
            self.line.lock().unwrap().fall_asleep(number);
        }
    }

    fn thread_moves(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        let at = self.random.below(self.threads.len());
        match self.threads.swap_remove(at) {
            Thread::Starting(_) if self.refuses && self.random.chance(4) => self.refuse(),
            Thread::Starting(number) => self.threads.push(Thread::Coming(number)),
            Thread::Coming(number) => {
                assert!(self.line.lock().unwrap().was_summoned(number));
                self.line.lock().unwrap().answer();
                self.look(number);
            }
            Thread::AtWork(number, lane) => {
                let at = self.at_work.iter().position(|(worker, _)| *worker == number).unwrap();
                self.at_work.swap_remove(at).1.run();
                self.ran += 1;
                self.line.lock().unwrap().finish(lane);
                self.look(number);
            }
        }
    }

    fn refuse(&mut self) {
        self.refused = true;
        let mut line = self.line.lock().unwrap();
        let summons = line.start_failed();
        let stranded = if line.threads() == 0 { line.drain() } else { Vec::new() };
        drop(line);
        stranded.into_iter().for_each(Turn::shutdown);
        self.answer(summons);
    }

    /// A thread is at the line, under the lock: takes a job, leaves or becomes idle.
    fn look(&mut self, number: usize) {
        let mut line = self.line.lock().unwrap();
        let summons = if let Some((lane, job)) = line.take(Instant::now()) {
            self.threads.push(Thread::AtWork(number, lane));
            self.at_work.push((number, job));
            line.summon()
        } else if line.is_closed() {
            line.leave(number);
            Summons::None
        } else {
            let wants = self.random.chance(2);
            let looks = line.become_idle(number, &self.sleeper, wants);
            assert_eq!(looks, wants && self.looks.is_none(), "one at most, and only who wants to");
            self.looks = looks.then_some(number).or(self.looks);
            self.idle.push(number);
            Summons::None
        };
        drop(line);
        self.answer(summons);
    }

    fn close(&mut self) {
        let (jobs, idle) = self.line.lock().unwrap().close();
        assert_eq!(idle.len(), self.idle.len());
        self.threads.extend(self.idle.drain(..).map(Thread::Coming));
        self.looks = None;
        jobs.into_iter().for_each(Turn::shutdown);
    }

    /// The rules at the top of `line.rs`.
    fn check(&self) {
        let line = self.line.lock().unwrap();
        let (short, heavy) = line.metrics();
        let ready = |lane: &crate::metrics::LaneMetrics| lane.queued.min(lane.limit - lane.running);
        let ready = (ready(&short) + ready(&heavy)) as usize;
        let at_work = self.at_work.len();
        let summoned = self.threads.len() - at_work;
        assert!(
            ready <= summoned || (self.idle.is_empty() && self.refused && !self.threads.is_empty()),
            "{ready} ready, {summoned} summoned, {} idle",
            self.idle.len()
        );
        assert!(short.running as usize <= self.limits.0 && heavy.running as usize <= self.limits.1);
        assert_eq!((line.running(), line.idle()), (at_work, self.idle.len()));
        assert_eq!(line.threads(), self.threads.len() + self.idle.len());
        assert!(line.threads() <= self.limits.0 + self.limits.1);
        let over = self.jobs.iter().filter(|job| job.is_finished()).count() as u64;
        assert_eq!(over + short.queued + heavy.queued + at_work as u64, self.jobs.len() as u64);
        assert_eq!(short.taken + heavy.taken, self.ran + at_work as u64);
    }
}

#[test]
fn no_ready_job_is_without_a_thread_after_any_step() {
    for seed in 1..=400 {
        let mut pool = Pool::new(seed);
        for _ in 0..300 {
            match pool.random.below(9) {
                8 => pool.fall_asleep(),
                0..=1 => pool.spawn(),
                2 => pool.abort(),
                3 => pool.time_out(),
                _ => pool.thread_moves(),
            }
            pool.check();
        }
        pool.close();
        while !pool.threads.is_empty() {
            pool.check();
            pool.spawn();
            pool.thread_moves();
        }
        assert_eq!((pool.line.lock().unwrap().threads(), pool.idle.len()), (0, 0), "seed {seed}");
        assert!(pool.jobs.iter().all(JoinHandle::is_finished), "seed {seed}: a job is stranded");
    }
}
