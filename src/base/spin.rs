//! How long it pays to look for work before one sleeps.
//!
//! Owns [`Spin`], the rule by which a core and a thread of the blocking pool decide it. It is pure: times
//! come as arguments, and it neither looks nor sleeps.
//!
//! # The rule
//! Being woken has a price, which differs between machines and is measured as it is paid: the virtual CPUs of
//! the machine that the figures in `design.md` are from take 20 to 30 µs to answer
//! (kernel-notes/wake-latency.md). Who is called sooner than that would better not have slept. So each wait,
//! whether it was slept or looked through, is judged by what a look of one *window* gains or loses: called
//! after less than a window, it gains what is left of the window; not called within it, it loses the window.
//! As long as the sum is positive, looking pays. It is kept within sixteen windows, so that a change of load
//! is noticed after as many waits. The window is twice what being woken has taken lately (an answer that
//! comes sooner is worth as much as the CPU time) and never longer than the setting.
//!
//! So who is called seldom never looks, and an idle runtime uses no CPU; who is called every few µs never
//! sleeps. The rule is that of KVM's halt polling (`Documentation/virt/kvm/halt-polling.rst`), with a sum in
//! the place of its growing and shrinking.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// This thread calls another one: sends it a message, or gives it a job.
#[inline]
pub(crate) fn calls() {
    // A thread that is going down waits for no answer.
    let _ = CALLS.try_with(|calls| calls.set(calls.get().wrapping_add(1)));
}

/// How often this thread has called. If the number has changed, who calls back may be answering.
pub(crate) fn calls_made() -> u64 {
    CALLS.try_with(Cell::get).unwrap_or(0)
}

/// How many windows of gain or loss are remembered.
const MEMORY: i64 = 16;

/// Whether looking pays, and for how long.
#[derive(Debug)]
pub(crate) struct Spin {
    longest: Duration,
    /// What being woken has taken lately, smoothed.
    wake: Duration,
    /// What looking has gained and lost, or would have, in nanoseconds.
    gain: i64,
}

impl Spin {
    /// Nothing is known yet; a window is never longer than `longest`, and zero is to never look.
    pub(crate) fn new(longest: Duration) -> Self {
        Self { longest, wake: longest, gain: 0 }
    }

    /// Whether it may ever pay.
    pub(crate) fn is_on(&self) -> bool {
        !self.longest.is_zero()
    }

    /// How long to look before the next sleep, if that pays.
    #[inline]
    pub(crate) fn window(&self) -> Option<Duration> {
        (self.gain > 0).then(|| self.full_window())
    }

    fn full_window(&self) -> Duration {
        (self.wake * 2).min(self.longest)
    }

    /// A wait is over. `called`: after what time somebody called, if it was ended by a call.
    pub(crate) fn waited(&mut self, called: Option<Duration>) {
        let window = nanos(self.full_window());
        let gain = match called.map(nanos) {
            Some(called) if called < window => window - called,
            _ => -window,
        };
        self.gain = (self.gain + gain).clamp(-MEMORY * window, MEMORY * window);
    }

    /// From a call until who slept was awake it took this long.
    pub(crate) fn woke_in(&mut self, time: Duration) {
        let time = time.min(self.longest);
        self.wake = (self.wake * 7 + time) / 8;
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / MEMORY / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn who_is_called_at_once_looks_and_who_is_called_late_sleeps() {
        let mut spin = Spin::new(micros(50));
        assert_eq!(spin.window(), None, "nothing is known yet");
        spin.waited(Some(micros(1)));
        assert_eq!(spin.window(), Some(micros(50)));
        spin.waited(Some(micros(1000)));
        assert_eq!(spin.window(), None, "one wait in vain costs as much as one call gains");
    }

    #[test]
    fn a_wait_that_nobody_called_an_end_to_is_one_in_vain() {
        let mut spin = Spin::new(micros(50));
        spin.waited(Some(micros(1)));
        spin.waited(None);
        assert_eq!(spin.window(), None);
    }

    #[test]
    fn a_burst_of_calls_outweighs_the_pause_behind_it() {
        let mut spin = Spin::new(micros(50));
        for _ in 0..10 {
            (0..8).for_each(|_| spin.waited(Some(micros(2))));
            spin.waited(None);
            assert!(spin.window().is_some());
        }
    }

    #[test]
    fn a_change_of_load_is_noticed_after_as_many_waits_as_are_remembered() {
        let mut spin = Spin::new(micros(50));
        (0..10_000).for_each(|_| spin.waited(None));
        (0..MEMORY + 1).for_each(|_| spin.waited(Some(Duration::ZERO)));
        assert!(spin.window().is_some());
        (0..10_000).for_each(|_| spin.waited(Some(Duration::ZERO)));
        (0..MEMORY).for_each(|_| spin.waited(None));
        assert_eq!(spin.window(), None);
    }

    #[test]
    fn the_window_is_twice_what_being_woken_takes() {
        let mut spin = Spin::new(micros(50));
        (0..100).for_each(|_| spin.woke_in(micros(3)));
        spin.waited(Some(micros(1)));
        let window = spin.window().unwrap();
        assert!((micros(6)..micros(7)).contains(&window), "{window:?}");
        (0..100).for_each(|_| spin.woke_in(micros(3_000)));
        assert_eq!(spin.window(), Some(micros(50)), "and no longer than the setting");
    }

    #[test]
    fn with_no_window_nobody_ever_looks() {
        let mut spin = Spin::new(Duration::ZERO);
        assert!(!spin.is_on());
        spin.woke_in(micros(3));
        spin.waited(Some(Duration::ZERO));
        assert_eq!(spin.window(), None);
    }
}
