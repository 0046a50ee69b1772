//! The injector: what does not fit a steal queue waits here for any core.
//!
//! Owns one intrusive lane that is pushed to without a lock, and a chest that consumers fill from it under a
//! lock they only try. It is not the way in for foreign spawns: those go to a core's inbox.
#![forbid(unsafe_code)]

use super::worker::INJECTOR_EVERY;
use crate::base::inbox::Lane;
use crate::task::Notified;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// The global overflow queue.
pub(crate) struct Injector {
    lane: Lane,
    chest: Mutex<VecDeque<Notified>>,
    len: AtomicUsize,
}

impl Injector {
    /// An empty, open injector.
    pub(crate) fn new() -> Self {
        Self { lane: Lane::new(), chest: Mutex::new(VecDeque::new()), len: AtomicUsize::new(0) }
    }

    /// Adds a task. On a closed injector it is dropped: its owner's list has ended it or will.
    pub(crate) fn push(&self, task: Notified) {
        // Counted before it can be taken, so that the count never wraps.
        self.len.fetch_add(1, Ordering::SeqCst);
        if let Err(message) = self.lane.push(task.into_message()) {
            self.len.fetch_sub(1, Ordering::SeqCst);
            drop(message);
        }
    }

    /// Takes up to `most` tasks; none if another core is just taking.
    pub(crate) fn take(&self, most: usize, each: impl FnMut(Notified)) -> usize {
        let Some(mut chest) = self.open() else { return 0 };
        let count = most.min(chest.len());
        self.len.fetch_sub(count, Ordering::SeqCst);
        let taken: Vec<Notified> = chest.drain(..count).collect();
        drop(chest);
        taken.into_iter().for_each(each);
        count
    }

    /// Takes the oldest task; none if another core is just taking.
    pub(crate) fn take_one(&self) -> Option<Notified> {
        let one = self.open()?.pop_front();
        if one.is_some() {
            self.len.fetch_sub(1, Ordering::SeqCst);
        }
        one
    }

    /// The chest, with something in it if there is anything.
    fn open(&self) -> Option<MutexGuard<'_, VecDeque<Notified>>> {
        if self.is_empty() {
            return None;
        }
        let mut chest = self.chest.try_lock().ok()?;
        if chest.is_empty() {
            chest.extend(
                self.lane.take().filter_map(|message| Notified::from_message(message).ok().flatten()),
            );
        }
        Some(chest)
    }

    /// Tasks waiting.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Whether there are none (part of the park re-check).
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses all further tasks and drops those that wait.
    pub(crate) fn close(&self) {
        let waiting: Vec<_> = self.lane.close().collect();
        let chest = self.chest.lock().map(|mut chest| std::mem::take(&mut *chest)).unwrap_or_default();
        self.len.fetch_sub(waiting.len() + chest.len(), Ordering::SeqCst);
    }
}

/// Of how many polls of `Send` tasks one is of the injector's oldest task, so that those who wait there are
/// polled as often as those in a core's own queue. `None` if nobody waits, or so few that the poll which they
/// are sure of ([`INJECTOR_EVERY`]) is enough.
pub(super) fn pace(own: usize, waiting: usize) -> Option<u64> {
    let one_of = own.div_ceil(waiting.max(1)) as u64 + 1;
    (waiting > 0 && one_of < INJECTOR_EVERY).then_some(one_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_injector_is_asked_as_often_as_its_depth_deserves() {
        assert_eq!(pace(256, 0), None);
        assert_eq!(pace(256, 1), None, "the poll that it is sure of does");
        assert_eq!(pace(256, 8), Some(33));
        assert_eq!(pace(256, 256), Some(2));
        assert_eq!(pace(256, 100_000), Some(2));
        assert_eq!(pace(0, 1), Some(1), "there is nothing else");
    }
}
