//! A place among a listener's `max_connections`.
//!
//! Owns the count. A stream holds its permit until its descriptor closes, and the listeners that wait for
//! room are woken then. It does not accept.
#![forbid(unsafe_code)]

use super::waiting::{Ticket, Waiting};
use crate::base::guard;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Counts the live connections of one listener, or of several.
#[derive(Debug)]
pub(crate) struct Permits {
    most: usize,
    shared: bool,
    /// Permits given out.
    taken: AtomicUsize,
    /// Those that a connection has.
    used: AtomicUsize,
    waiting: Mutex<Waiting>,
}

impl Permits {
    /// At most `most` connections at a time for each of so many listeners, which need not be even.
    pub(crate) fn new(most: usize, listeners: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.saturating_mul(listeners),
            shared: listeners > 1,
            taken: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            waiting: Mutex::default(),
        })
    }

    /// Whether several listeners take them.
    pub(crate) fn are_shared(&self) -> bool {
        self.shared
    }

    /// Connections that live now.
    pub(crate) fn live(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// A permit, or the promise to wake `waker` when there may be one.
    pub(super) fn take(self: &Arc<Self>, ticket: &mut Ticket, waker: &Waker) -> Option<Permit> {
        let permit = self.try_take().or_else(|| {
            let replaced = self.waiting().note(ticket, waker);
            drop(replaced);
            // One may have come free before the waker was there.
            self.try_take()
        });
        if permit.is_some() {
            self.leave(ticket);
        }
        permit
    }

    /// Who waits goes, or has a permit.
    pub(super) fn leave(&self, ticket: &mut Ticket) {
        if ticket.is_taken() {
            let waker = self.waiting().forget(ticket);
            drop(waker);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit, if there is one now.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let more = |taken: usize| (taken < self.most).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        taken.is_ok().then(|| Permit(Arc::clone(self)))
    }
}

/// One connection's place, held by the accept that waits for the connection, or tries if listeners share the
/// limit.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permit {
    /// The connection is there.
    pub(crate) fn used(self) -> Used {
        self.0.used.fetch_add(1, Ordering::SeqCst);
        Used(self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
        // All of them: one that goes before it has come for this would swallow a wake that is meant for
        // another.
        let waiting = self.0.waiting().take();
        waiting.for_each(guard::wake);
    }
}

/// The same, held by the connection.
#[derive(Debug)]
pub(crate) struct Used(Permit);

impl Drop for Used {
    fn drop(&mut self) {
        self.0.0.used.fetch_sub(1, Ordering::SeqCst);
    }
}
