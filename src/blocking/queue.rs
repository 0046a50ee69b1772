//! The jobs of one lane that wait: first come, first served, and any of them may be taken out before its
//! turn.
//!
//! Owns [`Queue`], a doubly linked list in one vector, as plain data. Promises that `push`, `pop` and
//! `remove` take constant time, that a job is in one place of one queue, and that the memory of a burst is
//! given back when the queue has run empty. It runs nothing and knows no thread.
//!
//! A job's header notes its place (`home`, which is the scheduler's own note). A place is used again by later
//! jobs, so the note alone proves nothing: what is taken out is the job whose header it is, or none.
#![forbid(unsafe_code)]

use crate::task::{Header, Notified};
use crate::time::{Clock, Hold};
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

/// No place.
const NONE: u32 = u32::MAX;

/// Places kept when the queue runs empty, 40 bytes each. Usual bursts find their memory: making it anew under
/// the pool's lock cost half as many context switches again (bursts of a thousand empty jobs, measured).
const KEPT_MAX: usize = 16_384;

/// A job's one turn. Until it is over, and whoever waits for it has been woken, it holds the runtime's clock.
#[must_use = "a job whose turn is dropped never ends"]
#[derive(Debug)]
pub(super) struct Turn {
    job: Notified,
    hold: Hold<Arc<Clock>>,
}

impl Turn {
    pub(super) fn new(job: Notified, clock: Option<Arc<Clock>>) -> Self {
        Self { job, hold: Hold::of(clock) }
    }

    /// The header of the job.
    pub(super) fn header(&self) -> &Header {
        self.job.header()
    }

    /// Runs the job.
    pub(super) fn run(self) {
        self.job.run();
        drop(self.hold);
    }

    /// Ends the job without running it.
    pub(super) fn shutdown(self) {
        self.job.shutdown();
        drop(self.hold);
    }
}

/// A job that waits, and since when.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) job: Turn,
    pub(super) since: Instant,
}

/// A job and its neighbours, or an unused place (no job; `after` is the next unused one).
#[derive(Debug)]
struct Place {
    waiting: Option<Waiting>,
    before: u32,
    after: u32,
}

/// Jobs in the order they came.
#[derive(Debug)]
pub(super) struct Queue {
    places: Vec<Place>,
    unused: u32,
    first: u32,
    last: u32,
    len: usize,
}

impl Queue {
    /// An empty queue.
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), unused: NONE, first: NONE, last: NONE, len: 0 }
    }

    /// How many jobs wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a job behind all others.
    pub(super) fn push(&mut self, job: Turn, since: Instant) {
        let at = self.unused_place();
        job.header().set_home(at as usize);
        let before = std::mem::replace(&mut self.last, at);
        self.places[at as usize] = Place { waiting: Some(Waiting { job, since }), before, after: NONE };
        match before {
            NONE => self.first = at,
            before => self.places[before as usize].after = at,
        }
        self.len += 1;
    }

    /// Takes out the job that has waited longest.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        if self.first == NONE { None } else { Some(self.take(self.first)) }
    }

    /// Takes out the job with this header; nothing if it does not wait here.
    pub(super) fn remove(&mut self, job: &Header) -> Option<Waiting> {
        let at = job.home();
        let waiting = self.places.get(at)?.waiting.as_ref()?;
        if !ptr::eq(waiting.job.header(), job) {
            return None;
        }
        Some(self.take(at as u32))
    }

    /// Empties the place `at`, which holds a job.
    fn take(&mut self, at: u32) -> Waiting {
        let place = &mut self.places[at as usize];
        let waiting = place.waiting.take().expect("broken invariant: a linked place holds a job");
        let (before, after) = (place.before, place.after);
        place.after = std::mem::replace(&mut self.unused, at);
        match before {
            NONE => self.first = after,
            before => self.places[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.places[after as usize].before = before,
        }
        self.len -= 1;
        if self.len == 0 && self.places.len() > KEPT_MAX {
            *self = Self::new();
        }
        waiting
    }

    fn unused_place(&mut self) -> u32 {
        let at = self.unused;
        if at != NONE {
            self.unused = self.places[at as usize].after;
            return at;
        }
        let at = u32::try_from(self.places.len()).ok().filter(|at| *at != NONE);
        self.places.push(Place { waiting: None, before: NONE, after: NONE });
        at.expect("fewer than four billion jobs wait")
    }
}
