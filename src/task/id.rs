//! Task ids, and which task the current thread is polling.
//!
//! Owns [`Id`] and a thread-local that is set around each poll of a task (and around the drop of its future
//! and output) and put back afterwards. Ids are handed out to threads in blocks: a spawn touches no shared
//! counter. An id says nothing about order or place.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of a task: unique in the process, never used twice.
///
/// ```
/// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
/// # runtime.block_on(async {
/// let handle = ringwork::spawn(async { ringwork::task::id() });
/// let outside = handle.id();
/// assert_eq!(handle.await.unwrap(), outside);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(NonZeroU64);

impl Id {
    /// A new id.
    #[inline]
    pub(super) fn next() -> Self {
        BLOCK.with(|block| {
            let (next, end) = block.get();
            let next = if next == end { refill(block) } else { next };
            let (_, end) = block.get();
            block.set((next + 1, end));
            Id(NonZeroU64::new(next).expect("blocks start at 1"))
        })
    }
}

impl Id {
    /// The id with this number; `None` for 0.
    pub(crate) fn from_u64(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number behind the id, for reports.
    #[inline]
    pub(crate) fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of the task that is being polled on this thread.
///
/// # Panics
/// If no task is (see [`try_id`]).
///
/// ```
/// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
/// # runtime.block_on(async {
/// let id = ringwork::spawn(async { ringwork::task::id() }).await.unwrap();
/// println!("task {id} has ended");
/// # });
/// ```
#[track_caller]
#[must_use = "the answer is the only effect"]
pub fn id() -> Id {
    try_id().expect(
        "no task is being polled on this thread: call `task::id` inside a task, or use `task::try_id`",
    )
}

/// The id of the task that is being polled on this thread, if one is.
///
/// ```
/// assert!(ringwork::task::try_id().is_none());
/// ```
#[must_use = "the answer is the only effect"]
pub fn try_id() -> Option<Id> {
    CURRENT.get()
}

/// Names the task that this thread is working on, until it is dropped.
#[must_use = "the id is set only while the guard lives"]
pub(super) struct Current {
    before: Option<Id>,
}

impl Current {
    /// This thread works on the task `id`.
    #[inline]
    pub(super) fn enter(id: Id) -> Self {
        Self { before: CURRENT.replace(Some(id)) }
    }
}

impl Drop for Current {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Ids a thread takes at a time: large enough that the shared counter is cold, small enough to read in a log.
const IDS_PER_BLOCK: u64 = 1024;

thread_local! {
    static CURRENT: Cell<Option<Id>> = const { Cell::new(None) };
    /// The next id of this thread, and the first one that is no longer its own.
    static BLOCK: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

#[cold]
fn refill(block: &Cell<(u64, u64)>) -> u64 {
    // Only uniqueness counts, which a read-modify-write gives in any ordering.
    static NEXT_BLOCK: AtomicU64 = AtomicU64::new(1);
    let first = NEXT_BLOCK.fetch_add(IDS_PER_BLOCK, Ordering::Relaxed);
    block.set((first, first + IDS_PER_BLOCK));
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_of_all_threads_differ() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..3_000).map(|_| Id::next()).collect::<Vec<_>>()))
            .collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 12_000);
    }

    #[test]
    fn the_current_task_is_put_back_after_a_nested_one() {
        let (outer, inner) = (Id::next(), Id::next());
        let first = Current::enter(outer);
        {
            let _second = Current::enter(inner);
            assert_eq!(try_id(), Some(inner));
        }
        assert_eq!(id(), outer);
        drop(first);
        assert_eq!(try_id(), None);
    }
}
