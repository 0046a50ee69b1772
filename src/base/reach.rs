//! Which cores this thread can reach: the answer for code that runs on no core.
//!
//! Owns one thread-local, set by the guard of [`enter`]. An op or a timer first polled on a thread that is no
//! core asks [`pick`] for a core and goes there as an inbox message. It is not the way a core finds its own
//! ring or wheel (those rooms have thread-locals of their own).
//!
//! # Which core
//! The cores have their turns. Two things are said from above:
//! - *a core is avoided* ([`Cores::avoid`]): it is known to be stuck, so that a message would wait there for
//!   as long. It is passed over until that is taken back; if all are avoided, any will do. This is a hint,
//!   with no order towards anything: a reading that is late sends a message to where it waits, as a core that
//!   has got stuck a moment ago does.
//! - *the runtime has left a core behind* ([`Cores::leave`]): it has ended, but for a core that did not come
//!   to its end. The inboxes of the others are closed, and refuse; that one's is open, and nobody may close
//!   it in its place, because it closes it only once its local tasks are over (task/remote.rs), and until it
//!   comes back, if ever, nobody reads it. From then on nothing is sent to any core: what is picked is an
//!   inbox of no core, closed from the first, so that its senders learn at once that the runtime is gone.
//!
//! A message that was sent to such a core before waits for it, as what is in its ring and its wheel does.

use super::inbox::Inbox;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The inboxes of one runtime's cores.
#[derive(Debug)]
pub(crate) struct Cores {
    inboxes: Box<[Arc<Inbox>]>,
    avoided: Box<[AtomicBool]>,
    next: AtomicUsize,
    /// Closed; there once a core has been left behind.
    nobody: OnceLock<Arc<Inbox>>,
}

impl Cores {
    /// The set of all cores of one runtime, in core order.
    pub(crate) fn new(inboxes: Box<[Arc<Inbox>]>) -> Self {
        assert!(!inboxes.is_empty(), "a runtime has at least one core");
        let avoided = inboxes.iter().map(|_| AtomicBool::new(false)).collect();
        Self { inboxes, avoided, next: AtomicUsize::new(0), nobody: OnceLock::new() }
    }

    /// A core for remote work: one that is not avoided, in turn; if there is none, any. Once a core has been
    /// left behind: none, and a message is refused.
    pub(crate) fn pick(&self) -> &Arc<Inbox> {
        if let Some(nobody) = self.nobody.get() {
            return nobody;
        }
        let (turn, cores) = (self.next_turn(), self.inboxes.len());
        let mut all = (0..cores).map(|step| (turn + step) % cores);
        let well = all.find(|&core| !self.avoided[core].load(Ordering::Relaxed));
        &self.inboxes[well.unwrap_or(turn)]
    }

    /// Whether remote work is to pass `core` over.
    pub(crate) fn avoid(&self, core: usize, avoided: bool) {
        self.avoided[core].store(avoided, Ordering::Relaxed);
    }

    /// The runtime has ended and left a core behind.
    pub(crate) fn leave(&self) {
        self.nobody.get_or_init(|| {
            let nobody = Inbox::new(Box::new(|| ()));
            drop(nobody.close());
            Arc::new(nobody)
        });
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
        Arc::new(Cores::new(Box::new([inbox()])))
    }

    fn inbox() -> Arc<Inbox> {
        Arc::new(Inbox::new(Box::new(|| ())))
    }

    /// Which cores have the next six picks.
    fn picks(cores: &Cores) -> [Option<usize>; 6] {
        [(); 6].map(|()| {
            let picked = cores.pick();
            cores.inboxes.iter().position(|inbox| Arc::ptr_eq(inbox, picked))
        })
    }

    #[test]
    fn cores_that_are_avoided_are_passed_over_unless_all_are() {
        let cores = Cores::new(Box::new([inbox(), inbox(), inbox()]));
        assert_eq!(picks(&cores), [0, 1, 2, 0, 1, 2].map(Some));
        cores.avoid(1, true);
        assert_eq!(picks(&cores), [0, 2, 2, 0, 2, 2].map(Some));
        cores.avoid(0, true);
        cores.avoid(2, true);
        assert_eq!(picks(&cores), [0, 1, 2, 0, 1, 2].map(Some));
        cores.avoid(0, false);
        assert_eq!(picks(&cores), [0; 6].map(Some));
    }

    #[test]
    fn once_a_core_is_left_behind_no_core_is_picked() {
        let cores = Cores::new(Box::new([inbox(), inbox()]));
        cores.leave();
        assert_eq!(picks(&cores), [None; 6]);
        assert!(Arc::ptr_eq(cores.pick(), cores.pick()));
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
