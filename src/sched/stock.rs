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
use crate::task::{Class, Shell, Shells};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shells of each size at most: of small tasks as many as some threads have on their way at once. Some 4 MiB
/// if tasks of all sizes are spawned from outside.
const MOST: usize = 256;

/// Shells for threads that are no core.
pub(super) struct Stock {
    /// `None` once it is closed.
    shells: Mutex<Option<Shells<Scheduler>>>,
    /// Somebody has found nothing, and the stock has not been full since.
    wanting: AtomicBool,
}

impl Stock {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self { shells: Mutex::new(Some(Shells::new(MOST))), wanting: AtomicBool::new(false) }
    }

    /// A shell of this class.
    pub(super) fn take(&self, class: Class) -> Option<Shell<Scheduler>> {
        let taken = self.shells.try_lock().ok()?.as_mut()?.take(class);
        if taken.is_none() {
            self.wanting.store(true, Ordering::Relaxed);
        }
        taken
    }

    /// A core that has enough of this class hands on half of it, if that is wanted.
    #[inline]
    pub(super) fn offer(&self, from: &mut Shells<Scheduler>, class: Class) {
        if self.wanting.load(Ordering::Relaxed) {
            self.hand_on(from, class);
        }
    }

    #[cold]
    fn hand_on(&self, from: &mut Shells<Scheduler>, class: Class) {
        let Ok(mut shells) = self.shells.try_lock() else { return };
        if !shells.as_mut().is_some_and(|shells| from.give_half(class, shells)) {
            self.wanting.store(false, Ordering::Relaxed);
        }
    }

    /// No more shells are taken in; those that are here go.
    pub(super) fn close(&self) {
        // A poisoned lock has nothing in it that is half done.
        let shells = self.shells.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        // Out of the lock: their schedulers go with them.
        drop(shells);
    }
}
