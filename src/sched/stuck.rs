//! Which cores are stuck in a poll (or not answering), and who wants to know.
//!
//! Owns a flag per core, written by the monitor only, and the wakers of those who act on a change (a server
//! that takes over the listener of a stuck core). Promises that a waker registered before a change is woken
//! by it. It does not find out who is stuck (monitor.rs).
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

/// The stuck cores of one runtime.
#[derive(Debug)]
pub(crate) struct Stuck {
    cores: Box<[AtomicBool]>,
    count: AtomicUsize,
    waiting: Mutex<Vec<Waker>>,
}

impl Stuck {
    /// None of `cores` cores is stuck.
    pub(crate) fn new(cores: usize) -> Self {
        let cores = (0..cores).map(|_| AtomicBool::new(false)).collect();
        Self { cores, count: AtomicUsize::new(0), waiting: Mutex::default() }
    }

    /// Whether any core is (one load). Relaxed: it costs every turn, and who sees it a turn later helps then.
    /// Who must not miss a change registers, under the lock.
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Whether core `core` is.
    pub(crate) fn is_stuck(&self, core: usize) -> bool {
        self.any() && self.cores[core].load(Ordering::SeqCst)
    }

    /// Wakes `waker` at the next change of any core. To be followed by a look at the cores one cares for.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut waiting = self.lock();
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    /// Lets go of `waker`, whose task ends: there may never be a change that does.
    pub(crate) fn forget(&self, waker: &Waker) {
        self.lock().retain(|known| !known.will_wake(waker));
    }

    /// Monitor: what it has found out about `core`.
    pub(super) fn set(&self, core: usize, stuck: bool) {
        if self.cores[core].swap(stuck, Ordering::SeqCst) == stuck {
            return;
        }
        if stuck {
            self.count.fetch_add(1, Ordering::SeqCst);
        } else {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
        let waiting = std::mem::take(&mut *self.lock());
        waiting.into_iter().for_each(|waker| {
            crate::base::guard::wake(waker);
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
