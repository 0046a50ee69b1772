//! Who waits at a listener, or for a place among its connections.
//!
//! Owns the wakers, each under a ticket of who waits: one that goes takes its own along, and none of another
//! accept of the same task, whose waker looks the same. Promises that no waker is dropped in here, for it is
//! under a lock, and a waker's drop is foreign code: what is not wanted any more comes back. It wakes nobody.
#![forbid(unsafe_code)]

use std::mem;
use std::task::Waker;

/// The wakers, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    last: u64,
    /// With the numbers of their tickets, which ascend.
    wakers: Vec<(u64, Waker)>,
}

/// A place among those who wait, or none. All may have been woken since, and the place be gone.
#[derive(Debug, Default)]
pub(super) struct Ticket(u64);

impl Ticket {
    /// Whether this one has waited since it was last taken off.
    pub(super) fn is_taken(&self) -> bool {
        self.0 != 0
    }
}

impl Waiting {
    fn find(&self, ticket: &Ticket) -> Option<usize> {
        self.wakers.binary_search_by_key(&ticket.0, |(number, _)| *number).ok()
    }

    /// Puts the waker there, in the place of the one that this ticket had, which comes back.
    #[must_use = "it is to be dropped without the lock"]
    pub(super) fn note(&mut self, ticket: &mut Ticket, waker: &Waker) -> Option<Waker> {
        if let Some(at) = self.find(ticket) {
            let known = &mut self.wakers[at].1;
            return if known.will_wake(waker) { None } else { Some(mem::replace(known, waker.clone())) };
        }
        self.wakers.push((self.last + 1, waker.clone()));
        self.last += 1;
        ticket.0 = self.last;
        None
    }

    /// Takes the ticket off; its waker comes back, if it is still there.
    #[must_use = "it is to be dropped without the lock"]
    pub(super) fn forget(&mut self, ticket: &mut Ticket) -> Option<Waker> {
        let at = self.find(ticket);
        *ticket = Ticket::default();
        at.map(|at| self.wakers.remove(at).1)
    }

    /// Hands all of them on, to be woken without the lock.
    pub(super) fn hand_to(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.wakers.drain(..).map(|(_, waker)| waker));
    }

    /// All of them, to be woken without the lock.
    #[must_use = "they sleep until they are woken"]
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        mem::take(&mut self.wakers).into_iter().map(|(_, waker)| waker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    struct Noted;

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn each_ticket_has_one_waker_the_last_and_takes_no_other_along() {
        let mut waiting = Waiting::default();
        let (first, second) = (Arc::new(Noted), Arc::new(Noted));
        let wakers = [Waker::from(Arc::clone(&first)), Waker::from(Arc::clone(&second))];
        let (mut one, mut other) = (Ticket::default(), Ticket::default());
        assert!(waiting.note(&mut one, &wakers[0]).is_none());
        assert!(waiting.note(&mut one, &wakers[0]).is_none());
        assert!(waiting.note(&mut other, &wakers[0]).is_none());
        assert_eq!(Arc::strong_count(&first), 4);
        assert!(waiting.note(&mut one, &wakers[1]).is_some_and(|replaced| replaced.will_wake(&wakers[0])));
        assert!(waiting.forget(&mut one).is_some_and(|left| left.will_wake(&wakers[1])));
        assert!(waiting.forget(&mut one).is_none());
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (3, 2));
        assert!(waiting.take().all(|left| left.will_wake(&wakers[0])));
        // Its place is gone; it may have another one.
        assert!(waiting.note(&mut one, &wakers[1]).is_none());
        assert!(waiting.forget(&mut other).is_none());
        assert_eq!(waiting.take().count(), 1);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (2, 2));
    }
}
