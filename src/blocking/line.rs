//! The line in front of the blocking pool: who waits, who works, and who has to be called.
//!
//! Owns [`Line`], the pool's book-keeping under its one lock, and nothing that runs: it is plain data, and
//! its one rule is the invariant below. Starting and waking threads is `pool.rs`.
//!
//! # Never a job without a thread
//! A job is *ready* if a thread that came by could take it: if it waits, and fewer jobs of its lane are being
//! run than may be. A thread is *summoned* from the moment somebody decides to wake or start it until it
//! looks at the line. Whenever the lock is free: **ready jobs ≤ summoned threads, or no thread is idle and
//! one could not be started.** Each change that could break this is followed by [`Line::summon`]; busy
//! threads need no call, because they look at the line before they become idle. A thread leaves for good
//! under the lock, and only if it was idle and not summoned. If the last start is refused and no thread is
//! left, the jobs that relied on it are given back to be ended.
//!
//! There is no bound on threads beside the lanes' own: with as many threads as both lanes may use, all at
//! work, nothing is ready. So no heavy job keeps a short one waiting, nor the other way round.
//!
//! A thread that looks for work before it sleeps is the first to be called. Else it is the last thread that
//! has become idle: its caches are warm, and those at the bottom grow old enough to leave.
//!
//! `tests/model.rs` holds the invariant against random histories, step by step: under one lock, what threads
//! can do to each other is to interleave these methods.
#![forbid(unsafe_code)]

use super::queue::{Queue, Turn};
use super::sleeper::Sleeper;
use crate::metrics::LaneMetrics;
use crate::task::Header;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a job is, to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Uses a CPU throughout.
    Heavy,
    /// Mostly waits.
    Short,
}

/// A thread that waits for work.
#[derive(Debug)]
struct Idle {
    number: usize,
    sleeper: Arc<Sleeper>,
    /// It does not sleep yet.
    looks: bool,
}

/// What a change of the line asks for.
#[must_use = "a summoned thread must be woken or started"]
#[derive(Debug)]
pub(super) enum Summons {
    /// All is well.
    None,
    /// Start a thread with this number, which no other one has had.
    Start(usize),
    /// Wake this thread.
    Wake(Arc<Sleeper>),
    /// Tell this thread, which looks for work: it is awake.
    Tell(Arc<Sleeper>),
}

/// The books of one lane.
#[derive(Debug)]
struct Book {
    waiting: Queue,
    running: usize,
    /// How many may be running.
    limit: usize,
    taken: u64,
    cancelled: u64,
    waited: Duration,
    waited_longest: Duration,
}

impl Book {
    fn new(limit: usize) -> Self {
        Self {
            waiting: Queue::new(),
            running: 0,
            limit,
            taken: 0,
            cancelled: 0,
            waited: Duration::ZERO,
            waited_longest: Duration::ZERO,
        }
    }

    fn ready(&self) -> usize {
        self.waiting.len().min(self.limit - self.running)
    }

    fn take(&mut self, now: Instant) -> Option<Turn> {
        if self.ready() == 0 {
            return None;
        }
        let next = self.waiting.pop()?;
        // A job that came after the clock was read has not waited.
        let waited = now.saturating_duration_since(next.since);
        self.taken += 1;
        self.waited += waited;
        self.waited_longest = self.waited_longest.max(waited);
        self.running += 1;
        Some(next.job)
    }

    fn drain(&mut self) -> impl Iterator<Item = Turn> {
        self.cancelled += self.waiting.len() as u64;
        let mut waiting = std::mem::replace(&mut self.waiting, Queue::new());
        std::iter::from_fn(move || Some(waiting.pop()?.job))
    }

    fn metrics(&self) -> LaneMetrics {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        LaneMetrics {
            limit: self.limit as u64,
            running: self.running as u64,
            queued: self.waiting.len() as u64,
            taken: self.taken,
            cancelled: self.cancelled,
            wait_total_ns: nanoseconds(self.waited),
            wait_longest_ns: nanoseconds(self.waited_longest),
        }
    }
}

/// The book-keeping of a pool.
#[derive(Debug)]
pub(super) struct Line {
    short: Book,
    heavy: Book,
    /// Both lanes have a ready job: which is next.
    next: Lane,
    idle: Vec<Idle>,
    summoned: usize,
    /// Threads that take jobs, or will.
    threads: usize,
    numbers: usize,
    closed: bool,
}

impl Line {
    /// An open line without threads, for so many jobs of each lane at a time.
    pub(super) fn new(short_max: usize, heavy_max: usize) -> Self {
        Self {
            short: Book::new(short_max),
            heavy: Book::new(heavy_max),
            next: Lane::Short,
            idle: Vec::new(),
            summoned: 0,
            threads: 0,
            numbers: 0,
            closed: false,
        }
    }

    /// Adds a job at the end of its lane.
    ///
    /// # Errors
    /// The job, if the line is closed.
    pub(super) fn push(&mut self, lane: Lane, job: Turn, now: Instant) -> Result<Summons, Turn> {
        if self.closed {
            return Err(job);
        }
        self.book(lane).waiting.push(job, now);
        Ok(self.summon())
    }

