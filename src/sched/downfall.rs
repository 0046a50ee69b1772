//! Why a runtime ends by itself: the first task that panicked, if panics are to end it, and who hears of it.
//!
//! Owns [`Downfall`]. It ends nothing; that is whoever reports the panic (`runtime::panic_policy`). The cause
//! is there before the end begins, so whoever sees a task cancelled by that end finds out why.
#![forbid(unsafe_code)]

use crate::base::guard;
use crate::task::{Id, TaskPanic};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The panic that ended a runtime.
#[derive(Debug)]
pub(crate) struct Cause {
    /// The task that panicked.
    pub(crate) task: Id,
    text: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the runtime was shut down because {}", self.text)
    }
}

/// Whether a panic has ended the runtime, and which threads outside of it wait.
#[derive(Debug, Default)]
pub(crate) struct Downfall(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    cause: Option<Arc<Cause>>,
    watching: Vec<(u64, Waker)>,
    next: u64,
}

impl Downfall {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task has panicked. Only the first counts; those who watch are woken.
    pub(crate) fn happens(&self, panic: &TaskPanic<'_>) {
        let watching = {
            let mut state = self.lock();
            state.cause.get_or_insert_with(|| Arc::new(Cause { task: panic.id(), text: panic.to_string() }));
            std::mem::take(&mut state.watching)
        };
        for (_, waker) in watching {
            guard::wake(waker);
        }
    }

    /// The panic that has ended the runtime.
    pub(crate) fn cause(&self) -> Option<Arc<Cause>> {
        self.lock().cause.clone()
    }

    /// Wakes `waker` if it happens while the guard lives. It may have happened before: see
    /// [`Downfall::cause`].
    pub(crate) fn watch(&self, waker: Waker) -> Watch<'_> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.watching.push((number, waker));
        Watch { downfall: self, number }
    }
}

/// Ends a watch when it is dropped.
#[must_use = "nobody is woken after the guard has gone"]
pub(crate) struct Watch<'a> {
    downfall: &'a Downfall,
    number: u64,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut state = self.downfall.lock();
        let at = state.watching.iter().position(|(number, _)| *number == self.number);
        let waker = at.map(|at| state.watching.swap_remove(at));
        drop(state);
        drop(waker);
    }
}
