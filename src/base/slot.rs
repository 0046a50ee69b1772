//! The slot: the one place where a result and the waker that waits for it meet.
//!
//! One producer (the home core of an op or a timer) and one consumer (the future, on whatever core it is
//! polled).
//!
//! ```text
//! (1) poll stores a waker            (3) set EMPTY ───────────────────────────▶ WAKER ───────────▶
//! DONE|WAKER   the producer owns the waker and wakes it │  ◀─────────────────────────────  │ │      (2) poll
//! swaps the waker    │ └───────────── (3) set ───────────▶ DONE             the next poll finds the value
//! ```
//!
//! Who may touch what:
//! - `value`: the producer before it sets DONE; the consumer after it has seen DONE.
//! - `waker`: the consumer while WAKER is clear; nobody writes it while WAKER is set; the producer reads it
//!   out once, if its `set` found WAKER, and from then on owns it. The consumer may compare it (`will_wake`)
//!   while WAKER is set, because comparing only reads the two words that nobody writes.
//! - GONE is set by a consumer that will not come back. The side that is second (the `set` that finds GONE,
//!   the `abandon` that finds DONE) has the value to dispose of, the other one has nothing more to do with
//!   it.
//! - The consumer clears WAKER with a compare-exchange that fails once DONE is there, so the two sides never
//!   both own the waker.
//!
//! `tests/loom` checks these sentences (`slot_*`). It is not a channel: one value, once, until `reset`.

use super::sync::{AtomicU32, Ordering, UnsafeCell};
use std::mem::MaybeUninit;
use std::task::{Context, Poll, Waker};

const WAKER: u32 = 1;
const DONE: u32 = 2;
const GONE: u32 = 4;

/// What a producer finds when it sets the value.
#[must_use = "the waiting task sleeps for ever unless its waker is woken"]
#[derive(Debug)]
pub(crate) enum Set {
    /// Somebody waits: to be woken once the caller holds nothing.
    Waiting(Waker),
    /// Nobody has asked yet; the next poll finds the value.
    Early,
    /// The consumer is gone: the caller disposes of the value.
    Abandoned,
}

/// A result that will come, and the waker to call then.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    state: AtomicU32,
    waker: UnsafeCell<MaybeUninit<Waker>>,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the state word hands `waker` and `value` from one side to the other as the header says; `T` crosses
// threads by value only, hence `T: Send`.
unsafe impl<T: Send> Sync for Slot<T> {}
// SAFETY: owning a slot is owning its waker (Send) and its value (`T: Send`).
unsafe impl<T: Send> Send for Slot<T> {}

impl<T: Copy> Slot<T> {
    /// An empty slot.
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            waker: UnsafeCell::new(MaybeUninit::uninit()),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Whether the value is there.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    /// The value, if it is there.
    #[inline]
    pub(crate) fn get(&self) -> Option<T> {
        if !self.is_done() {
            return None;
        }
        // SAFETY: DONE is set (seen with Acquire): the producer wrote the value before it and never again.
        Some(self.value.with(|value| unsafe { (*value).assume_init() }))
    }

