//! Calls for bytes that would be in vain, told from others without a lock.
//!
//! Owns [`InVain`], the mark beside the lock of a stream's receive side, and no waker: what waits is stored
//! with the receive side (recv.rs).
#![forbid(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::task::{RawWakerVTable, Waker};

/// The mark that a call for bytes would be in vain: the waker of who called last is stored with the receive
/// side, as one that waits or as one that was primed when it took the last bytes (`RecvSide::next`), and
/// nobody has touched the receive side since. So another call with the same waker need not ask for the lock.
///
/// Set and ended under the receive side's lock; ended whenever that is taken. Whoever completes a receive
/// takes the lock, ends the mark and wakes the stored waker, in this order: a call that still sees the mark
/// is followed by another one, which does not. A completion whose bytes are sent on at once wakes nobody, for
/// it leaves nothing to receive. Whoever puts another waker in the place of a reader's wakes
/// that, for the same reason.
///
/// A call without a future goes by a mark of either shape, one with a future only by a reader's: that waker
/// is replaced by who has the turn, and so by nobody else while the caller has it, or by a release, which
/// wakes it. A pollster's may be replaced, and dropped, by another pollster at that very moment.
///
/// What `Waker::will_wake` compares, with the shape in the lowest bits of a table's address; that word is
/// written last (release) and read first (acquire), so the data that is found beside it is its own, or of a
/// later mark. Of two pollsters that meet here one is forgotten, as in the receive side itself.
#[derive(Default)]
pub(super) struct InVain {
    /// The address of the waker's table plus a [`Shape`], or zero if there is no mark.
    table_and_shape: AtomicUsize,
    data: AtomicPtr<()>,
}

/// Who has begun a mark.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A call without a future.
    Pollster = 1,
    /// One with a future.
    Reader = 2,
}

const _: () = assert!(align_of::<RawWakerVTable>() > Shape::Pollster as usize | Shape::Reader as usize);

impl InVain {
    /// Under the lock, which is let go of next.
    pub(super) fn begins(&self, waker: &Waker, shape: Shape) {
        self.data.store(waker.data().cast_mut(), Ordering::Relaxed);
        self.table_and_shape.store(mark(waker, shape), Ordering::Release);
    }

    /// Under the lock, by whoever has taken it.
    pub(super) fn ends(&self) {
        self.table_and_shape.store(0, Ordering::Relaxed);
    }

    /// Whether a call without a future would be in vain with this waker.
    pub(super) fn is_for(&self, waker: &Waker) -> bool {
        let word = self.table_and_shape.load(Ordering::Acquire);
        let shapes = [Shape::Pollster, Shape::Reader];
        shapes.map(|shape| mark(waker, shape)).contains(&word) && self.has_data_of(waker)
    }

    /// Whether a call with a future would be. For who has the turn.
    pub(super) fn is_for_reader(&self, waker: &Waker) -> bool {
        self.table_and_shape.load(Ordering::Acquire) == mark(waker, Shape::Reader) && self.has_data_of(waker)
    }

    fn has_data_of(&self, waker: &Waker) -> bool {
        self.data.load(Ordering::Relaxed) == waker.data().cast_mut()
    }
}

fn mark(waker: &Waker, shape: Shape) -> usize {
    ptr::from_ref(waker.vtable()).addr() | shape as usize
}
