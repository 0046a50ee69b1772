//! A channel for one value between two tasks of one thread: the least that two tasks need to wake each other.
//! It has no lock, no atomics and no allocation, so that what a ping-pong costs is scheduler and waker. A
//! value that is sent before the last one was received replaces it: its users never do that.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Room for a value and for the waker of the task that waits for it.
pub(crate) struct Slot<T> {
    value: Cell<Option<T>>,
    waiting: Cell<Option<Waker>>,
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Slot<T> {
        Slot { value: Cell::new(None), waiting: Cell::new(None) }
    }

    /// Leaves `value` here and wakes the task that waits for it.
    pub(crate) fn send(&self, value: T) {
        self.value.set(Some(value));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits for a value and takes it.
    pub(crate) fn recv(&self) -> impl Future<Output = T> {
        poll_fn(|cx| match self.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.waiting.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
    }
}
