//! What of one task runs within the poll of another, on this thread.
//!
//! Owns [`Level`] and its one thread-local. Two things are within a poll although they are another task's:
//! the first poll of a task that is polled where it is spawned (newborn.rs), and the end of one there
//! (run.rs). Its future is dropped, or its closure, because it is cancelled, as a job of the blocking pool is
//! by its abort, or refused by its spawn; or its output, because its handle is dropped. Both are counted,
//! each by itself: how deep polls may be within each other is limited (`sched/eager.rs`), and destructors
//! have no part in that.
//!
//! A value of `task_local!` notes at which level it was set and is there at no other (task_local.rs). So no
//! task sees those of the one around it, and behind it that one has its own again. That a level comes back
//! later for another task does no harm: what was set there is gone by then, as what is within a poll ends
//! before that poll goes on.
#![forbid(unsafe_code)]

use std::cell::Cell;

/// How much there is within each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Polls, beyond the first.
    polls: u8,
    /// Ends of tasks.
    ends: u32,
}

impl Level {
    /// Within no other task.
    pub(super) const GROUND: Self = Self { polls: 0, ends: 0 };
}

thread_local! {
    static LEVEL: Cell<Level> = const { Cell::new(Level::GROUND) };
}

/// The level of what runs now.
#[inline]
pub(super) fn level() -> Level {
    LEVEL.get()
}

/// In how many polls of tasks, each within another, this thread is beyond the first.
#[inline]
pub(crate) fn depth() -> u8 {
    LEVEL.get().polls
}

/// So much further, until it is dropped.
#[must_use = "the level is left when the guard is dropped"]
pub(super) struct Within(Level);

impl Within {
    /// A poll begins within whatever goes on.
    #[inline]
    pub(super) fn a_poll() -> Self {
        Self::enter(Level { polls: 1, ends: 0 })
    }

    /// The end of a task begins within whatever goes on: it was cancelled, or nobody wants its output.
    #[inline]
    pub(super) fn an_end() -> Self {
        Self::enter(Level { polls: 0, ends: 1 })
    }

    #[inline]
    fn enter(step: Level) -> Self {
        let Level { polls, ends } = LEVEL.get();
        LEVEL.set(Level { polls: polls + step.polls, ends: ends + step.ends });
        Self(step)
    }
}

impl Drop for Within {
    #[inline]
    fn drop(&mut self) {
        let Level { polls, ends } = LEVEL.get();
        LEVEL.set(Level { polls: polls - self.0.polls, ends: ends - self.0.ends });
    }
}
