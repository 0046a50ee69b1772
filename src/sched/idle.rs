//! Who is idle, since when, and who may be rung: what a parked core shows and what others read of it.
//!
//! Owns one [`Idleness`] per core, and one [`Parked`] and one [`Spinners`] per runtime. Promises that a core
//! that was asked knows it when it wakes, and that the monitor never sleeps while a core is awake for longer
//! than it takes to wake it. It rings nobody (that is the inbox's doorbell), reads no clock (stamps are
//! arguments: nanoseconds since the runtime started, never 0) and does not say what a surplus is.
//!
//! # Hungry is computed
//! `parked_at` is written by its core only: the stamp when it parks, 0 when it wakes. Whoever has surplus
//! compares. A stale reading rings a core that has just woken, which costs nothing, or misses one that has
//! just parked, which is looked at again after the next poll.
//!
//! # Being asked
//! Ringer: (R1) `asked = 1`; (R2) knock at the inbox. Core, after its wait: (W1) `unpark` of the inbox;
//! (W2) take `asked`. The inbox's word, read-modify-written by R2 and W1, orders R1 before W2, so both are
//! plain. If the core was awake already, or is just parking, the request stays for its next wake: a request
//! is a hint, what backs it is the surplus that is looked at after every poll, and the monitor.
//!
//! # Patience
//! A request that led to no steal doubles the age that a surplus must have before that core is asked again;
//! one that did, or that led to enough tasks of the injector (worker.rs), takes it back to nothing. So on
//! even load, where a surplus is gone before anybody could come for it, cores soon leave each other alone.
//!
//! # The monitor's sleep
//! Core wakes: (C1) `parked -= 1`; (C2) if `sleeping`, swap it to 0 and wake the monitor. Monitor: (M1)
//! `sleeping = 1`; (M2) add 0 to `parked`: if a core is awake, `sleeping = 0` and go on, else block. C1 and
//! M2 are read-modify-writes of one word, so one comes first and the other sees what was before it: if M2 is
//! first, C2 sees M1; if C1 is first, M2 sees that a core is awake.
//!
//! Models: `tests/loom` (`idle_*`).
#![forbid(unsafe_code)]

use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The patience a core is given after the first request that led nowhere.
const PATIENCE_FIRST: u64 = 100_000;
/// The most patience: a core that never finds anything is asked some tens of times a second.
const PATIENCE_MAX: u64 = 25_600_000;

/// What one core shows of its idleness.
#[derive(Debug)]
pub(crate) struct Idleness {
    parked_at: AtomicU64,
    asked: AtomicU32,
    patience: AtomicU64,
    /// It is called at short notice, as its last waits say.
    is_quick: AtomicBool,
}

/// When a core counts as hungry; all in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appetite {
    /// Parked for this long.
    pub(crate) threshold: u64,
    /// A surplus is younger than this: nobody is asked.
    pub(crate) surplus_young: u64,
    /// A surplus is older than this: any core that is parked counts as hungry, however briefly it has been.
    /// What waits in the injector is surplus from then on.
    pub(crate) surplus_old: u64,
}

impl Idleness {
    /// Of a core that is awake.
    pub(crate) fn new() -> Self {
        Self {
            parked_at: AtomicU64::new(0),
            asked: AtomicU32::new(0),
            patience: AtomicU64::new(0),
            is_quick: AtomicBool::new(false),
        }
    }

    /// Core: parks at `stamp`.
    pub(crate) fn parks(&self, stamp: u64) {
        debug_assert_ne!(stamp, 0, "0 means awake");
        self.parked_at.store(stamp, Ordering::Relaxed);
    }

    /// Core: is awake (W2). Whether it was asked to search.
    pub(crate) fn wakes(&self) -> bool {
        self.parked_at.store(0, Ordering::Relaxed);
        self.takes_request()
    }

