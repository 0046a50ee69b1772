//! What a core is polling, for those who watch it.
//!
//! Owns three words per core, written by the core with plain stores around each poll. Read from elsewhere
//! they may belong to two polls; while a core is stuck they do not change. Nothing here points into a task.
#![forbid(unsafe_code)]

use crate::base::place::AtomicPlace;
use crate::task::{Header, Id};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

/// The poll that is going on.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// The task's id; 0 between polls.
    task: AtomicU64,
    spawned_at: AtomicPlace,
}

/// What [`Running`] said at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Poll {
    /// The task that is being polled.
    pub(crate) task: Option<Id>,
    /// Where it was spawned.
    pub(crate) spawned_at: Option<&'static Location<'static>>,
    /// Its name.
    pub(crate) name: Option<String>,
}

impl Running {
    /// Core: a poll of `task` begins.
    #[inline]
    pub(crate) fn begins(&self, task: &Header) {
        self.task.store(task.id().as_u64(), Ordering::Relaxed);
        self.spawned_at.set(task.spawned_at());
    }

    /// Core: the poll has ended.
    #[inline]
    pub(crate) fn ends(&self) {
        self.task.store(0, Ordering::Relaxed);
    }

    /// What is being polled now.
    pub(crate) fn read(&self) -> Poll {
        let Some(task) = Id::from_u64(self.task.load(Ordering::Relaxed)) else { return Poll::default() };
        Poll { task: Some(task), spawned_at: self.spawned_at.get(), name: None }
    }
}
