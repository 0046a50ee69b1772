//! How the connections of one core learn that the server stops.
//!
//! Teaches: a hand-written wait. Each connection is a [`Guest`] for its whole life, and while it waits for a
//! request it also waits for [`Guest::stopping`]. One that is answering a request is not disturbed.
//! Promises: everyone who waits is woken, those who come later do not wait; a wait that was given up costs at
//! most one idle wake.
//! It is for one core: `Rc` and `Cell`, no lock. The signal comes from `ringwork::signal`, and counting the
//! connections until they are gone is the work of `ringwork::Serve`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The shared part: who is here, and whether they are asked to leave.
#[derive(Default)]
pub(crate) struct Stop {
    stopping: Cell<bool>,
    /// One place for each guest, with the waker of its last wait.
    places: RefCell<Vec<Option<Waker>>>,
    /// Places whose guests have left, to be used again.
    free: RefCell<Vec<usize>>,
}

impl Stop {
    /// Asks everyone to leave, those who come later too.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        // Collected first: a waker may run any code, and no borrow may be held while it does.
        let mut places = self.places.borrow_mut();
        let waiting: Vec<Waker> = places.iter_mut().filter_map(Option::take).collect();
        drop(places);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// One more guest. It leaves when the value is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Guest {
        let place = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut places = self.places.borrow_mut();
            places.push(None);
            places.len() - 1
        });
        Guest { stop: Rc::clone(self), place }
    }
}

/// One connection's place.
pub(crate) struct Guest {
    stop: Rc<Stop>,
    place: usize,
}

impl Guest {
    /// Ready once everyone is asked to leave.
    pub(crate) async fn stopping(&self) {
        poll_fn(|context| {
            if self.stop.is_stopping() {
                return Poll::Ready(());
            }
            let waiting = &mut self.stop.places.borrow_mut()[self.place];
            match waiting {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waiting = Some(context.waker().clone()),
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let waiting = self.stop.places.borrow_mut()[self.place].take();
        // Like a wake, dropping a waker may run any code.
        drop(waiting);
        self.stop.free.borrow_mut().push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn every_waiting_guest_is_woken_once() {
        let stop = Rc::new(Stop::default());
        let guests = [stop.enter(), stop.enter()];
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut first = pin!(guests[0].stopping());
        let mut second = pin!(guests[1].stopping());
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        stop.stop();
        stop.stop();
        assert_eq!(wakes.count(), 2);
        assert!(first.as_mut().poll(&mut context).is_ready());
        assert!(second.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_guest_that_comes_late_does_not_wait() {
        let stop = Rc::new(Stop::default());
        stop.stop();
        let guest = stop.enter();
        let mut waiting = pin!(guest.stopping());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(stop.is_stopping());
    }

    #[test]
    fn places_are_used_again() {
        let stop = Rc::new(Stop::default());
        for _ in 0..100 {
            let (_one, _two) = (stop.enter(), stop.enter());
        }
        assert_eq!(stop.places.borrow().len(), 2);
        assert!(stop.places.borrow().iter().all(Option::is_none));
    }
}
