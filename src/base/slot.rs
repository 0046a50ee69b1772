//! The slot: the one place where a result and the waker that waits for it meet.
//!
//! One producer (the home core of an op or a timer) and one consumer (the future, on whatever core it is
//! polled).
//!
//! ```text
//!          (1) poll, arm            (3) set
//! EMPTY ─────────────────▶ WAKER ───────────▶ DONE   the producer has the waker, and wakes it
//!  │ │ ▲                    │ │
//!  │ │ └─── (2) clear ──────┘ │ (4) abandon
//!  │ └─────── (4) abandon ────┴────────────▶ GONE    a set that comes now disposes of the value
//!  │ (3) set
//!  └─────────▶ DONE   the next poll finds the value
//! ```
//!
//! Who may touch what:
//! - `value`: the producer before it sets DONE; the consumer after it has seen DONE.
//! - `waker`, two words: written by the consumer while WAKER is clear. While WAKER is set both sides may read
//!   them, and whoever takes WAKER out of play has the waker: the producer by setting DONE, the consumer by
//!   clearing WAKER, which fails once DONE is there.
//! - The producer reads the words *before* it sets DONE, and sets it by a compare-exchange that succeeds only
//!   if WAKER has not been touched meanwhile (the rest of the state counts how often a waker was stored). So
//!   **its compare-exchange is the last that the producer does to the slot**: from then on the consumer may
//!   free it, and one read-modify-write is all that a result costs.
//! - GONE is set by a consumer that will not come back, and is the last that *it* does to the slot. The side
//!   that is second (the `set` that finds GONE, the `abandon` that finds DONE) has the value to dispose of
//!   and the slot to itself; the other one has nothing more to do with it.
//!
//! A slot may be born with GONE ([`Slot::abandoned`]): then nobody ever waits, and there is one side only.
//!
//! `tests/loom` checks these sentences (`slot_*`, `cell_*`). It is not a channel: one value, once.
//!
//! Rejected: setting DONE first and reading the waker out afterwards. Whoever finds the value must then leave
//! the slot alone until the producer is out of it, which takes a reference of the producer's own, and a
//! second read-modify-write to give that up.

use super::sync::{AtomicPtr, AtomicU64, Ordering, UnsafeCell, last_of};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;
use std::task::{Context, Poll, RawWakerVTable, Waker};

/// The two words of the waker are one that waits. Set and cleared by the consumer, not any more once DONE.
const WAKER: u64 = 1;
/// The value is there. Set by the producer, never cleared.
const DONE: u64 = 2;
/// The consumer will not come back. Set by the consumer, not any more once DONE.
const GONE: u64 = 4;
/// One waker that was stored: no two of them leave the same state behind.
const STORED: u64 = 8;

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

/// A waker in two words that both sides may read while neither knows whose it is.
#[derive(Debug)]
struct Parts {
    data: AtomicPtr<()>,
    vtable: AtomicPtr<RawWakerVTable>,
}

