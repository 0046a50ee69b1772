//! The end of a core, in phases.
//!
//! 1. The runtime refuses spawns and accepts and knocks at every core (`Shared::close`).
//! 2. Each core lists its tasks, for the report, and drops them on its own thread. Barrier.
//! 3. Each core drains its inbox, gives sends that were promised to leave half of the time
//!    (net/poll_write.rs), cancels everything, reaps until nothing is in flight or the deadline. Barrier.
//! 4. Each inbox is closed by one swap; a later pusher disposes of its own message.
//! 5. The ring closes, or is leaked with all it owns if something is still in flight: closing a ring does not
//!    wait for the kernel (kernel-notes/ring-close.md).
//!
//! The deadline is that of whoever waits for the end, who goes on without the cores that miss it. A panic may
//! have begun the end before, for nobody, and by another deadline: so it is looked at again and again.
//!
//! A core that misses a barrier (stuck in a poll) is left behind with all it owns; the others go on without
//! it. Its inbox stays open, because only the core itself may close it, after its local tasks; who is no core
//! is told that the runtime is gone by another one (base/reach.rs).
#![forbid(unsafe_code)]

use super::current::Core;
use crate::base::guard::{self, contained};
use crate::base::inbox::Inbox;
use crate::ring::Ring;
use crate::ring::backend::Wait;
use crate::task::{Entry, Mark, Notified, OwnedTasks};
use std::sync::{Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// One step of waiting for the kernel in phase 3.
const DRAIN_STEP: Duration = Duration::from_millis(5);
/// How long a core that never started waits for what its start hook has begun, once its tasks are gone.
const ABANDON_PATIENCE: Duration = Duration::from_millis(200);

/// How many of the tasks that were alive are listed: more than a person reads, little to keep.
pub(crate) const ALIVE_LISTED: usize = 1_000;

/// How a core ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Ops that had no final completion by the deadline, leaked with the ring.
    pub(crate) leaked_ops: usize,
    /// The tasks that were alive when the end began.
    pub(crate) alive: Alive,
}

/// The tasks of one core that have not ended.
#[derive(Debug)]
pub(crate) struct Alive {
    /// At most [`ALIVE_LISTED`] of them. Looked at from another thread, the `Send` ones only.
    pub(crate) entries: Vec<Entry>,
    pub(crate) total: usize,
}

impl Alive {
    /// What `owned` holds now.
    pub(crate) fn of(owned: &OwnedTasks) -> Self {
        Self { entries: owned.entries(ALIVE_LISTED), total: owned.len() }
    }
}

#[derive(Debug, Default)]
struct Arrived {
    tasks_dropped: usize,
    /// The numbers of the cores.
    drained: Vec<usize>,
    deadline: Option<Instant>,
}

/// Where the cores of a runtime wait for each other at its end.
#[derive(Debug)]
pub(crate) struct Barriers {
    cores: usize,
    arrived: Mutex<Arrived>,
    changed: Condvar,
}

