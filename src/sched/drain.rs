//! Draining: finding out that the last task has ended.
//!
//! Owns the word that refuses spawns from outside, and the two questions by which the end of all tasks is
//! known. It ends nothing itself (shutdown.rs does, afterwards), and costs a core that does not drain one
//! load per park.
//!
//! # How the end is known
//! Task lists are per core, a task may be spawned from one core into another's list, and a task made for
//! another core is in no list while it travels: no look at the lists from outside can tell that all are
//! empty *at once*. So all cores are asked, twice. A core answers when it is about to park, with nothing
//! queued and nothing in its inbox: how many tasks it lists, and how many were ever born into its list. It
//! answers anew at each park, after it has said that it is parked (sched/mod.rs): a question that it does not
//! see then is followed by a knock that wakes it. The second question is asked once all have said "none" to
//! the first. If all say "none" again and no birth was counted in between, then between the two questions no
//! list had a task and no task was travelling:
//! - nothing was born into a list between its core's two answers, and each list was empty at both;
//! - a message that was under way when the second question was asked was in an inbox before, and a core does
//!   not answer with a message in its inbox.
//!
//! Both numbers of an answer are of one moment: the births are the same before and after the look into the
//! list. A job of the pool spawns at any time, and a task that was counted and not listed in the first answer
//! would be missed, if it started another job and ended before the second.
//!
//! A task that was stolen leaves the list of the core where it was born, which may be parked and have
//! answered: that one is woken to answer again.
//!
//! Tasks are spawned by tasks and by jobs of the runtime's own blocking pool only (others are refused), so it
//! remains so if the pool is at rest at that time too.
#![forbid(unsafe_code)]

use super::shared::Shared;
use crate::blocking;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the blocking pool is looked at once there are no tasks: its jobs end without telling anybody.
/// Only while draining, and only if jobs outlive all tasks.
const POOL_LOOK: Duration = Duration::from_millis(2);

/// What a core said when it parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answer {
    /// The question it answers; 0 for none yet.
    question: u64,
    born: u64,
    alive: usize,
}

#[derive(Debug)]
struct Talk {
    question: u64,
    answers: Box<[Answer]>,
}

/// Whether a runtime drains, and what its cores say about that.
#[derive(Debug)]
pub(crate) struct Drain {
    /// The pool whose jobs may spawn meanwhile; 0 while the runtime does not drain.
    pool: AtomicUsize,
    talk: Mutex<Talk>,
    changed: Condvar,
}

impl Drain {
    /// For `cores` cores that do not drain.
    pub(crate) fn new(cores: usize) -> Self {
        let talk = Talk { question: 0, answers: vec![Answer::default(); cores].into() };
        Self { pool: AtomicUsize::new(0), talk: Mutex::new(talk), changed: Condvar::new() }
    }

    /// Whether spawns from outside are refused (one load). Relaxed: a core that parks has swapped its inbox's
    /// word before it asks, and the drain knocks there after it has said that it is on.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.pool.load(Ordering::Relaxed) != 0
    }

    /// Whether this thread works for the pool whose jobs may spawn meanwhile.
    pub(super) fn admits_this_thread(&self) -> bool {
        blocking::works_for(self.pool.load(Ordering::Relaxed))
    }

    /// The runtime closes: who waits for its tasks waits no longer. The word that says so is set.
    pub(super) fn give_up(&self) {
        // In the lock: whoever has not seen the word yet waits by now.
        let talk = self.lock();
        self.changed.notify_all();
        drop(talk);
    }

    fn lock(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Core: is about to park, with nothing queued, and can be rung.
    #[cold]
    pub(super) fn parks(&self, shared: &Shared, core: usize) {
        let block = &shared.cores[core];
        let mut talk = self.lock();
        // In the lock: what was sent before the question was asked is seen.
        if !block.inbox.is_empty() {
            return;
        }
        let births = || block.counters.spawns.get() + block.counters.spawns_remote.get();
        let (born, alive) = at_one_moment(births, || block.owned.len_settled());
        talk.answers[core] = Answer { question: talk.question, born, alive };
        drop(talk);
        self.changed.notify_all();
    }
}

/// How many were ever born and how many are alive, of one moment.
fn at_one_moment(births: impl Fn() -> u64, alive: impl Fn() -> usize) -> (u64, usize) {
    let mut before = births();
    loop {
        // Births are read before the list, not to count one that came behind the look into the list: its
        // task would be among the born of this answer and not among its living.
        fence(Ordering::Acquire);
        let alive = alive();
        // And after it: who took the last task out of the list, under its lock, is then known to have counted
        // what that task gave birth to, in whichever list.
        let born = births();
        if before == born {
            return (born, alive);
        }
        before = born;
    }
}

impl Talk {
    /// If all cores have said that they have no task: the births each had counted.
    fn births_if_all_ended(&self) -> Option<Vec<u64>> {
        let ended = |answer: &Answer| answer.question == self.question && answer.alive == 0;
        self.answers.iter().all(ended).then(|| self.answers.iter().map(|answer| answer.born).collect())
    }
}

impl Shared {
    /// Refuses spawns from outside and waits until all tasks, and all jobs of the runtime's `pool`, have
    /// ended, until `deadline`, or until the runtime closes. Returns whether all had ended. Not on a core.
    pub(crate) fn drain(&self, deadline: Instant, pool: &blocking::Pool) -> bool {
        self.drain.pool.store(pool.address(), Ordering::SeqCst);
        let mut before = None;
        loop {
            let Some(births) = self.ask_all(deadline) else { return false };
            // Between the two questions, and not later: a job that ends then may have spawned a task before.
            let rests = pool.counts().at_rest();
            if before.as_ref() == Some(&births) {
                return true;
            }
            before = rests.then_some(births);
            if !rests {
                std::thread::sleep(POOL_LOOK.min(deadline.saturating_duration_since(Instant::now())));
            }
        }
    }

    /// Wakes the cores whose last task has ended on another core since they answered. That one has parked
    /// after it, or will, and so this is called after it.
    fn ask_again(&self, talk: &Talk) {
        for (core, answer) in self.cores.iter().zip(&talk.answers) {
            if answer.alive > 0 && core.owned.len_settled() == 0 {
                core.inbox.knock();
            }
        }
    }

    /// Asks all cores, and waits until all have said that they have no task: the births they had counted.
    fn ask_all(&self, deadline: Instant) -> Option<Vec<u64>> {
        self.drain.lock().question += 1;
        // A core that is parked answers when it parks again.
        self.cores.iter().for_each(|core| core.inbox.knock());
        let mut talk = self.drain.lock();
        loop {
            if let Some(births) = talk.births_if_all_ended() {
                return Some(births);
            }
            if self.is_closing() {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.ask_again(&talk);
            let waited = self.drain.changed.wait_timeout(talk, left);
            talk = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_birth_behind_the_look_into_the_list_is_not_counted_without_its_task() {
        let (born, listed) = (Cell::new(7), Cell::new(0));
        let look = || {
            let alive = listed.get();
            if born.get() == 7 {
                born.set(8);
                listed.set(1);
            }
            alive
        };
        assert_eq!(at_one_moment(|| born.get(), look), (8, 1));
    }
}
