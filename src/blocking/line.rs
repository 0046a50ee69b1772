//! The line in front of the blocking pool: who waits, who works, and who has to be called.
//!
//! Owns [`Line`], the pool's book-keeping under its one lock, and nothing that runs: it is plain data, and
//! its one rule is the invariant below. Starting and waking threads is `pool.rs`.
//!
//! # Never a job without a thread
//! A job is *ready* if a thread that came by could take it (a heavy one only while its lane has room). A
//! thread is *summoned* from the moment somebody decides to wake or start it until it looks at the line.
//! Whenever the lock is free: **ready jobs ≤ summoned threads, or no thread is idle and no more may be (or
//! could be) started.** Each change that could break this is followed by [`Line::summon`]; busy threads need
//! no call, because they look at the line before they become idle. A thread leaves for good under the lock,
//! and only if it was idle and not summoned. If the last start is refused and no thread is left, the jobs
//! that relied on it are given back to be ended.
//!
//! The last thread to become idle is the first to be woken: its caches are warm, and those at the bottom grow
//! old enough to leave.
#![forbid(unsafe_code)]

use crate::task::Notified;
use std::collections::VecDeque;
use std::thread::Thread;

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
    thread: Thread,
}

/// What a change of the line asks for.
#[must_use = "a summoned thread must be woken or started"]
#[derive(Debug)]
pub(super) enum Summons {
    /// All is well.
    None,
    /// Start a thread with this number.
    Start(usize),
    /// Wake this thread.
    Wake(Thread),
}

/// The book-keeping of a pool.
#[derive(Debug)]
pub(super) struct Line {
    short: VecDeque<Notified>,
    heavy: VecDeque<Notified>,
    /// Threads at work on a heavy job, and how many may be.
    heavy_running: usize,
    heavy_max: usize,
    /// Both lanes wait: which is next.
    next: Lane,
    idle: Vec<Idle>,
    summoned: usize,
    /// Threads that take jobs, or will; and how many there may be.
    threads: usize,
    threads_max: usize,
    numbers: usize,
    running: usize,
    ran: u64,
    closed: bool,
}

impl Line {
    /// An open line without threads.
    pub(super) fn new(threads_max: usize, heavy_max: usize) -> Self {
        Self {
            short: VecDeque::new(),
            heavy: VecDeque::new(),
            heavy_running: 0,
            heavy_max,
            next: Lane::Short,
            idle: Vec::new(),
            summoned: 0,
            threads: 0,
            threads_max,
            numbers: 0,
            running: 0,
            ran: 0,
            closed: false,
        }
    }

    /// Adds a job at the end of its lane.
    ///
    /// # Errors
    /// The job, if the line is closed.
    pub(super) fn push(&mut self, lane: Lane, job: Notified) -> Result<Summons, Notified> {
        if self.closed {
            return Err(job);
        }
        self.lane(lane).push_back(job);
        Ok(self.summon())
    }

    /// A thread: the next job. The thread is at work from here to [`finish`](Self::finish).
    pub(super) fn take(&mut self) -> Option<(Lane, Notified)> {
        let heavy_is_ready = self.heavy_running < self.heavy_max && !self.heavy.is_empty();
        let lane = match (!self.short.is_empty(), heavy_is_ready) {
            (false, false) => return None,
            (true, false) => Lane::Short,
            (false, true) => Lane::Heavy,
            (true, true) => self.next,
        };
        self.next = if lane == Lane::Short { Lane::Heavy } else { Lane::Short };
        let job = self.lane(lane).pop_front()?;
        self.heavy_running += usize::from(lane == Lane::Heavy);
        self.running += 1;
        Some((lane, job))
    }

    /// A thread: has run a job of this lane.
    pub(super) fn finish(&mut self, lane: Lane) {
        self.heavy_running -= usize::from(lane == Lane::Heavy);
        self.running -= 1;
        self.ran += 1;
    }

    /// Calls one more thread, if there is a ready job that none is coming for.
    pub(super) fn summon(&mut self) -> Summons {
        if let Summons::Wake(thread) = self.summon_idle() {
            return Summons::Wake(thread);
        }
        if self.ready() <= self.summoned || self.threads >= self.threads_max {
            return Summons::None;
        }
        self.summoned += 1;
        self.threads += 1;
        self.numbers += 1;
        Summons::Start(self.numbers)
    }

    /// As [`summon`](Self::summon), but starts nobody.
    fn summon_idle(&mut self) -> Summons {
        if self.ready() <= self.summoned {
            return Summons::None;
        }
        let Some(idle) = self.idle.pop() else { return Summons::None };
        self.summoned += 1;
        Summons::Wake(idle.thread)
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

    /// A thread: found no job and goes to sleep.
    pub(super) fn become_idle(&mut self, number: usize, thread: Thread) {
        debug_assert_eq!(self.ready(), 0, "a thread becomes idle only if there is nothing to do");
        self.idle.push(Idle { number, thread });
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
    pub(super) fn close(&mut self) -> (Vec<Notified>, Vec<Thread>) {
        self.closed = true;
        self.summoned += self.idle.len();
        (self.drain(), self.idle.drain(..).map(|idle| idle.thread).collect())
    }

    /// Takes out all jobs that wait.
    pub(super) fn drain(&mut self) -> Vec<Notified> {
        self.short.drain(..).chain(self.heavy.drain(..)).collect()
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

    /// Jobs that wait.
    pub(super) fn queued(&self) -> usize {
        self.short.len() + self.heavy.len()
    }

    /// Jobs that are being run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Jobs that have been run.
    pub(super) fn ran(&self) -> u64 {
        self.ran
    }

    fn ready(&self) -> usize {
        self.short.len() + self.heavy.len().min(self.heavy_max - self.heavy_running)
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Notified> {
        match lane {
            Lane::Heavy => &mut self.heavy,
            Lane::Short => &mut self.short,
        }
    }
}
