//! Descriptors that many ops use: one counted reference per core, and not one per op.
//!
//! Every op in flight must hold its descriptor open: its future may be dropped or forgotten, and the handle
//! closed, before the kernel is through. A counted reference for each would be two read-modify-writes per op,
//! on a word that all cores with ops on the file write to. So a core takes one reference, its *lease*, and
//! counts the ops under it plainly.
//!
//! # Protocol
//! `tenant` names the core that has the lease, or nobody; `count` is that core's: two for each op under the
//! lease, and LISTED.
//! 1. An op begins ([`Leases::begin`]), on the core that submits it. If the core is the tenant, it adds to
//!    `count`. If nobody is, it becomes the tenant by one compare-exchange, and the lease is a reference in
//!    nobody's hands: it exists because `count` is above nothing. If another core is the tenant, the op gets
//!    a counted reference of its own.
//! 2. An op ends ([`Leases::end`]), at its final CQE, on the same core, before anybody is told. If it was the
//!    last one under the lease, the lease goes to the list of idle ones and `count` says so (LISTED).
//! 3. Each turn the core looks at those that were on the list a turn ago ([`Leases::sweep`]): one that is in
//!    use again is off the list; one that is not is given back: `tenant` is cleared, the reference dropped.
//!    Before it sleeps, it looks at all of them ([`Leases::give_back`]). So a lease lasts through a burst of
//!    ops, and through one op after another, but not longer. (If the lease is all that is left of the thing,
//!    it ends with the op.)
//! 4. A handle that is dropped on the tenant's own core does not wait for that ([`Leases::leave`]): if only
//!    the handle and an idle lease are left, the lease goes first.
//!
//! 5. What must not outlast its last handle, whatever its core is doing, is never leased
//!    ([`Leasable::never_lease`]): `tenant` is a name that no core has, so all ops count.
//!
//! So a descriptor is closed when the last handle is gone and the last op has ended. If the last handle goes
//! on another thread than the one whose ops had the lease last, then within two turns of that core, or before
//! it sleeps: late, if that core is held up in a poll.
//!
//! Nobody but a core writes its name to `tenant`, and nobody else takes it away: what a core reads there is
//! either its own name, and then exact, or not, and then all it needs to know. The compare-exchange acquires
//! what clearing released: `count` has one user after the other.
//!
//! What if the core goes down: what is in the list is given back with the ring. If ops are leaked, their
//! lease is. Then the tenant is a core that is no more, and all others count; its name is the address of its
//! inbox, which is leaked as well, so nobody else can have it.
//!
//! Rejected: a lease that ends with its last op, which costs three read-modify-writes for each op of those
//! who do one thing after another; a message to the tenant when the last handle goes elsewhere, which would
//! come at the same time.
//!
//! Models: `tests/loom`, `lease_*`. It knows no ring and no op.

use crate::base::sync::{Arc, AtomicUsize, Ordering};
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

/// Nobody has a lease.
const NOBODY: usize = 0;
/// Nobody ever gets a lease: no core has this name, which is no address of anything.
const NEVER: usize = usize::MAX;
/// The lease is in its core's list.
const LISTED: usize = 1;
/// One op.
const OP: usize = 2;

/// What can be leased.
pub struct Leasable<T> {
    value: T,
    tenant: AtomicUsize,
    count: AtomicUsize,
}

impl<T> Leasable<T> {
    /// Leased by nobody.
    pub(crate) fn new(value: T) -> Arc<Self> {
        Arc::new(Self { value, tenant: AtomicUsize::new(NOBODY), count: AtomicUsize::new(0) })
    }