    /// Consumer: the value, or `Pending` with the task's waker stored.
    ///
    /// Only one thread at a time may be the consumer; `&self` methods of one future guarantee it.
    #[inline]
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = self.get() {
            return Poll::Ready(value);
        }
        if self.state.load(Ordering::Relaxed) & WAKER != 0 {
            // SAFETY: WAKER is set and only this side ever clears it, so the stored waker is initialised and
            // unwritten; the producer may read it at the same time, which is no conflict.
            let same = self.waker.with(|waker| unsafe { (*waker).assume_init_ref().will_wake(cx.waker()) });
            if same {
                return Poll::Pending;
            }
            self.clear();
            if let Some(value) = self.get() {
                return Poll::Ready(value);
            }
        }
        let waker = cx.waker().clone();
        // SAFETY: WAKER is clear and only this side sets it, so the cell is ours.
        self.waker.with_mut(|place| unsafe { (*place).write(waker) });
        let before = self.state.fetch_or(WAKER, Ordering::AcqRel);
        if before & DONE == 0 {
            return Poll::Pending;
        }
        // SAFETY: DONE came before our WAKER, so the producer saw no waker and will not touch it: still ours.
        self.waker.with_mut(|place| unsafe { (*place).assume_init_drop() });
        self.state.store(DONE, Ordering::Relaxed);
        Poll::Ready(self.get().expect("DONE was seen"))
    }

    /// Consumer: stores the first waker of a slot that no producer can see yet, without a read-modify-write.
    #[inline]
    pub(crate) fn arm(&mut self, waker: Waker) {
        debug_assert_eq!(self.state.load(Ordering::Relaxed), 0, "only an empty slot can be armed");
        // SAFETY: `&mut self`: nobody else sees the slot, and WAKER is clear.
        self.waker.with_mut(|place| unsafe { (*place).write(waker) });
        self.state.store(WAKER, Ordering::Relaxed);
    }

    /// Consumer: takes the waker back, if the producer has not taken it; it is dropped here.
    pub(crate) fn clear(&self) {
        let swapped = self.state.compare_exchange(WAKER, 0, Ordering::AcqRel, Ordering::Acquire);
        if swapped.is_ok() {
            // SAFETY: WAKER was set and DONE was not: the producer can no longer see this waker, it is ours.
            self.waker.with_mut(|waker| unsafe { (*waker).assume_init_drop() });
        }
    }

    /// Consumer: will not come back. Returns the value if it is there (then it is the consumer's to dispose
    /// of).
    pub(crate) fn abandon(&self) -> Option<T> {
        self.clear();
        let before = self.state.fetch_or(GONE, Ordering::AcqRel);
        if before & DONE == 0 { None } else { self.get() }
    }

    /// Producer: publishes the value; returns who has to be told, once the caller holds nothing.
    #[inline]
    pub(crate) fn set(&self, value: T) -> Set {
        // SAFETY: DONE is clear until the line below and the consumer reads the value only after it.
        self.value.with_mut(|place| unsafe { (*place).write(value) });
        let before = self.state.fetch_or(DONE, Ordering::AcqRel);
        debug_assert_eq!(before & DONE, 0, "a slot is set once");
        if before & GONE != 0 {
            return Set::Abandoned;
        }
        if before & WAKER == 0 {
            return Set::Early;
        }
        // SAFETY: WAKER was set when DONE came: the consumer's clear fails from now on, so this read is the
        // one move out of the waker.
        Set::Waiting(self.waker.with(|waker| unsafe { (*waker).assume_init_read() }))
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        if self.state.load(Ordering::Relaxed) == WAKER {
            // SAFETY: `&mut self`, WAKER without DONE: the waker was stored and never moved out.
            self.waker.with_mut(|waker| unsafe { (*waker).assume_init_drop() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Set, Slot};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_value_set_before_the_first_poll_is_found_by_it() {
        let slot = Slot::new();
        assert!(matches!(slot.set(7), Set::Early));
        assert_eq!(slot.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(7));
    }

    #[test]
    fn the_second_of_set_and_abandon_disposes_of_the_value() {
        let slot = Slot::new();
        assert_eq!(slot.abandon(), None);
        assert!(matches!(slot.set(3), Set::Abandoned));
    }

    #[test]
    fn set_hands_out_the_waker_of_the_last_poll_and_drops_the_one_before() {
        let (first, second) = (Arc::new(Count(AtomicUsize::new(0))), Arc::new(Count(AtomicUsize::new(0))));
        let slot = Slot::new();
        for count in [&first, &second] {
            let waker = Waker::from(Arc::clone(count));
            assert!(slot.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let Set::Waiting(waker) = slot.set(1) else { panic!("a waker was stored") };
        waker.wake();
        assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
        assert_eq!(slot.abandon(), Some(1));
        drop(slot);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
    }
}