    /// Core: has looked, or is awake (W2). Whether it was asked to search.
    pub(crate) fn takes_request(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed) != 0;
        if asked {
            // A request that comes in between is one that has been heard.
            self.asked.store(0, Ordering::Relaxed);
        }
        asked
    }

    /// Core: whether it found what was worth the way.
    pub(crate) fn searched(&self, found: bool) {
        let patience = match self.patience.load(Ordering::Relaxed) {
            _ if found => 0,
            0 => PATIENCE_FIRST,
            before => (before * 2).min(PATIENCE_MAX),
        };
        self.patience.store(patience, Ordering::Relaxed);
    }

    /// Since when it is parked; `None` if it is awake.
    pub(crate) fn parked_at(&self) -> Option<u64> {
        let at = self.parked_at.load(Ordering::Relaxed);
        (at != 0).then_some(at)
    }

    /// Core: whether it is called at short notice, so that looking pays.
    pub(crate) fn set_quick(&self, is_quick: bool) {
        if self.is_quick.load(Ordering::Relaxed) != is_quick {
            self.is_quick.store(is_quick, Ordering::Relaxed);
        }
    }

    /// Whether it is called at short notice.
    pub(crate) fn is_quick(&self) -> bool {
        self.is_quick.load(Ordering::Relaxed)
    }

    /// Whether this core, which looks for work and is not parked, should be asked for help with a surplus
    /// that is `age` old. Such a core is called so often that it never gets hungry, and has time all the
    /// same.
    pub(crate) fn has_time(&self, age: u64, appetite: Appetite) -> bool {
        age >= appetite.surplus_old + self.patience.load(Ordering::Relaxed)
    }

    /// Whether this core should be asked for help with a surplus that is `age` old at `now`.
    pub(crate) fn is_hungry(&self, now: u64, age: u64, appetite: Appetite) -> bool {
        let Some(parked_at) = self.parked_at() else { return false };
        if age < appetite.surplus_young + self.patience.load(Ordering::Relaxed) {
            return false;
        }
        now.saturating_sub(parked_at) >= appetite.threshold || age >= appetite.surplus_old
    }

    /// Ringer: leaves the request (R1). The knock must follow.
    pub(crate) fn ask(&self) {
        self.asked.store(1, Ordering::Relaxed);
    }
}

/// How many cores of the runtime are parked, and whether the monitor sleeps.
#[derive(Debug)]
pub(crate) struct Parked {
    cores: usize,
    parked: AtomicUsize,
    sleeping: AtomicU32,
}

impl Parked {
    /// All of `cores` cores are awake, and so is the monitor.
    pub(crate) fn new(cores: usize) -> Self {
        Self { cores, parked: AtomicUsize::new(0), sleeping: AtomicU32::new(0) }
    }

    /// A core parks.
    pub(crate) fn one_more(&self) {
        self.parked.fetch_add(1, Ordering::AcqRel);
    }

    /// A core wakes (C1, C2). True if the caller has to wake the monitor.
    #[must_use = "a monitor that is not woken does not see this core"]
    pub(crate) fn one_less(&self) -> bool {
        self.parked.fetch_sub(1, Ordering::AcqRel);
        self.sleeping.load(Ordering::Relaxed) != 0 && self.sleeping.swap(0, Ordering::Relaxed) != 0
    }

    /// Whether any core is parked: one load, the check of a core with surplus.
    pub(crate) fn any(&self) -> bool {
        self.parked.load(Ordering::Relaxed) > 0
    }

    /// Monitor: wants to sleep (M1, M2). True if it may block until [`is_asleep`](Self::is_asleep) is false.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.sleeping.store(1, Ordering::Relaxed);
        if self.parked.fetch_add(0, Ordering::AcqRel) == self.cores {
            return true;
        }
        // Somebody may have taken it back already.
        self.sleeping.store(0, Ordering::Relaxed);
        false
    }

    /// Monitor: whether nobody has woken it.
    pub(crate) fn is_asleep(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed) != 0
    }
}

