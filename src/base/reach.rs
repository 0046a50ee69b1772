//! Which cores this thread can reach: the answer for code that runs on no core.
//!
//! Owns one thread-local, set by the guard of [`enter`]. An op or a timer first polled on a thread that is no
//! core asks [`pick`] for a core and goes there as an inbox message. It is not the way a core finds its own
//! ring or wheel (those rooms have thread-locals of their own).

use super::inbox::Inbox;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The inboxes of one runtime's cores.
#[derive(Debug)]
pub(crate) struct Cores {
    inboxes: Box<[Arc<Inbox>]>,
    next: AtomicUsize,
}

impl Cores {
    /// The set of all cores of one runtime, in core order.
    pub(crate) fn new(inboxes: Box<[Arc<Inbox>]>) -> Self {
        assert!(!inboxes.is_empty(), "a runtime has at least one core");
        Self { inboxes, next: AtomicUsize::new(0) }
    }

    /// A core for remote work, in turn.
    pub(crate) fn pick(&self) -> &Arc<Inbox> {
        &self.inboxes[self.next_turn()]
    }

    /// The number of the core whose turn it is.
    pub(crate) fn next_turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len()
    }
}

thread_local! {
    static ENTERED: RefCell<Vec<(u64, Arc<Cores>)>> = const { RefCell::new(Vec::new()) };
}

/// Undoes [`enter`] when dropped; guards may be dropped in any order.
#[must_use = "the runtime is reachable only while the guard lives"]
#[derive(Debug)]
pub(crate) struct Entered {
    ticket: u64,
    // A thread-local was set: the guard must be dropped on the same thread.
    _here: PhantomData<*const ()>,
}

/// Makes `cores` the ones this thread reaches, until the guard is dropped.
pub(crate) fn enter(cores: Arc<Cores>) -> Entered {
    let ticket = ENTERED.with_borrow_mut(|entered| {
        let ticket = entered.last().map_or(0, |(ticket, _)| ticket + 1);
        entered.push((ticket, cores));
        ticket
    });
    Entered { ticket, _here: PhantomData }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // The thread may be going down, with its thread-locals gone before the guard: then nothing is left to
        // undo.
        let _ = ENTERED.try_with(|entered| entered.borrow_mut().retain(|(ticket, _)| *ticket != self.ticket));
    }
}

/// A core that this thread can reach, if it has entered a runtime.
pub(crate) fn pick() -> Option<Arc<Inbox>> {
    ENTERED.try_with(|entered| entered.borrow().last().map(|(_, cores)| Arc::clone(cores.pick()))).ok()?
}

/// Whether [`pick`] would find one.
pub(crate) fn has_core() -> bool {
    ENTERED.try_with(|entered| !entered.borrow().is_empty()).unwrap_or(false)
}

/// What to tell a caller who uses an op or a timer with no runtime in reach.
pub(crate) const NO_RUNTIME: &str = "no ringwork runtime in reach: call this from a task, inside \
     `Runtime::block_on` or `Handle::block_on`, or after `let _guard = handle.enter();` (`Handle::enter`)";

#[cfg(test)]
mod tests {
    use super::*;

    fn cores() -> Arc<Cores> {
        Arc::new(Cores::new(Box::new([Arc::new(Inbox::new(Box::new(|| ())))])))
    }

    #[test]
    fn guards_nest_and_drop_in_any_order() {
        assert!(pick().is_none());
        let (one, two) = (cores(), cores());
        let first = enter(Arc::clone(&one));
        let second = enter(Arc::clone(&two));
        drop(first);
        assert!(Arc::ptr_eq(&pick().unwrap(), two.pick()));
        drop(second);
        assert!(pick().is_none());
    }
}
