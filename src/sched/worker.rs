//! The loop of a core: the one file where task, ring and time meet.
//!
//! Owns [`Worker::turn`]; how a core looks and parks is park.rs. The protocol is prose at the top of the
//! room. It is not where a core is placed or set up (`runtime::core_thread`).
#![forbid(unsafe_code)]

use super::background::Share;
use super::beat::Beat;
use super::current::{self, Core};
use super::search::{Reason, Searcher};
use super::shutdown::Ended;
use super::turns::{Queue, Turns};
use super::victims::Victims;
use crate::base::spin::Spin;
use crate::ring::Ring;
use crate::ring::backend::Wait;
use crate::task::Notified;
use crate::time;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

mod park;

/// The injector is asked at least once in this many polls; prime, so that it does not beat with other
/// periods.
pub(crate) const INJECTOR_EVERY: u64 = 61;
/// Polls since a core last ran dry, from which on the injector gets its share: four full steal queues. A
/// burst of short tasks is over sooner, and to mix what it left in the injector with it keeps the steal queue
/// full for longer, so that other cores are rung for what is not worth the way: 1,000 pairs of tasks that
/// send each other a value took twice as long.
const BUSY: u64 = 1024;

/// A core's loop and all it needs.
pub(crate) struct Worker {
    core: Rc<Core>,
    ring: Rc<Ring>,
    polls: u64,
    wakers: Vec<Waker>,
    /// Since when the core has found nothing to run.
    dry_since: Option<Instant>,
    /// It was asked to search, or has found something in its last search.
    searching: bool,
    /// Since when it has found in the injector what it was asked for.
    helps_since: Option<Instant>,
    /// It has looked into its own ring since it ran dry.
    has_looked: bool,
    searcher: Searcher,
    spin: Spin,
    /// What `spin::calls_made` said at the last look.
    calls_made: u64,
    background: Share,
    turns: Turns,
    polls_when_dry: u64,
    /// Of how many polls of `Send` tasks one is the injector's, this turn.
    injector_pace: Option<u64>,
    /// How many there have been since the last one that was.
    since_injector: u64,
    clock: time::Guard,
    _current: current::Entered,
}

impl Worker {
    /// The loop of `core` on its own thread, with its ring and the order in which it looks at other cores.
    pub(crate) fn new(core: Rc<Core>, ring: Rc<Ring>, clock: time::Guard, victims: Victims) -> Self {
        let entered = current::enter(Rc::clone(&core));
        let spin = Spin::new(core.shared.config.spin_window);
        Self {
            core,
            ring,
            polls: 0,
            wakers: Vec::new(),
            dry_since: None,
            searching: false,
            helps_since: None,
            has_looked: false,
            searcher: Searcher::new(victims),
            spin,
            calls_made: 0,
            background: Share::default(),
            turns: Turns::new(),
            polls_when_dry: 0,
            injector_pace: None,
            since_injector: 0,
            clock,
            _current: entered,
        }
    }

    /// Turns until the runtime closes, then goes through the phases of shutdown.
    pub(crate) fn run(mut self) -> Ended {
        while !self.core.shared.is_closing() {
            self.turn(Instant::now());
        }
        self.end(super::shutdown::end)
    }

    /// The core does not start: what was begun on it before is ended here, and nothing comes any more.
    pub(crate) fn abandon(self) -> Ended {
        self.core.shared.close();
        self.end(super::shutdown::abandon)
    }

    fn end(self, phases: fn(&Core, &Ring, &mut Vec<Waker>) -> Ended) -> Ended {
        let Self { core, ring, clock, mut wakers, .. } = self;
        let ended = phases(&core, &ring, &mut wakers);
        // The inbox is closed: no timer comes any more, and those that wait elsewhere are told.
        time::shut_down(&mut wakers);
        drop(clock);
        for waker in wakers {
            crate::base::guard::wake(waker);
        }
        ended
    }