/// How many cores of the runtime look for work before they park. A core that looks holds a CPU, and who is to
/// call it may need one: so it is half of the cores, or two, so that a pair can wait for each other's
/// answers; with fewer CPUs than cores half of the CPUs; and nobody where there is one.
#[derive(Debug)]
pub(crate) struct Spinners {
    most: usize,
    spinning: AtomicUsize,
}

impl Spinners {
    /// Nobody of `cores` cores looks.
    pub(crate) fn new(cores: usize, cpus: usize) -> Self {
        let most = if cores <= cpus { (cores / 2).max(2) } else { cpus / 2 };
        Self { most: if cpus == 1 { 0 } else { most }, spinning: AtomicUsize::new(0) }
    }

    /// Whether any core looks: one load.
    pub(crate) fn any(&self) -> bool {
        self.spinning.load(Ordering::Relaxed) > 0
    }

    /// Core: wants to look. If it may, [`leave`](Self::leave) must follow.
    #[must_use]
    pub(crate) fn join(&self) -> bool {
        let may = |spinning| (spinning < self.most).then_some(spinning + 1);
        self.spinning.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may).is_ok()
    }

    /// Core: has looked.
    pub(crate) fn leave(&self) {
        self.spinning.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPETITE: Appetite = Appetite { threshold: 1_000, surplus_young: 100, surplus_old: 5_000 };

    #[test]
    fn a_core_is_hungry_once_it_has_been_parked_for_the_threshold() {
        let idle = Idleness::new();
        assert!(!idle.is_hungry(10_000, 4_000, APPETITE), "awake");
        idle.parks(10_000);
        assert!(!idle.is_hungry(10_999, 4_000, APPETITE));
        assert!(idle.is_hungry(11_000, 4_000, APPETITE));
        assert!(!idle.is_hungry(11_000, 99, APPETITE), "the surplus is too young");
        assert!(!idle.wakes());
        assert!(!idle.is_hungry(11_000, 4_000, APPETITE));
    }

    #[test]
    fn an_old_surplus_finds_a_core_that_parks_only_briefly() {
        let idle = Idleness::new();
        idle.parks(10_000);
        assert!(!idle.is_hungry(10_001, 4_999, APPETITE));
        assert!(idle.is_hungry(10_001, 5_000, APPETITE));
    }

    #[test]
    fn each_search_in_vain_doubles_the_age_a_surplus_must_have_and_a_steal_forgives_all() {
        let idle = Idleness::new();
        idle.parks(1);
        let asked_at = |age| idle.is_hungry(u64::MAX, age, APPETITE);
        idle.searched(false);
        assert!(!asked_at(PATIENCE_FIRST + 99) && asked_at(PATIENCE_FIRST + 100));
        idle.searched(false);
        assert!(!asked_at(2 * PATIENCE_FIRST + 99) && asked_at(2 * PATIENCE_FIRST + 100));
        (0..20).for_each(|_| idle.searched(false));
        assert!(asked_at(PATIENCE_MAX + 100));
        idle.searched(true);
        assert!(asked_at(100));
    }

    #[test]
    fn half_of_the_cores_look_or_two_of_few_and_nobody_on_one_cpu() {
        for (cores, cpus, most) in
            [(1, 4, 2), (2, 2, 2), (3, 4, 2), (8, 8, 4), (16, 2, 1), (1, 1, 0), (4, 1, 0)]
        {
            let spinners = Spinners::new(cores, cpus);
            assert!((0..most).all(|_| spinners.join()));
            assert!(!spinners.join(), "{cores} cores on {cpus} CPUs");
            assert_eq!(spinners.any(), most > 0);
            (0..most).for_each(|_| spinners.leave());
            assert!(!spinners.any());
        }
    }

    #[test]
    fn the_monitor_sleeps_only_while_all_are_parked_and_one_wakes_it() {
        let parked = Parked::new(2);
        parked.one_more();
        assert!(!parked.fall_asleep() && !parked.is_asleep());
        parked.one_more();
        assert!(parked.fall_asleep());
        assert!(parked.one_less());
        assert!(!parked.one_less(), "it has been woken");
    }
}
