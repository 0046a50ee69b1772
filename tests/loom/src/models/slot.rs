//! Models of the slot (`src/base/slot.rs`): result and waker meet whichever comes first.
//!
//! Wakers here are counted outside loom's sight, so that a waker that is dropped twice, leaked or woken by
//! the wrong side shows in the counts; loom sees the cells that hold waker and value.

use super::explore;
use crate::base::slot::{Set, Slot};
use loom::sync::{Arc, Notify};
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts its wakes.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Wakes a thread that waits; a lost wake is a deadlock, which loom reports.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

/// A counter and a waker for it.
fn counted() -> (std::sync::Arc<Count>, Waker) {
    let count = std::sync::Arc::new(Count(AtomicUsize::new(0)));
    (std::sync::Arc::clone(&count), Waker::from(count))
}

/// Produces 7 on another thread.
fn produce(slot: &Arc<Slot<u32>>) -> thread::JoinHandle<()> {
    let slot = Arc::clone(slot);
    thread::spawn(move || {
        if let Set::Waiting(waker) = slot.set(7) {
            waker.wake();
        }
    })
}

/// A task that waits for the slot is woken and finds the value.
pub fn a_waiting_task_is_woken() {
    explore(8, || {
        let slot = Arc::new(Slot::new());
        let producer = produce(&slot);
        let bell = std::sync::Arc::new(Bell(Notify::new()));
        let waker = Waker::from(std::sync::Arc::clone(&bell));
        let value = loop {
            match slot.poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => break value,
                Poll::Pending => bell.0.wait(),
            }
        };
        assert_eq!(value, 7);
        producer.join().unwrap();
    });
}

/// The task changes its waker between polls: the last one is woken, the one before at most in vain, none is
/// lost.
pub fn the_last_waker_is_woken() {
    explore(8, || {
        let slot = Arc::new(Slot::new());
        let producer = produce(&slot);
        let ((first, a), (last, b)) = (counted(), counted());
        let mut ready = slot.poll(&mut Context::from_waker(&a)) == Poll::Ready(7);
        if !ready {
            ready = slot.poll(&mut Context::from_waker(&b)) == Poll::Ready(7);
        }
        producer.join().unwrap();
        let wakes = (first.0.load(Ordering::SeqCst), last.0.load(Ordering::SeqCst));
        if ready {
            assert_eq!(wakes.1, 0, "the second waker was given back");
            assert!(wakes.0 <= 1);
        } else {
            assert_eq!(wakes, (0, 1));
        }
        assert_eq!(slot.get(), Some(7));
        drop((a, b, slot));
        assert_eq!((std::sync::Arc::strong_count(&first), std::sync::Arc::strong_count(&last)), (1, 1));
    });
}

/// The consumer goes away with its waker stored: the waker is dropped once, by one of the two sides.
pub fn a_consumer_that_goes_leaves_no_waker() {
    explore(8, || {
        let slot = Arc::new(Slot::new());
        let (count, waker) = counted();
        let first = slot.poll(&mut Context::from_waker(&waker));
        assert!(first.is_pending());
        let producer = produce(&slot);
        slot.clear();
        drop(slot);
        producer.join().unwrap();
        drop(waker);
        assert!(count.0.load(Ordering::SeqCst) <= 1);
        assert_eq!(std::sync::Arc::strong_count(&count), 1);
    });
}

/// A waker armed before anybody else sees the slot is woken by the producer.
pub fn an_armed_waker_is_woken() {
    explore(8, || {
        let (count, waker) = counted();
        let mut slot = Slot::new();
        slot.arm(waker.clone());
        let slot = Arc::new(slot);
        let producer = produce(&slot);
        let ready = slot.poll(&mut Context::from_waker(&waker)).is_ready();
        producer.join().unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "same waker: it stays where it is (ready: {ready})");
        drop((waker, slot));
        assert_eq!(std::sync::Arc::strong_count(&count), 1);
    });
}

/// Nobody waits and nobody clears: producer and consumer may drop the slot in either order.
pub fn a_stored_waker_ends_with_the_slot() {
    explore(8, || {
        let slot = Arc::new(Slot::<u32>::new());
        let (count, waker) = counted();
        let other = Arc::clone(&slot);
        let holder = thread::spawn(move || drop(other));
        assert!(slot.poll(&mut Context::from_waker(&waker)).is_pending());
        drop((slot, waker));
        holder.join().unwrap();
        assert_eq!(std::sync::Arc::strong_count(&count), 1);
    });
}

/// The consumer abandons a slot that is being set: exactly one side learns that the value is its to dispose
/// of.
pub fn one_side_disposes_of_an_abandoned_value() {
    explore(8, || {
        let slot = Arc::new(Slot::new());
        let (count, waker) = counted();
        assert!(slot.poll(&mut Context::from_waker(&waker)).is_pending());
        let other = Arc::clone(&slot);
        let producer = thread::spawn(move || match other.set(7) {
            Set::Waiting(waker) => {
                waker.wake();
                false
            }
            Set::Early => false,
            Set::Abandoned => true,
        });
        // SAFETY: the slot outlives both sides.
        let left_to_us = unsafe { Slot::abandon(&raw const *slot) };
        let left_to_producer = producer.join().unwrap();
        assert_eq!(left_to_us, if left_to_producer { None } else { Some(7) });
        drop((slot, waker));
        assert!(count.0.load(Ordering::SeqCst) <= 1);
        assert_eq!(std::sync::Arc::strong_count(&count), 1);
    });
}