    /// One turn; waits in the kernel if nothing is runnable.
    fn turn(&mut self, now: Instant) {
        let shared = &self.core.shared;
        self.core.running.turns(shared.stamp(now));
        time::turns(now);
        self.take_inbox();
        if self.core.shared.stuck.any() && self.searcher.rescue(&self.core) {
            self.dry_since = None;
        }
        let polls = self.polls;
        let now = self.run_tasks(now);
        self.has_looked &= self.polls == polls;
        self.searcher.settle(&self.core);
        self.fire_timers(now);
        // Before the wait, so that a core that sleeps shows what it sleeps with.
        self.publish_levels();
        if self.has_work() {
            self.dry_since = None;
            self.enter_if_wanted();
        } else if self.find_work(now) {
            // It is queued, or completions are about to be looked at.
        } else if !self.core.background.borrow().is_empty() {
            self.enter_if_wanted();
        } else if let Some(quiet) = time::may_jump() {
            self.jump(quiet);
        } else if self.finds_something_soon() {
            self.enter_if_wanted();
        } else {
            self.park(now);
        }
        self.ring.reap(&mut self.wakers);
        self.wake();
    }

    fn enter_if_wanted(&self) {
        if self.ring.wants_enter() {
            self.ring.enter(Wait::No);
        }
    }

    /// Messages are delivered, tasks go to their queues.
    fn take_inbox(&mut self) {
        let inbox = &self.core.shared.cores[self.core.index].inbox;
        let mut remote = 0;
        for message in inbox.take_pinned() {
            match Notified::from_message(message) {
                Ok(None) => {}
                Ok(Some(task)) => {
                    remote += 1;
                    self.core.queue(task);
                }
                Err(message) => {
                    crate::base::guard::contained(|| message.deliver());
                }
            }
        }
        for task in inbox.take_send().filter_map(|message| Notified::from_message(message).ok().flatten()) {
            remote += 1;
            self.core.take_home(task);
        }
        self.core.counters().wakes_remote.add(remote);
    }

    /// Polls tasks until the budget, the quantum or the queues are at an end. Returns the time.
    fn run_tasks(&mut self, start: Instant) -> Instant {
        let mut now = start;
        let mut flushed = Duration::ZERO;
        let mut beat = Beat::new();
        self.injector_pace = self.pace_of_injector();
        for _ in 0..self.core.shared.config.poll_budget {
            if beat.has_just_read() && self.owes_background(now) && !self.core.is_dry() {
                now = self.poll_background().unwrap_or(now);
                beat.skip(now - start);
                // Those who waited may have been taken away meanwhile.
                if self.core.is_dry() || now - start >= self.core.shared.config.quantum {
                    break;
                }
                continue;
            }
            let Some(task) = self.next_task() else {
                let has_background = !self.core.background.borrow().is_empty();
                if has_background && (self.core.shared.injector.is_empty() || self.owes_background(now)) {
                    now = self.poll_background().unwrap_or(now);
                }
                break;
            };
            // Not dry: a core searches only after a while of nothing to do.
            self.dry_since = None;
            self.poll(task);
            if beat.polled() {
                now = Instant::now();
                // Once for all who ask: the difference is dearer than what they do with it.
                let passed = now - start;
                // Under a clock that stands, what runs next must not depend on how long things take, and so
                // not on when that is looked at.
                let stands = time::stands();
                let last = beat.read(passed, stands);
                if stands {
                    self.injector_pace = self.pace_of_injector();
                } else if let Some(last) = last {
                    self.turns.took(last);
                }
                self.submit_if_old(&mut flushed, passed);
                if passed >= self.core.shared.config.quantum {
                    break;
                }
            }
            if self.core.shared.parked.any() || self.core.shared.spinners.any() {
                self.searcher.offer(&self.core, now);
            }
        }
        now
    }

