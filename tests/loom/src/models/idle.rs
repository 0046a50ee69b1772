//! Models of idleness (`src/sched/idle.rs`) together with the inbox's door and the steal queue: who parks,
//! who is asked, who steals, and when the monitor may sleep.
//!
//! A core or a monitor that sleeps for ever shows as a deadlock, a lost or doubled task as a wrong count.

use super::explore;
use crate::base::inbox::Inbox;
use crate::sched::idle::{Appetite, Idleness, Parked};
use crate::sched::queue::Owner;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

/// Any core that is parked is hungry for any surplus.
const HUNGRY: Appetite = Appetite { threshold: 0, surplus_young: 0, surplus_old: 0 };

/// What one core shows.
struct Shown {
    idle: Idleness,
    inbox: Inbox,
    bell: Arc<Notify>,
    closing: AtomicBool,
}

impl Shown {
    fn new() -> Arc<Self> {
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        let inbox = Inbox::new(Box::new(move || ring.notify()));
        Arc::new(Self { idle: Idleness::new(), inbox, bell, closing: AtomicBool::new(false) })
    }

    /// The core parks until it is rung, as the worker does. Whether it was asked to search.
    fn park(&self) -> bool {
        self.idle.parks(1);
        self.inbox.park();
        if self.inbox.is_empty() && !self.closing.load(Ordering::SeqCst) {
            self.bell.wait();
        }
        self.inbox.unpark();
        self.idle.wakes()
    }

    fn ask(&self) {
        self.idle.ask();
        self.inbox.knock();
    }

    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.inbox.knock();
    }
}

/// A core whose bell was rung by somebody who asked knows that it was asked.
pub fn a_core_that_was_asked_knows_it() {
    explore(3, || {
        let core = Shown::new();
        let ringer = Arc::clone(&core);
        let ringer = thread::spawn(move || {
            // As `Shared::ring_hungry` does: only a core that is parked is asked.
            if ringer.inbox.is_parked() {
                ringer.ask();
            }
            let rang = ringer.inbox.times_rung() > 0;
            ringer.close();
            rang
        });
        let mut knew = false;
        while !core.closing.load(Ordering::SeqCst) {
            // Wakes without a ring, of which loom tries some, are followed by another park.
            knew |= core.park();
        }
        assert!(!ringer.join().unwrap() || knew);
    });
}

/// A core with surplus looks after every poll; one that parks is asked, wakes and steals. Every task runs
/// once.
pub fn a_surplus_is_shared_with_a_core_that_parks() {
    surplus_against_park(2, 3);
}

/// The same with more tasks and preemptions.
pub fn a_surplus_is_shared_with_a_core_that_parks_deep() {
    surplus_against_park(3, 4);
}

fn surplus_against_park(preemptions: usize, tasks: u32) {
    // Executions in which the core that parks got something. The other one runs all that is left, so without
    // any the model would show nothing.
    let shared = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&shared);
    explore(preemptions, move || {
        let hungry = Shown::new();
        let mut queue = Owner::<u32>::new();
        let stealer = queue.stealer();
        let other = Arc::clone(&hungry);
        let thief = thread::spawn(move || {
            let (mut mine, mut taken) = (Owner::<u32>::new(), Vec::new());
            while !other.closing.load(Ordering::SeqCst) {
                if other.park() {
                    let count = stealer.steal_half_into(&mut mine);
                    other.idle.searched(count > 0);
                    taken.extend(std::iter::from_fn(|| mine.pop_front()));
                }
            }
            taken
        });
        (0..tasks).for_each(|task| queue.push_back(task).expect("there is room"));
        let mut ran = Vec::new();
        while let Some(task) = queue.pop_front() {
            ran.push(task);
            if queue.len() > 1 && hungry.idle.is_hungry(9, 9, HUNGRY) && hungry.inbox.is_parked() {
                hungry.ask();
            }
        }
        hungry.close();
        let taken = thief.join().unwrap();
        counted.fetch_add(usize::from(!taken.is_empty()), std::sync::atomic::Ordering::Relaxed);
        ran.extend(taken);
        ran.sort_unstable();
        assert_eq!(ran, (0..tasks).collect::<Vec<_>>());
    });
    let shared = shared.load(std::sync::atomic::Ordering::Relaxed);
    assert!(shared > 0, "the core that parks has never stolen");
}

/// Two askers ring one parked core: it wakes, and nobody rings a core that is awake.
pub fn two_askers_wake_one_core() {
    explore(2, || {
        let core = Shown::new();
        let askers = [(); 2].map(|()| {
            let core = Arc::clone(&core);
            thread::spawn(move || {
                if core.idle.parked_at().is_some() && core.inbox.is_parked() {
                    core.ask();
                }
            })
        });
        let closer = Arc::clone(&core);
        let closer = thread::spawn(move || closer.close());
        core.park();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        closer.join().unwrap();
        assert!(core.inbox.times_rung() <= 1);
    });
}

fn monitor_against(preemptions: usize, cores: usize) {
    explore(preemptions, move || {
        let parked = Arc::new(Parked::new(cores));
        let bell = Arc::new(Notify::new());
        (0..cores).for_each(|_| parked.one_more());
        let wakers: Vec<_> = (0..cores)
            .map(|_| {
                let (parked, bell) = (Arc::clone(&parked), Arc::clone(&bell));
                thread::spawn(move || {
                    if parked.one_less() {
                        bell.notify();
                    }
                })
            })
            .collect();
        if parked.fall_asleep() {
            while parked.is_asleep() {
                bell.wait();
            }
        }
        wakers.into_iter().for_each(|core| core.join().unwrap());
        assert!(!parked.is_asleep());
    });
}

/// A monitor that falls asleep while cores wake is woken, or does not fall asleep.
pub fn the_monitor_does_not_sleep_through_a_wake() {
    monitor_against(3, 2);
}

/// The same with three cores.
pub fn the_monitor_does_not_sleep_through_a_wake_deep() {
    monitor_against(4, 3);
}