impl Parts {
    fn none() -> Self {
        Self { data: AtomicPtr::new(ptr::null_mut()), vtable: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Consumer, WAKER clear: the waker is in the slot's keeping. What follows publishes it.
    #[inline]
    fn put(&self, waker: Waker) {
        let waker = ManuallyDrop::new(waker);
        self.data.store(waker.data().cast_mut(), Ordering::Relaxed);
        self.vtable.store(ptr::from_ref(waker.vtable()).cast_mut(), Ordering::Relaxed);
    }

    #[inline]
    fn read(&self) -> (*mut (), *mut RawWakerVTable) {
        (self.data.load(Ordering::Relaxed), self.vtable.load(Ordering::Relaxed))
    }

    #[inline]
    fn are_those_of(&self, waker: &Waker) -> bool {
        // What `Waker::will_wake` compares.
        self.read() == (waker.data().cast_mut(), ptr::from_ref(waker.vtable()).cast_mut())
    }
}

/// Makes a waker of what was read.
///
/// # Safety
/// The words are those of one call of `put` and the caller has taken that waker out of play: no one else
/// makes a waker of them.
#[inline]
unsafe fn whole((data, vtable): (*mut (), *mut RawWakerVTable)) -> Waker {
    // SAFETY: per contract these are the parts of a waker that `put` kept from being dropped, whose virtual
    // table is a `&'static` one.
    unsafe { Waker::new(data, &*vtable) }
}

/// A result that will come, and the waker to call then.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    state: AtomicU64,
    waker: Parts,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the state word hands `waker` and `value` from one side to the other as the header says; `T` crosses
// threads by value only, hence `T: Send`.
unsafe impl<T: Send> Sync for Slot<T> {}
// SAFETY: owning a slot is owning its waker (Send) and its value (`T: Send`).
unsafe impl<T: Send> Send for Slot<T> {}

impl<T: Copy> Slot<T> {
    /// An empty slot.
    #[inline]
    pub(crate) fn new() -> Self {
        Self { state: AtomicU64::new(0), waker: Parts::none(), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// A slot whose consumer will not come: the value is its producer's to dispose of.
    #[inline]
    pub(crate) fn abandoned() -> Self {
        let mut slot = Self::new();
        slot.state = AtomicU64::new(GONE);
        slot
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
    #[inline(always)]
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<T> {
        match self.get() {
            Some(value) => Poll::Ready(value),
            None => self.wait(cx),
        }
    }

    /// There was no value a moment ago.
    fn wait(&self, cx: &mut Context<'_>) -> Poll<T> {
        if self.state.load(Ordering::Relaxed) & WAKER != 0 {
            if self.waker.are_those_of(cx.waker()) {
                return Poll::Pending;
            }
            self.clear();
            if let Some(value) = self.get() {
                return Poll::Ready(value);
            }
        }
        self.waker.put(cx.waker().clone());
        let before = self.state.fetch_add(WAKER + STORED, Ordering::AcqRel);
        if before & DONE == 0 {
            return Poll::Pending;
        }
        // DONE came before our WAKER: the producer saw no waker, and this one is still ours.
        self.state.store(DONE, Ordering::Relaxed);
        // SAFETY: stored above, and the producer is through.
        drop(unsafe { whole(self.waker.read()) });
        Poll::Ready(self.get().expect("DONE was seen"))
    }

    /// Consumer: stores the first waker of a slot that no producer can see yet, without a read-modify-write.
    #[inline]
    pub(crate) fn arm(&mut self, waker: Waker) {
        debug_assert_eq!(self.state.load(Ordering::Relaxed), 0, "only an empty slot can be armed");
        self.waker.put(waker);
        self.state.store(WAKER, Ordering::Relaxed);
    }

    /// Consumer: takes the waker back, if the producer has not taken it; it is dropped here.
    pub(crate) fn clear(&self) {
        if self.state.load(Ordering::Relaxed) & WAKER != 0 {
            // SAFETY: `self` outlives the call.
            drop(unsafe { Self::withdraw(self, 0) });
        }
    }

    /// Consumer: will not come back. Returns the value if it is there: then it is the consumer's to dispose
    /// of, and so is the slot. Else both are the producer's, who may free the slot before this returns: hence
    /// a pointer and no reference.
    ///
    /// # Safety
    /// `slot` is alive until GONE or DONE is set.
    #[inline]
    pub(crate) unsafe fn abandon(slot: *const Self) -> Option<T> {
        // SAFETY: per contract.
        match unsafe { Self::withdraw(slot, GONE) } {
            Ok(_waker) => None,
            // SAFETY: DONE without GONE: the slot is the consumer's.
            Err(Late) => unsafe { (*slot).get() },
        }
    }

    /// Takes the waker out of play, if there is one, and sets `bits`.
    ///
    /// # Safety
    /// As [`Slot::abandon`].
    unsafe fn withdraw(slot: *const Self, bits: u64) -> Result<Option<Waker>, Late> {
        // SAFETY: per contract; the reference ends with this line.
        let mut now = unsafe { (*slot).state.load(Ordering::Acquire) };
        loop {
            if now & DONE != 0 {
                return Err(Late);
            }
            // SAFETY: neither DONE nor GONE is set.
            let parts = unsafe { (*slot).waker.read() };
            let next = (now & !WAKER) | bits;
            // SAFETY: as above; nothing of the slot is touched once this has succeeded.
            let set = unsafe {
                let state = &(*slot).state;
                state.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Acquire)
            };
            match set {
                // SAFETY: WAKER was set and DONE was not, so this waker is ours.
                Ok(_) => return Ok((now & WAKER != 0).then(|| unsafe { whole(parts) })),
                Err(changed) => now = changed,
            }
        }
    }

    /// Producer: publishes the value; returns who has to be told, once the caller holds nothing. For a slot
    /// that outlives the call.
    #[inline]
    pub(crate) fn set(&self, value: T) -> Set {
        // SAFETY: `self` outlives the call.
        unsafe { Self::set_last(self, value) }
    }

    /// As [`Slot::set`], for a slot that the consumer may free as soon as it finds the value: hence a pointer
    /// and no reference. If the answer is [`Set::Abandoned`], the slot is the caller's.
    ///
    /// # Safety
    /// `slot` is alive until its value is set.
    #[inline]
    pub(crate) unsafe fn set_last(slot: *const Self, value: T) -> Set {
        // SAFETY: per contract; the reference ends with this line.
        let mut now = unsafe { (*slot).state.load(Ordering::Acquire) };
        debug_assert_eq!(now & DONE, 0, "a slot is set once");
        // SAFETY: DONE is clear until the compare-exchange below and the consumer reads the value only after
        // it.
        unsafe { (*slot).value.with_mut(|place| (*place).write(value)) };
        loop {
            if now & GONE != 0 {
                return Set::Abandoned;
            }
            // SAFETY: DONE is clear, so the slot is alive.
            let parts = unsafe { (*slot).waker.read() };
            // SAFETY: as above; nothing of the slot is touched once this has succeeded.
            let set = unsafe {
                let state = &(*slot).state;
                state.compare_exchange_weak(now, now | DONE, Ordering::Release, Ordering::Acquire)
            };
            match set {
                // SAFETY: WAKER was set from before `parts` was read until DONE was: the waker is ours.
                Ok(_) if now & WAKER != 0 => return Set::Waiting(unsafe { whole(parts) }),
                Ok(_) => return Set::Early,
                Err(changed) => now = changed,
            }
        }
    }
}

/// The producer has set the value.
struct Late;

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        // In any case: the producer is through with them.
        let parts = (last_of(&mut self.waker.data), last_of(&mut self.waker.vtable));
        if self.state.load(Ordering::Relaxed) & (WAKER | DONE) == WAKER {
            // SAFETY: `&mut self`, WAKER without DONE: the waker was stored and is in nobody else's hands.
            drop(unsafe { whole(parts) });
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
        // SAFETY: the slot lives on.
        assert_eq!(unsafe { Slot::abandon(&slot) }, None);
        assert!(matches!(slot.set(3), Set::Abandoned));
    }

    #[test]
    fn a_slot_that_is_born_abandoned_leaves_its_value_to_the_producer() {
        assert!(matches!(Slot::abandoned().set(3), Set::Abandoned));
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
        // SAFETY: the slot lives on.
        assert_eq!(unsafe { Slot::abandon(&slot) }, Some(1));
        drop(slot);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
    }
}
