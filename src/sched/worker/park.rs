//! How a core waits when it has nothing to do: it looks for a moment, if that pays, and then parks.
//!
//! The protocol is prose at the top of the room ("Parking", "Looking"), the rule by which looking pays is
//! `base::spin`.
#![forbid(unsafe_code)]

use super::Worker;
use crate::base::spin;
use crate::ring::backend::Wait;
use crate::time;
use std::time::{Duration, Instant};

/// How long a core sleeps at most while its doorbell is not watched.
const DEAF_PARK: Duration = Duration::from_millis(10);
/// How often a core that looks does so between two readings of the clock.
const LOOKS_PER_READING: usize = 4;
/// Called again sooner than this, without having called anybody since its last look, a core is at the end of
/// a stream: who calls is not answering, and does not wait for an answer.
const AT_ONCE: Duration = Duration::from_nanos(500);
/// How long it then leaves a stream alone. To take each message as it comes is to fetch the same lines back
/// from the other CPU every time: 160 ns for each number of the benchmark `cross-stream` with this pause, 210
/// without.
const GATHER: Duration = Duration::from_micros(2);

impl Worker {
    /// Looks for a moment before the core parks, if that pays. Whether there is something now.
    pub(super) fn finds_something_soon(&mut self) -> bool {
        let Some(window) = self.spin.window() else { return false };
        let shared = &self.core.shared;
        // What is to be handed over goes with the wait, and what has come is no call.
        if self.ring.wants_enter() || !shared.spinners.join() {
            return false;
        }
        self.core.counters().spins.add(1);
        let inbox = &shared.cores[self.core.index].inbox;
        inbox.spin();
        let began = Instant::now();
        let mut now = began;
        let until = began + time::time_left(|| began).map_or(window, |timer| timer.min(window));
        let is_called = || inbox.was_knocked_at() || shared.is_closing();
        // A task in the injector is followed by no knock.
        let (mut called, mut has_come) = (!inbox.is_empty() || is_called(), !shared.injector.is_empty());
        while !called && !has_come && now < until {
            for _ in 0..LOOKS_PER_READING {
                std::hint::spin_loop();
                called |= is_called();
            }
            has_come = self.ring.wants_enter() || !shared.injector.is_empty();
            now = Instant::now();
        }
        let calls_made = spin::calls_made();
        let answers = std::mem::replace(&mut self.calls_made, calls_made) != calls_made;
        if called && !answers && now - began < AT_ONCE {
            gather(now + GATHER);
        }
        shared.spinners.leave();
        if !called && !has_come {
            // The park that follows judges the whole wait.
            return false;
        }
        inbox.unpark();
        self.waited(called.then(|| now - began));
        self.searching |= self.core.shared.cores[self.core.index].idle.takes_request();
        true
    }

    /// Sleeps in the ring until something happens.
    pub(super) fn park(&mut self, now: Instant) {
        let shared = &self.core.shared;
        let inbox = &shared.cores[self.core.index].inbox;
        self.core.running.parks();
        shared.parks(self.core.index, now);
        inbox.park();
        if shared.drain.is_on() {
            shared.drain.parks(shared, self.core.index);
        }
        let has_work = !inbox.is_empty() || !shared.injector.is_empty() || shared.is_closing();
        if has_work {
            self.ring.enter(Wait::No);
        } else {
            self.core.counters().parks.add(1);
            self.ring.enter(Wait::Until(self.longest_park()));
        }
        let rung = inbox.unpark();
        if !has_work && self.spin.is_on() {
            let called = if rung { self.called(now) } else { None };
            self.waited(called);
        }
        self.searching |= self.core.shared.wakes(self.core.index);
    }

    /// The core has been rung: how long after it had nothing to do. What it took to wake is noted.
    fn called(&mut self, dry: Instant) -> Option<Duration> {
        // A ring that comes while the core wakes by itself may not have its time yet.
        let at = self.core.shared.cores[self.core.index].called.at().filter(|&at| at >= dry)?;
        self.spin.woke_in(at.elapsed());
        Some(at - dry)
    }

    fn waited(&mut self, called: Option<Duration>) {
        self.spin.waited(called);
        self.core.shared.cores[self.core.index].idle.set_quick(self.spin.window().is_some());
    }

    fn longest_park(&self) -> Option<Duration> {
        let timer = time::time_left(Instant::now);
        let deaf = (!self.ring.bell_is_armed()).then_some(DEAF_PARK);
        [timer, deaf, self.ring.cancel_patience()].into_iter().flatten().min()
    }
}

fn gather(until: Instant) {
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