    /// Whether there is a background task and it is to be polled although others wait.
    #[inline]
    fn owes_background(&self, now: Instant) -> bool {
        !self.core.background.borrow().is_empty()
            && match time::stands() {
                true => self.background.is_due_by_count(self.polls),
                false => self.background.is_due(self.polls, now),
            }
    }

    /// Polls one background task, if there is any. Returns the time.
    // Out of the loop, which is mostly for others.
    #[inline(never)]
    fn poll_background(&mut self) -> Option<Instant> {
        let task = self.core.background.borrow_mut().pop_front()?;
        let others = self.ring.queued();
        let began = Instant::now();
        self.poll(task);
        let mut now = Instant::now();
        let mut time = now - began;
        let own = self.ring.queued().saturating_sub(others);
        if own > 0 && !(self.core.is_dry() && self.core.shared.injector.is_empty()) {
            // Others wait: what it has begun is handed over while it can be timed. Of that time it is to pay
            // its part.
            self.ring.flush();
            let handed_over = Instant::now();
            time += (handed_over - now) * own as u32 / (own + others) as u32;
            now = handed_over;
        }
        self.background.took(time, self.polls, now);
        Some(now)
    }

    /// Of how many polls of `Send` tasks one is to be the injector's, as things are.
    fn pace_of_injector(&self) -> Option<u64> {
        let busy = self.polls - self.polls_when_dry >= BUSY;
        busy.then(|| Searcher::injector_pace(&self.core)).flatten()
    }

    /// Local and steal queue in turn (turns.rs); the injector now and then.
    fn next_task(&mut self) -> Option<Notified> {
        let task = self.pick_task(self.polls + 1);
        // Whose turn it is depends on what has run and not on how often the core looked, so that what tasks
        // do under a clock that stands can be repeated.
        self.polls += u64::from(task.is_some());
        task
    }

    fn pick_task(&mut self, polls: u64) -> Option<Notified> {
        // It runs at once: behind a full steal queue it would go back into the injector, again and again.
        if polls.is_multiple_of(INJECTOR_EVERY)
            && let Some(task) = Searcher::one_from_injector(&self.core)
        {
            self.turns.counts(Queue::Send);
            return Some(task);
        }
        let core = &self.core;
        // What waits in a deep injector is as if it stood in the steal queue, also if nothing else does.
        if !core.has_send()
            && self.injector_pace.is_none()
            && let Some(task) = core.local.borrow_mut().pop_front()
        {
            self.turns.alone(Queue::Local);
            return Some(task);
        }
        let queue = match core.local.borrow().is_empty() {
            false => self.turns.next(),
            true => self.turns.alone(Queue::Send),
        };
        match queue {
            Queue::Local => core.local.borrow_mut().pop_front(),
            Queue::Send => {
                if let Some(task) = self.injected_if_due() {
                    return Some(task);
                }
                self.core.next_send().or_else(|| {
                    // Thieves may have been quicker, or other cores at the injector.
                    let task = self.core.local.borrow_mut().pop_front()?;
                    self.turns.alone(Queue::Local);
                    Some(task)
                })
            }
        }
    }

    /// A task that did not fit, if many do not.
    #[inline]
    fn injected_if_due(&mut self) -> Option<Notified> {
        let pace = self.injector_pace?;
        self.since_injector += 1;
        // The pace is that of the turn's beginning, and by now the steal queue may be empty: then this is the
        // turn of nobody else. (A core with nothing at all takes more than one task, as a dry one.)
        let is_for_the_injector = !self.core.has_send() && !self.core.local.borrow().is_empty();
        if self.since_injector < pace && !is_for_the_injector {
            return None;
        }
        self.since_injector = 0;
        Searcher::one_from_injector(&self.core)
    }

    #[inline]
    fn poll(&self, task: Notified) {
        self.core.counters().polls.add(1);
        let header = task.header();
        self.core.running.begins(header);
        if header.is_local() {
            task.run();
        } else {
            header.set_home(self.core.index);
            self.core.may_move.set(true);
            task.run();
            self.core.may_move.set(false);
            self.core.bound_for.set(None);
        }
        self.core.running.ends();
    }

