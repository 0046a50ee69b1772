//! The loop of a core: the one file where task, ring and time meet.
//!
//! Owns [`Worker::turn`] and what leads to a park. The protocol is prose at the top of the room. It is not
//! where a core is placed or set up (`runtime::core_thread`).
#![forbid(unsafe_code)]

use super::current::{self, Core};
use super::shutdown::Ended;
use crate::ring::Ring;
use crate::ring::backend::Wait;
use crate::task::Notified;
use crate::time;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The injector is asked at least once in this many polls; prime, so that it does not beat with other
/// periods.
pub(crate) const INJECTOR_EVERY: u64 = 61;
/// The clock is read once in this many polls: 25 ns in some microseconds of work.
const CLOCK_EVERY: usize = 8;
/// Tasks taken from the injector at a time.
const INJECTOR_BATCH: usize = 64;
/// How long a core sleeps at most while its doorbell is not watched.
const DEAF_PARK: Duration = Duration::from_millis(10);

/// A core's loop and all it needs.
pub(crate) struct Worker {
    core: Rc<Core>,
    ring: Rc<Ring>,
    polls: u64,
    wakers: Vec<Waker>,
    /// Since when the core has found nothing to run.
    dry_since: Option<Instant>,
    rung: bool,
    random: u64,
    clock: time::Guard,
    _current: current::Entered,
}

impl Worker {
    /// The loop of `core` on its own thread, with its ring; `seed` is for the order of victims.
    pub(crate) fn new(core: Rc<Core>, ring: Rc<Ring>, clock: time::Guard, seed: u64) -> Self {
        let entered = current::enter(Rc::clone(&core));
        Self {
            core,
            ring,
            polls: 0,
            wakers: Vec::new(),
            dry_since: None,
            rung: false,
            random: seed | 1,
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
            crate::base::guard::contained(|| waker.wake());
        }
        ended
    }

    /// One turn; waits in the kernel if nothing is runnable.
    fn turn(&mut self, now: Instant) {
        self.take_inbox();
        let now = self.run_tasks(now);
        self.fire_timers(now);
        // Before the wait, so that a core that sleeps shows what it sleeps with.
        self.publish_levels();
        if self.has_work() {
            self.dry_since = None;
            if self.ring.wants_enter() {
                self.ring.enter(Wait::No);
            }
        } else if !self.find_work(now) {
            self.park(now);
        }
        self.ring.reap(&mut self.wakers);
        self.wake();
    }

    /// Messages are delivered, tasks go to their queues.
    fn take_inbox(&mut self) {
        let inbox = &self.core.shared.cores[self.core.index].inbox;
        let mut remote = 0;
        for message in inbox.take_pinned() {
            match Notified::from_message(message) {
                Ok(task) => {
                    remote += 1;
                    self.core.queue(task);
                }
                Err(message) => {
                    crate::base::guard::contained(|| message.deliver());
                }
            }
        }
        for task in inbox.take_send().filter_map(|message| Notified::from_message(message).ok()) {
            remote += 1;
            task.header().set_home(self.core.index);
            self.core.queue(task);
        }
        self.core.counters().wakes_remote.add(remote);
    }

    /// Polls tasks until the budget, the quantum or the queues are at an end. Returns the time.
    fn run_tasks(&mut self, start: Instant) -> Instant {
        let mut now = start;
        let mut flushed = start;
        for step in 0..self.core.shared.config.poll_budget {
            let Some(task) = self.next_task() else { break };
            // Not dry: a core searches only after a while of nothing to do.
            self.dry_since = None;
            self.poll(task);
            if step % CLOCK_EVERY == CLOCK_EVERY - 1 {
                now = Instant::now();
                self.submit_if_old(&mut flushed, now);
                if now - start >= self.core.shared.config.quantum {
                    break;
                }
            }
            if self.core.shared.parked() > 0 && self.core.has_surplus() {
                self.core.shared.ring_hungry(self.core.index, now);
            }
        }
        now
    }

    /// Local and steal queue in turn; the injector now and then.
    fn next_task(&mut self) -> Option<Notified> {
        self.polls += 1;
        // It runs at once: behind a full steal queue it would go back into the injector, again and again.
        if self.polls.is_multiple_of(INJECTOR_EVERY)
            && let Some(task) = self.one_from_injector()
        {
            return Some(task);
        }
        let core = &self.core;
        let local = || core.local.borrow_mut().pop_front();
        let steal = || core.next_send();
        if self.polls.is_multiple_of(2) { local().or_else(steal) } else { steal().or_else(local) }
    }

    fn poll(&self, task: Notified) {
        let block = &self.core.shared.cores[self.core.index];
        block.counters.polls.add(1);
        // Plain stores into our own block: what the watchdog reads.
        block.running.store(task.header().id().as_u64(), Ordering::Relaxed);
        let birth = std::ptr::from_ref(task.header().spawned_at());
        block.running_from.store(birth.cast_mut(), Ordering::Relaxed);
        task.run();
        block.running.store(0, Ordering::Relaxed);
    }

