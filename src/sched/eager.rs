//! A new local task that is polled where it is spawned, within the poll that spawns it.
//!
//! Owns when that is done, and what of a poll is one task's and not the other's. Only while a task's future
//! is being polled, where any code may run; elsewhere (a destructor that the loop runs: of a buffer, a
//! cancelled future, an output that nobody takes; a joiner's waker) the task is queued. So it is for a
//! background task, which has its share of the time, when the spawner's budget is spent, of which each such
//! poll takes a unit, and [`DEPTH_MAX`] polls within each other: neither a loop nor a chain of spawns holds
//! the core for longer than the budget allows, or grows the stack without end. (A chain through destructors
//! of outputs within one poll is as deep as the budget has units; a spawner that has opted out of its budget
//! pays nothing, and each new task has a whole one.)
//!
//! Until its first poll is over the task is in no list: it is not among those that a shutdown report of a
//! core stuck in that poll names, though the watchdog names it.
//!
//! The new task does not see what belongs to the spawner: that it may move, where it has asked to go on
//! (both put back here), its id and its values of `task_local!` (the task room's). Whoever watches the core
//! sees the inner task while it is polled. Thread-locals of others, a span that the spawner has entered among
//! them, are as they are.
#![forbid(unsafe_code)]

use super::current::{self, Core};
use super::running::Outer;
use super::shared::Scheduler;
use crate::base::coop;
use crate::task::{self, Attributes, Header, JoinHandle};
use std::future::Future;

/// Polls within each other, beyond the one of the loop.
const DEPTH_MAX: u8 = 8;

/// Spawns a task that never leaves this core and polls it once. `None`, and the future is dropped, on a
/// thread that is no core.
#[inline]
pub(crate) fn spawn_local_eager_here<F>(
    future: F,
    attributes: impl Into<Attributes>,
) -> Option<JoinHandle<F::Output>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // As in `spawn_local_here`, which is this without the poll.
    let core = current::here()?;
    let seat = core.seat_for::<F>();
    let (newborn, handle) = task::new_local_eager::<_, Scheduler>(future, seat, attributes);
    if core.may_poll_within(newborn.header()) {
        newborn.header().set_home(core.index);
        core.counters().spawns.add(1);
        let within = Within::begin(&core, newborn.header());
        newborn.run_within(|owned| core.lists(owned));
        drop(within);
    } else {
        let (owned, notified) = newborn.queue_instead();
        core.take_in(owned, notified);
    }
    Some(handle)
}

impl Core {
    #[inline]
    fn may_poll_within(&self, task: &Header) -> bool {
        !task.is_background()
            && task::depth() < DEPTH_MAX
            && !self.shared.refuses_tasks()
            && coop::spend_within_a_poll()
    }
}

/// A poll within another one, until it is dropped.
struct Within<'a> {
    core: &'a Core,
    outer: Option<Outer>,
    may_move: bool,
    bound_for: Option<usize>,
}

impl<'a> Within<'a> {
    #[inline]
    fn begin(core: &'a Core, task: &Header) -> Self {
        core.counters().polls.add(1);
        let outer = core.running.begins_within(task);
        Self {
            core,
            outer: Some(outer),
            may_move: core.may_move.replace(false),
            bound_for: core.bound_for.take(),
        }
    }
}

impl Drop for Within<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(outer) = self.outer.take() {
            self.core.running.resumes(outer);
        }
        self.core.may_move.set(self.may_move);
        self.core.bound_for.set(self.bound_for);
    }
}
