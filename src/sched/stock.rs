//! What is left of tasks that have ended, for threads that are no core to make new ones from.
//!
//! Owns [`Stock`], one per runtime. A task that is spawned from outside is made by one thread and ends on
//! another: taken from the allocator here and given back there, its memory makes both wait for the lock of
//! one arena, for which glibc puts threads to sleep. So cores hand on what they have too much of, in batches
//! and only if somebody has asked in vain, and threads from outside take it. Nobody waits for the lock of the
//! stock: who finds it taken does without.
//!
//! A shell refers to what the cores share, and that owns the stock: at the end of the runtime
//! [`Stock::close`] breaks the circle.
#![forbid(unsafe_code)]

use super::shared::Scheduler;
use crate::sys::fork;
use crate::task::{Class, Shell, Shells};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shells of each size up to [`SMALL`] at most: as many as some threads have on their way at once.
const MOST: usize = 512;
/// In bytes.
const SMALL: usize = 264;
/// Shells of each larger size. With tasks of all sizes from outside it all comes to less than 3 MiB.
const MOST_LARGE: usize = 64;

/// Shells for threads that are no core.
pub(super) struct Stock {
    /// `None` once it is closed.
    shells: Mutex<Option<Shells<Scheduler>>>,
    /// A bit for each class of which somebody has found nothing, until there is no room for more of it.
    wanted: AtomicU64,
}

impl Stock {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self { shells: Mutex::new(Some(Shells::new(MOST))), wanted: AtomicU64::new(0) }
    }

    /// A shell of this class.
    pub(super) fn take(&self, class: Class) -> Option<Shell<Scheduler>> {
        let taken = self.shells.try_lock().ok()?.as_mut()?.take(class);
        if taken.is_none() {
            self.want(class);
        }
        taken
    }

    fn want(&self, class: Class) {
        // Mostly somebody has said so: many threads would take this word from each other.
        if self.wanted.load(Ordering::Relaxed) & class.bit() == 0 {
            self.wanted.fetch_or(class.bit(), Ordering::Relaxed);
        }
    }

    /// A core that has enough of this class hands on half of it, if that is wanted.
    #[inline]
    pub(super) fn offer(&self, from: &mut Shells<Scheduler>, class: Class) {
        if self.wanted.load(Ordering::Relaxed) & class.bit() != 0 {
            self.hand_on(from, class);
        }
    }

    #[cold]
    fn hand_on(&self, from: &mut Shells<Scheduler>, class: Class) {
        let Ok(mut shells) = self.shells.try_lock() else { return };
        let most = if class.bytes() <= SMALL { MOST } else { MOST_LARGE };
        if !shells.as_mut().is_some_and(|shells| from.give_half(class, shells, most)) {
            self.wanted.fetch_and(!class.bit(), Ordering::Relaxed);
        }
    }

    /// No more shells are taken in; those that are here go.
    pub(super) fn close(&self) {
        if fork::is_child() {
            // A thread of the parent may have held the lock.
            return;
        }
        // A poisoned lock has nothing in it that is half done.
        let shells = self.shells.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        // Out of the lock: their schedulers go with them.
        drop(shells);
    }
}