    /// Ops that may have been queued for the submit delay go out although the turn is not over.
    fn submit_if_old(&self, flushed: &mut Instant, now: Instant) {
        if now - *flushed >= self.core.shared.config.submit_delay {
            self.ring.flush();
            *flushed = now;
        }
    }

    fn fire_timers(&mut self, now: Instant) {
        time::fire(now, &mut self.wakers);
        self.wake();
    }

    /// Calls the collected wakers; foreign code, so contained.
    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            crate::base::guard::contained(|| waker.wake());
        }
    }

    fn has_work(&self) -> bool {
        !self.core.is_dry() || !self.core.shared.cores[self.core.index].inbox.is_empty()
    }

    /// The core is dry: the injector always, the others only if this core was rung or has been dry for the
    /// threshold.
    fn find_work(&mut self, now: Instant) -> bool {
        if self.take_from_injector(INJECTOR_BATCH) > 0 {
            return true;
        }
        let Some(threshold) = self.core.shared.config.idle_threshold else { return false };
        let dry_since = *self.dry_since.get_or_insert(now);
        if !self.rung && now.duration_since(dry_since) < threshold {
            return false;
        }
        // It goes on, each time it runs dry, until a search fails.
        self.rung = self.search();
        if !self.rung {
            return false;
        }
        // What was stolen may be more than this core runs next: the next hungry core is rung.
        if self.core.has_surplus() {
            self.core.shared.ring_hungry(self.core.index, now);
        }
        true
    }

    fn one_from_injector(&self) -> Option<Notified> {
        let mut one = None;
        self.core.shared.injector.take(1, |task| {
            task.header().set_home(self.core.index);
            one = Some(task);
        });
        one
    }

    fn take_from_injector(&self, most: usize) -> usize {
        self.core.shared.injector.take(most, |task| {
            task.header().set_home(self.core.index);
            self.core.queue(task);
        })
    }

    /// Looks for `Send` tasks of other cores: steal queues first, then Send lanes, from a random start.
    fn search(&mut self) -> bool {
        let count = self.core.shared.cores.len();
        let start = self.next_random() as usize % count;
        let victims =
            (0..count).map(|step| (start + step) % count).filter(|&victim| victim != self.core.index);
        for victim in victims.clone() {
            if self.steal_from(victim) {
                return true;
            }
        }
        victims.into_iter().any(|victim| self.empty_lane_of(victim))
    }

    fn steal_from(&self, victim: usize) -> bool {
        let stealer = &self.core.shared.cores[victim].stealer;
        if stealer.is_empty() {
            return false;
        }
        let mut mine = self.core.steal.borrow_mut();
        let (first, moved) = stealer.steal_half_into(&mut mine);
        let Some(first) = first else { return false };
        drop(mine);
        self.moved_here(1 + moved as u64);
        first.header().set_home(self.core.index);
        self.core.queue(first);
        true
    }

    /// A core that is stuck or slow has woken tasks in its Send lane: they run here instead.
    fn empty_lane_of(&self, victim: usize) -> bool {
        let lane = self.core.shared.cores[victim].inbox.take_send();
        let mut taken = 0;
        for task in lane.filter_map(|message| Notified::from_message(message).ok()) {
            task.header().set_home(self.core.index);
            self.core.queue(task);
            taken += 1;
        }
        if taken > 0 {
            self.moved_here(taken);
        }
        taken > 0
    }

    fn moved_here(&self, tasks: u64) {
        self.core.counters().steals.add(1);
        self.core.counters().tasks_stolen.add(tasks);
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Sleeps in the ring until something happens. See "Parking" at the top of the room.
    fn park(&mut self, now: Instant) {
        let shared = &self.core.shared;
        let inbox = &shared.cores[self.core.index].inbox;
        shared.set_parked(self.core.index, Some(now));
        inbox.park();
        let has_work = !inbox.is_empty() || !shared.injector.is_empty() || shared.is_closing();
        if has_work {
            self.ring.enter(Wait::No);
        } else {
            self.core.counters().parks.add(1);
            self.ring.enter(Wait::Until(self.longest_park()));
        }
        self.rung = inbox.unpark();
        shared.set_parked(self.core.index, None);
    }

    fn longest_park(&self) -> Option<Duration> {
        let timer = time::next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let deaf = (!self.ring.bell_is_armed()).then_some(DEAF_PARK);
        [timer, deaf, self.ring.cancel_patience()].into_iter().flatten().min()
    }

    fn publish_levels(&self) {
        let counters = self.core.counters();
        counters.local_depth.set(self.core.local.borrow().len() as u64);
        let waiting = self.core.steal.borrow().len() + self.core.spill.borrow().len();
        counters.steal_depth.set(waiting as u64);
        counters.in_flight.set(self.ring.in_flight() as u64);
        counters.timers.set(time::pending() as u64);
    }
}