    /// Has all ops counted from here on (5), unless a core has a lease already.
    pub(crate) fn never_lease(&self) {
        let _ = self.tenant.compare_exchange(NOBODY, NEVER, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl<T> Deref for Leasable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Leasable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// One op's use of something leasable.
pub(crate) enum Use<T> {
    /// Under the lease of the core on which it began; ends there.
    Leased(NonNull<Leasable<T>>),
    /// With a reference of its own.
    Counted(Arc<Leasable<T>>),
    /// The op is over.
    Ended,
}

// SAFETY: a use is a reference to what it uses (`T: Sync`) and may be the last one to be dropped (`T: Send`).
unsafe impl<T: Send + Sync> Send for Use<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Send + Sync> Sync for Use<T> {}

impl<T> Use<T> {
    /// A use with a reference of its own, which may begin and end anywhere.
    pub(crate) fn counted(thing: &Arc<Leasable<T>>) -> Self {
        Self::Counted(Arc::clone(thing))
    }

    /// What is used.
    ///
    /// # Panics
    /// If the op is over.
    pub(crate) fn get(&self) -> &T {
        match self {
            // SAFETY: the use has not ended, so the lease is there, and with it the reference.
            Self::Leased(thing) => unsafe { &thing.as_ref().value },
            Self::Counted(thing) => thing,
            Self::Ended => panic!("an op that is over has no descriptor"),
        }
    }
}

/// The leases of one core.
pub(crate) struct Leases<T> {
    name: usize,
    /// Since the last sweep.
    young: RefCell<Vec<Arc<Leasable<T>>>>,
    /// Since before it.
    old: RefCell<Vec<Arc<Leasable<T>>>>,
}

impl<T> Leases<T> {
    /// Of the core with this name, which no other core has, and is not [`NOBODY`]'s.
    pub(crate) fn new(name: usize) -> Self {
        assert_ne!(name, NOBODY);
        Self { name, young: RefCell::default(), old: RefCell::default() }
    }

    fn is_tenant(&self, thing: &Leasable<T>) -> bool {
        thing.tenant.load(Ordering::Relaxed) == self.name
    }

    /// An op begins (1).
    #[inline]
    pub(crate) fn begin(&self, thing: &Arc<Leasable<T>>) -> Use<T> {
        if self.is_tenant(thing) {
            thing.count.store(thing.count.load(Ordering::Relaxed) + OP, Ordering::Relaxed);
        } else {
            let tenant = &thing.tenant;
            if tenant.load(Ordering::Relaxed) != NOBODY
                || tenant.compare_exchange(NOBODY, self.name, Ordering::Acquire, Ordering::Relaxed).is_err()
            {
                return Use::counted(thing);
            }
            debug_assert_eq!(thing.count.load(Ordering::Relaxed), 0);
            thing.count.store(OP, Ordering::Relaxed);
            // The lease.
            std::mem::forget(Arc::clone(thing));
        }
        // SAFETY: what a reference counts is not at address zero. (A pointer of the `Arc`'s, and not one made
        // of a reference, because `end` makes an `Arc` of it again.)
        Use::Leased(unsafe { NonNull::new_unchecked(Arc::as_ptr(thing).cast_mut()) })
    }

    /// An op ends (2); it began here, or was counted.
    #[inline]
    pub(crate) fn end(&self, ends: &mut Use<T>) {
        let Use::Leased(thing) = ends else { return };
        let pointer = thing.as_ptr().cast_const();
        // SAFETY: the use has not ended, so the lease is there.
        let thing = unsafe { &*pointer };
        debug_assert!(self.is_tenant(thing), "an op under a lease ends where it began");
        let count = thing.count.load(Ordering::Relaxed) - OP;
        if count == 0 {
            // SAFETY: `begin` forgot this reference, or `sweep` has, unless it is in the list, which `count`
            // would say.
            let lease = unsafe { Arc::from_raw(pointer) };
            if Arc::strong_count(&lease) == 1 {
                self.end_lease(lease);
            } else {
                lease.count.store(LISTED, Ordering::Relaxed);
                self.young.borrow_mut().push(lease);
            }
        } else {
            thing.count.store(count, Ordering::Relaxed);
        }
        *ends = Use::Ended;
    }

    /// Each turn (3). Drops what nobody else holds any more.
    #[inline]
    pub(crate) fn sweep(&self) {
        self.look_at(&self.old);
        if !self.young.borrow().is_empty() {
            self.young.swap(&self.old);
        }
    }

    /// Before the core sleeps (3). As [`Leases::sweep`].
    #[inline]
    pub(crate) fn give_back(&self) {
        self.look_at(&self.old);
        self.look_at(&self.young);
    }

    #[inline]
    fn look_at(&self, idle: &RefCell<Vec<Arc<Leasable<T>>>>) {
        while let Some(lease) = Self::next_of(idle) {
            let count = lease.count.load(Ordering::Relaxed);
            if count == LISTED {
                self.end_lease(lease);
            } else {
                lease.count.store(count & !LISTED, Ordering::Relaxed);
                std::mem::forget(lease);
            }
        }
    }

    #[inline]
    fn next_of(idle: &RefCell<Vec<Arc<Leasable<T>>>>) -> Option<Arc<Leasable<T>>> {
        idle.borrow_mut().pop()
    }

    fn end_lease(&self, lease: Arc<Leasable<T>>) {
        lease.count.store(0, Ordering::Relaxed);
        lease.tenant.store(NOBODY, Ordering::Release);
    }

    /// A handle goes that is perhaps the last (4).
    pub(crate) fn leave(&self, thing: &Arc<Leasable<T>>) {
        let is_idle = self.is_tenant(thing) && thing.count.load(Ordering::Relaxed) == LISTED;
        if !is_idle || Arc::strong_count(thing) > 2 {
            return;
        }
        let take_from = |idle: &RefCell<Vec<Arc<Leasable<T>>>>| {
            let mut idle = idle.borrow_mut();
            // From behind: what was used last is what goes first, mostly.
            let at = idle.iter().rposition(|lease| Arc::ptr_eq(lease, thing))?;
            Some(idle.swap_remove(at))
        };
        if let Some(lease) = take_from(&self.young).or_else(|| take_from(&self.old)) {
            self.end_lease(lease);
        }
    }
}

impl<T> Drop for Leases<T> {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_of_one_core_have_one_reference_among_them_and_those_of_others_their_own() {
        let (here, there) = (Leases::new(8), Leases::new(16));
        let file = Leasable::new(());
        let mut uses = [here.begin(&file), here.begin(&file), there.begin(&file)];
        assert!(matches!(uses, [Use::Leased(_), Use::Leased(_), Use::Counted(_)]));
        assert_eq!(Arc::strong_count(&file), 3);
        uses[..2].iter_mut().for_each(|ends| here.end(ends));
        here.sweep();
        assert_eq!(Arc::strong_count(&file), 3, "it is idle since this turn");
        here.sweep();
        assert_eq!(Arc::strong_count(&file), 2, "the lease is given back");
        let mut other = there.begin(&file);
        assert!(matches!(other, Use::Leased(_)), "and another core may have it");
        there.end(&mut other);
    }

    #[test]
    fn what_is_never_leased_is_counted_for_each_op() {
        let leases = Leases::new(8);
        let file = Leasable::new(());
        file.never_lease();
        let mut op = leases.begin(&file);
        assert!(matches!(op, Use::Counted(_)));
        leases.end(&mut op);
        drop(op);
        assert_eq!(Arc::strong_count(&file), 1, "nothing is left when the op is over");
    }

    #[test]
    fn a_lease_lasts_from_one_op_to_the_next() {
        let leases = Leases::new(8);
        let file = Leasable::new(());
        let mut first = leases.begin(&file);
        for _ in 0..3 {
            leases.end(&mut first);
            leases.sweep();
            first = leases.begin(&file);
            leases.give_back();
            assert_eq!(Arc::strong_count(&file), 2);
        }
        leases.end(&mut first);
        leases.sweep();
        drop(leases);
        assert_eq!(Arc::strong_count(&file), 1);
    }

    #[test]
    fn the_last_handle_takes_an_idle_lease_along_but_not_one_in_use() {
        let leases = Leases::new(8);
        let file = Leasable::new(());
        let mut op = leases.begin(&file);
        leases.leave(&file);
        assert_eq!(Arc::strong_count(&file), 2);
        leases.end(&mut op);
        op = leases.begin(&file);
        leases.leave(&file);
        assert_eq!(Arc::strong_count(&file), 2, "on the list, but in use again");
        leases.end(&mut op);
        let clone = Arc::clone(&file);
        leases.leave(&file);
        assert_eq!(Arc::strong_count(&file), 3, "another handle is there");
        drop(clone);
        leases.leave(&file);
        assert_eq!(Arc::strong_count(&file), 1);
    }
}
