//! The injector: what does not fit a steal queue waits here for any core.
//!
//! Owns one intrusive lane that is pushed to without a lock, and a chest that consumers fill from it under a
//! lock they only try. It is not the way in for foreign spawns: those go to a core's inbox.
#![forbid(unsafe_code)]

use crate::base::inbox::Lane;
use crate::task::Notified;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    pub(crate) fn take(&self, most: usize, mut each: impl FnMut(Notified)) -> usize {
        if self.is_empty() {
            return 0;
        }
        let Ok(mut chest) = self.chest.try_lock() else { return 0 };
        if chest.is_empty() {
            chest.extend(
                self.lane.take().filter_map(|message| Notified::from_message(message).ok().flatten()),
            );
        }
        let count = most.min(chest.len());
        self.len.fetch_sub(count, Ordering::SeqCst);
        let taken: Vec<Notified> = chest.drain(..count).collect();
        drop(chest);
        taken.into_iter().for_each(&mut each);
        count
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