impl Barriers {
    /// Barriers for `cores` cores.
    pub(crate) fn new(cores: usize) -> Self {
        Self { cores, arrived: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the time by which all phases end, for somebody who waits until then and no longer.
    pub(crate) fn set_deadline(&self, deadline: Instant) {
        self.lock().deadline = Some(deadline);
        self.changed.notify_all();
    }

    /// Sets it for as long as nobody waits.
    pub(crate) fn propose_deadline(&self, deadline: Instant) {
        self.lock().deadline.get_or_insert(deadline);
    }

    /// Whether a core has come to the last barrier: what keeps it from its end is no task and no op.
    pub(crate) fn has_drained(&self, core: usize) -> bool {
        self.lock().drained.contains(&core)
    }

    /// The time by which all phases end, as far as is known; if nobody has said, then `otherwise`.
    fn deadline(&self, otherwise: Instant) -> Instant {
        self.lock().deadline.unwrap_or(otherwise)
    }

    /// A core passes a phase and waits for the others, until the time that `until` makes of the deadline.
    fn pass(
        &self,
        until: impl Fn(Instant) -> Instant,
        arrive: impl FnOnce(&mut Arrived),
        count: impl Fn(&Arrived) -> usize,
    ) {
        let otherwise = Instant::now() + DRAIN_STEP;
        let mut arrived = self.lock();
        arrive(&mut arrived);
        self.changed.notify_all();
        while count(&arrived) < self.cores {
            let until = until(arrived.deadline.unwrap_or(otherwise));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(arrived, left);
            arrived = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Phases 2 to 4 on a core's own thread. Phase 5 is the caller's: it owns the ring.
pub(super) fn end(core: &Core, ring: &Ring, wakers: &mut Vec<Waker>) -> Ended {
    let block = &core.shared.cores[core.index];
    let alive = Alive::of(&block.owned);
    drop_tasks(core);
    let barriers = &core.shared.barriers;
    // A core that is stuck in a poll does not come: half of the time is kept for what the others have in
    // flight.
    let half = half_from(Instant::now());
    barriers.pass(half, |arrived| arrived.tasks_dropped += 1, |arrived| arrived.tasks_dropped);

    let otherwise = Instant::now() + DRAIN_STEP;
    drain(core, ring, || barriers.deadline(otherwise), wakers);
    let index = core.index;
    barriers.pass(
        |deadline| deadline,
        |arrived| arrived.drained.push(index),
        |arrived| arrived.drained.len(),
    );

    // All local tasks are over; what is left of them is counted like everybody else's from here on.
    Mark::retire();
    // What came since: disposed of here; what comes from now on, by its sender.
    close_inbox(&block.inbox);
    wake(wakers);
    core.shared.injector.close();
    let leaked_ops = ring.in_flight();
    block.counters.show_levels_at_end(leaked_ops as u64);
    Ended { leaked_ops, alive }
}

/// The end of a core that never started, because another could not: nobody waits for anybody.
pub(super) fn abandon(core: &Core, ring: &Ring, wakers: &mut Vec<Waker>) -> Ended {
    let block = &core.shared.cores[core.index];
    let alive = Alive::of(&block.owned);
    drop_tasks(core);
    // Its own time: the one that could not start may have begun long ago, and the hooks of others go on.
    let deadline = Instant::now() + ABANDON_PATIENCE;
    drain(core, ring, || deadline, wakers);
    Mark::retire();
    close_inbox(&block.inbox);
    wake(wakers);
    Ended { leaked_ops: ring.in_flight(), alive }
}

/// Phase 4: what is in the inbox is disposed of, which may wake threads that wait outside.
pub(super) fn close_inbox(inbox: &Inbox) {
    let (pinned, send) = inbox.close();
    for message in pinned.chain(send) {
        contained(|| drop(message));
    }
}

/// Phase 2: ends all tasks of this core.
fn drop_tasks(core: &Core) {
    core.shared.cores[core.index].owned.close_and_shutdown();
    drop(core.local.take());
    drop(core.background.take());
    drop(core.spill.take());
    loop {
        // Out of the borrow before it is dropped: an output's drop is foreign code.
        let task = core.steal.borrow_mut().pop_front();
        if task.is_none() {
            return;
        }
        drop(task);
    }
}

/// The time at which half of what is left at `begun` until a deadline is over.
fn half_from(begun: Instant) -> impl Fn(Instant) -> Instant {
    move |deadline| begun + deadline.saturating_duration_since(begun) / 2
}

fn drain(core: &Core, ring: &Ring, deadline: impl Fn() -> Instant, wakers: &mut Vec<Waker>) {
    let inbox = &core.shared.cores[core.index].inbox;
    let grace = half_from(Instant::now());
    let mut is_closed = false;
    loop {
        for message in inbox.take_pinned() {
            if let Err(message) = Notified::from_message(message) {
                contained(|| message.deliver());
            }
        }
        drop(inbox.take_send());
        wake(wakers);
        let may_wait = || Instant::now() < grace(deadline()) && !crate::sys::fork::is_child();
        if !is_closed && ring.may_owe() && may_wait() {
            ring.enter(Wait::Until(Some(DRAIN_STEP)));
            ring.reap(wakers);
            wake(wakers);
            continue;
        }
        if !is_closed {
            ring.close(wakers);
            is_closed = true;
        }
        let done = ring.drain(DRAIN_STEP, wakers);
        wake(wakers);
        if done || Instant::now() >= deadline() {
            return;
        }
    }
}

fn wake(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        guard::wake(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    const NEVER: Duration = Duration::from_secs(3600);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_core_that_waits_for_another_goes_by_the_deadline_of_who_waits_for_the_end() {
        let barriers = Arc::new(Barriers::new(2));
        barriers.propose_deadline(Instant::now() + NEVER);
        let (told, is_told) = channel();
        let waits = Arc::clone(&barriers);
        let core = thread::spawn(move || {
            let arrive = |arrived: &mut Arrived| {
                arrived.drained.push(1);
                told.send(()).unwrap();
            };
            waits.pass(|deadline| deadline, arrive, |arrived| arrived.drained.len());
            told.send(()).unwrap();
        });
        is_told.recv().unwrap();
        // Nobody gets the lock before the core waits.
        let deadline = Instant::now();
        barriers.set_deadline(deadline);
        is_told.recv_timeout(LONG).expect("it goes on");
        core.join().unwrap();
        assert!(barriers.has_drained(1) && !barriers.has_drained(0));
        // A panic on the way.
        barriers.propose_deadline(deadline + NEVER);
        assert_eq!(barriers.deadline(deadline + NEVER), deadline);
    }
}
