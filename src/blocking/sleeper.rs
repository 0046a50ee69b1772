//! A thread of the pool that waits, and how it is called.
//!
//! Owns [`Sleeper`]: one per thread of the pool. That a thread is summoned is decided in the line, under its
//! lock; this only brings the news, which a thread that looks for it hears without a system call. A call is
//! never lost and may come late: who hears one asks the line what it was about.
#![forbid(unsafe_code)]

use crate::base::spin::Spin;
use crate::sys::cpu;
use crate::time::Call;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How often a thread that looks does so between two readings of the clock.
const LOOKS_PER_READING: usize = 16;

/// Where a thread of the pool waits.
#[derive(Debug)]
pub(super) struct Sleeper {
    thread: Thread,
    called: Call,
    /// The CPU it was on when it began to look.
    looks_on: AtomicUsize,
}

impl Sleeper {
    /// That of the calling thread.
    pub(super) fn of_this_thread() -> Self {
        Self { thread: thread::current(), called: Call::new(), looks_on: AtomicUsize::new(usize::MAX) }
    }

    /// The thread, before it says that it waits: what was called before is heard.
    pub(super) fn clear(&self) {
        self.called.clear();
        self.looks_on.store(cpu::current().unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Whoever summoned it: wakes it.
    pub(super) fn wake(&self) {
        self.called.set();
        self.thread.unpark();
    }

    /// Whoever summoned it while it looked: tells it. It asks the line before it sleeps.
    pub(super) fn tell(&self) {
        self.called.set();
    }

    /// Whether it looked on the CPU that the calling thread is on.
    pub(super) fn was_on_this_cpu(&self) -> bool {
        cpu::current().is_some_and(|cpu| cpu == self.looks_on.load(Ordering::Relaxed))
    }

    /// The thread: looks for `window` whether it is called.
    pub(super) fn look(&self, window: Duration) {
        let until = Instant::now() + window;
        loop {
            for _ in 0..LOOKS_PER_READING {
                if self.called.is_set() {
                    return;
                }
                std::hint::spin_loop();
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// The thread: it was summoned, having waited since `since`. `slept` says whether it was woken for it.
    pub(super) fn judge(&self, spin: &mut Spin, since: Instant, slept: bool) {
        // The news may come behind the summons, and this thread by itself.
        let called = self.called.at().unwrap_or_else(Instant::now);
        if slept {
            spin.woke_in(called.elapsed());
        }
        spin.waited(Some(called.saturating_duration_since(since)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_thread_that_looks_hears_that_it_is_called_before_its_time_is_up() {
        let (here, sleeper) = channel();
        let looker = thread::spawn(move || {
            let own = Arc::new(Sleeper::of_this_thread());
            own.clear();
            here.send(Arc::clone(&own)).unwrap();
            let began = Instant::now();
            own.look(LONG);
            let mut spin = Spin::new(LONG);
            own.judge(&mut spin, began, false);
            spin.window().is_some()
        });
        sleeper.recv().unwrap().tell();
        assert!(looker.join().unwrap(), "it has looked until the end");
    }

    #[test]
    fn a_thread_is_known_by_the_cpu_it_began_to_wait_on() {
        let here = cpu::start_mask()[0];
        assert!(cpu::pin_to(here));
        let own = Sleeper::of_this_thread();
        assert!(!own.was_on_this_cpu(), "it has not waited");
        own.clear();
        assert!(own.was_on_this_cpu());
        own.looks_on.store(here + 1, Ordering::Relaxed);
        assert!(!own.was_on_this_cpu());
    }
}
