//! The end of a core, in phases.
//!
//! 1. The runtime refuses spawns and accepts and knocks at every core (`Shared::close`).
//! 2. Each core drops its tasks on its own thread. Barrier.
//! 3. Each core drains its inbox, cancels everything, reaps until nothing is in flight or the deadline.
//!    Barrier.
//! 4. Each inbox is closed by one swap; a later pusher disposes of its own message.
//! 5. The ring closes, or is leaked with all it owns if something is still in flight: closing a ring does not
//!    wait for the kernel (kernel-notes/ring-close.md).
//!
//! A core that misses a barrier (stuck in a poll) is left behind with all it owns; the others go on without
//! it.
#![forbid(unsafe_code)]

use super::current::Core;
use crate::ring::Ring;
use crate::task::Notified;
use std::sync::{Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// One step of waiting for the kernel in phase 3.
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// How a core ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Ops that had no final completion by the deadline, leaked with the ring.
    pub(crate) leaked_ops: usize,
}

#[derive(Debug, Default)]
struct Arrived {
    tasks_dropped: usize,
    drained: usize,
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

    /// Sets the time by which all phases end; the first caller decides.
    pub(crate) fn set_deadline(&self, deadline: Instant) {
        self.lock().deadline.get_or_insert(deadline);
    }

    fn deadline(&self) -> Instant {
        // A core may see the closing word before the deadline is there.
        self.lock().deadline.unwrap_or_else(|| Instant::now() + DRAIN_STEP)
    }

    /// A core passes a phase and waits for the others, until the deadline.
    fn pass(&self, arrive: impl FnOnce(&mut Arrived), count: impl Fn(&Arrived) -> usize) {
        let mut arrived = self.lock();
        arrive(&mut arrived);
        self.changed.notify_all();
        while count(&arrived) < self.cores {
            let deadline = arrived.deadline.unwrap_or_else(|| Instant::now() + DRAIN_STEP);
            let left = deadline.saturating_duration_since(Instant::now());
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
    drop_tasks(core);
    core.shared.barriers.pass(|arrived| arrived.tasks_dropped += 1, |arrived| arrived.tasks_dropped);

    drain(core, ring, wakers);
    core.shared.barriers.pass(|arrived| arrived.drained += 1, |arrived| arrived.drained);

    // What came since: disposed of here; what comes from now on, by its sender.
    drop(block.inbox.close());
    wake(wakers);
    core.shared.injector.close();
    let leaked_ops = ring.in_flight();
    block.counters.show_levels_at_end(leaked_ops as u64);
    Ended { leaked_ops }
}

/// Phase 2: ends all tasks of this core.
pub(super) fn drop_tasks(core: &Core) {
    core.shared.cores[core.index].owned.close_and_shutdown();
    drop(core.local.take());
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

fn drain(core: &Core, ring: &Ring, wakers: &mut Vec<Waker>) {
    let inbox = &core.shared.cores[core.index].inbox;
    let deadline = core.shared.barriers.deadline();
    ring.close(wakers);
    loop {
        for message in inbox.take_pinned() {
            if let Err(message) = Notified::from_message(message) {
                crate::base::guard::contained(|| message.deliver());
            }
        }
        drop(inbox.take_send());
        wake(wakers);
        let done = ring.drain(DRAIN_STEP, wakers);
        wake(wakers);
        if done || Instant::now() >= deadline {
            return;
        }
    }
}

fn wake(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        crate::base::guard::contained(|| waker.wake());
    }
}