    /// Ops that may have been queued for the submit delay go out although the turn is not over.
    fn submit_if_old(&self, flushed: &mut Duration, passed: Duration) {
        // Saturating: a clock of a virtual machine may step back.
        if passed.saturating_sub(*flushed) >= self.core.shared.config.submit_delay {
            self.ring.flush();
            *flushed = passed;
        }
    }

    fn fire_timers(&mut self, now: Instant) {
        if time::fire(now, &mut self.wakers) > 0 {
            self.wake();
        }
    }

    /// Calls the collected wakers; foreign code, so contained.
    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            crate::base::guard::wake(waker);
        }
    }

    fn has_work(&self) -> bool {
        !self.core.is_dry() || !self.core.shared.cores[self.core.index].inbox.is_empty()
    }

    /// The core is dry: the injector and completions that are visible always, the others only if this core
    /// was asked or has been dry for the threshold.
    fn find_work(&mut self, now: Instant) -> bool {
        self.polls_when_dry = self.polls;
        if Searcher::take_from_injector(&self.core) > 0 {
            if self.searching {
                self.helps_since.get_or_insert(now);
            }
            // If that was all, what overflows next is new.
            self.searcher.settle(&self.core);
            // The injector may be full for long, and each turn end here.
            self.enter_if_wanted();
            return true;
        }
        // What they wake could run already: to search, look or park first would only keep it waiting.
        if self.ring.has_completions() {
            self.enter_if_wanted();
            return true;
        }
        let Some(appetite) = self.core.shared.config.appetite else { return false };
        let dry_since = *self.dry_since.get_or_insert(now);
        let reason = if self.searching {
            Reason::Asked
        } else if now.duration_since(dry_since).as_nanos() >= u128::from(appetite.threshold) {
            Reason::Dry
        } else {
            return false;
        };
        // What has completed for its own tasks is nearer than anything it could steal. One look: what the
        // kernel does not take or give then is no reason to wait.
        if !self.has_looked && self.ring.wants_enter() {
            self.has_looked = true;
            self.ring.enter(Wait::No);
            return true;
        }
        self.has_looked = false;
        // It goes on, each time it runs dry, until a search fails.
        let found = self.searcher.search(&self.core, reason);
        // The injector had enough for it to have been worth the way.
        let has_helped = self
            .helps_since
            .take()
            .is_some_and(|since| now.duration_since(since).as_nanos() >= u128::from(appetite.surplus_old));
        if reason == Reason::Asked || found {
            self.core.shared.cores[self.core.index].idle.searched(found || has_helped);
        }
        self.searching = found;
        // The next one without being asked is due a threshold later.
        self.dry_since = Some(now);
        if found {
            // What was stolen may be more than this core runs next: the next hungry core is rung.
            self.searcher.offer_on(&self.core, now);
        }
        found
    }

    /// Nothing is left to run and the clock stands: on to the next timer, unless the kernel has something, or
    /// others have brought something, or do so from `quiet` on.
    fn jump(&mut self, quiet: time::Quiet) {
        self.ring.enter(Wait::No);
        // What was withdrawn before the kernel heard of it is no completion, but has its waker.
        if self.ring.reap(&mut self.wakers) == 0 && self.wakers.is_empty() && !self.has_work() {
            time::jump(quiet);
        }
    }

    fn publish_levels(&self) {
        let counters = self.core.counters();
        counters.local_depth.set(self.core.local.borrow().len() as u64);
        counters.background_depth.set(self.core.background.borrow().len() as u64);
        let waiting = self.core.steal.borrow().len() + self.core.spill.borrow().len();
        counters.steal_depth.set(waiting as u64);
        counters.in_flight.set(self.ring.in_flight() as u64);
        counters.timers.set(time::pending() as u64);
    }
}

#[cfg(test)]
mod tests;