    /// Takes a job that was aborted out of the line; nothing if a thread has it already.
    pub(super) fn withdraw(&mut self, lane: Lane, job: &Header) -> Option<Turn> {
        let book = self.book(lane);
        let withdrawn = book.waiting.remove(job)?;
        book.cancelled += 1;
        Some(withdrawn.job)
    }

    /// A thread: the next job. The thread is at work from here to [`finish`](Self::finish).
    pub(super) fn take(&mut self, now: Instant) -> Option<(Lane, Turn)> {
        let lane = match (self.short.ready() > 0, self.heavy.ready() > 0) {
            (false, false) => return None,
            (true, false) => Lane::Short,
            (false, true) => Lane::Heavy,
            (true, true) => self.next,
        };
        self.next = if lane == Lane::Short { Lane::Heavy } else { Lane::Short };
        Some((lane, self.book(lane).take(now)?))
    }

    /// A thread: has run a job of this lane.
    pub(super) fn finish(&mut self, lane: Lane) {
        self.book(lane).running -= 1;
    }

    /// Calls one more thread, if there is a ready job that none is coming for.
    pub(super) fn summon(&mut self) -> Summons {
        let idle = self.summon_idle();
        if !matches!(idle, Summons::None) {
            return idle;
        }
        if self.ready() <= self.summoned {
            return Summons::None;
        }
        self.summoned += 1;
        self.threads += 1;
        self.numbers += 1;
        debug_assert!(
            self.threads <= self.short.limit.saturating_add(self.heavy.limit),
            "more threads than jobs at a time"
        );
        Summons::Start(self.numbers)
    }

    /// As [`summon`](Self::summon), but starts nobody.
    fn summon_idle(&mut self) -> Summons {
        if self.ready() <= self.summoned {
            return Summons::None;
        }
        // Who looks need not be woken, unless it was on the CPU that this thread has now: then it waits for
        // it.
        let looks = |idle: &Idle| idle.looks && !idle.sleeper.was_on_this_cpu();
        let at = self.idle.iter().position(looks).or_else(|| self.idle.iter().rposition(|idle| !idle.looks));
        let Some(at) = at.or(self.idle.len().checked_sub(1)) else { return Summons::None };
        let idle = self.idle.remove(at);
        self.summoned += 1;
        if idle.looks { Summons::Tell(idle.sleeper) } else { Summons::Wake(idle.sleeper) }
    }

    /// A summoned thread: is here.
    pub(super) fn answer(&mut self) {
        self.summoned -= 1;
    }

    /// A summoned thread could not be started. An idle one may have relied on it and is called instead.
    pub(super) fn start_failed(&mut self) -> Summons {
        self.summoned -= 1;
        self.threads -= 1;
        self.summon_idle()
    }

    /// A thread: found no job and goes to sleep, or looks for one first. Only one thread looks at a time:
    /// whether this one may.
    pub(super) fn become_idle(&mut self, number: usize, sleeper: &Arc<Sleeper>, looks: bool) -> bool {
        debug_assert_eq!(self.ready(), 0, "a thread becomes idle only if there is nothing to do");
        let looks = looks && !self.idle.iter().any(|idle| idle.looks);
        self.idle.push(Idle { number, sleeper: Arc::clone(sleeper), looks });
        looks
    }

    /// A thread that looked: goes to sleep, unless it was summoned.
    pub(super) fn fall_asleep(&mut self, number: usize) {
        if let Some(idle) = self.idle.iter_mut().find(|idle| idle.number == number) {
            idle.looks = false;
        }
    }

    /// A thread that sleeps: whether it has been summoned since (by `summon` or `close`).
    pub(super) fn was_summoned(&self, number: usize) -> bool {
        !self.idle.iter().any(|idle| idle.number == number)
    }

    /// A thread, idle and not summoned, or with the line closed and empty: leaves for good.
    pub(super) fn leave(&mut self, number: usize) {
        self.idle.retain(|idle| idle.number != number);
        self.threads -= 1;
    }

    /// Refuses further jobs; returns those that wait, to be shut down, and the idle threads, to be woken.
    pub(super) fn close(&mut self) -> (Vec<Turn>, Vec<Arc<Sleeper>>) {
        self.closed = true;
        self.summoned += self.idle.len();
        (self.drain(), self.idle.drain(..).map(|idle| idle.sleeper).collect())
    }

    /// Takes out all jobs that wait.
    pub(super) fn drain(&mut self) -> Vec<Turn> {
        self.short.drain().chain(self.heavy.drain()).collect()
    }

    /// Whether further jobs are refused.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Threads that take jobs or will.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Threads that wait for work.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Jobs that are being run.
    pub(super) fn running(&self) -> usize {
        self.short.running + self.heavy.running
    }

    /// What there is to say of short and of heavy jobs.
    pub(super) fn metrics(&self) -> (LaneMetrics, LaneMetrics) {
        (self.short.metrics(), self.heavy.metrics())
    }

    fn ready(&self) -> usize {
        self.short.ready() + self.heavy.ready()
    }

    fn book(&mut self, lane: Lane) -> &mut Book {
        match lane {
            Lane::Heavy => &mut self.heavy,
            Lane::Short => &mut self.short,
        }
    }
}
