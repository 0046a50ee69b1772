//! The atomics, cells and locks that the concurrent structures use.
//!
//! This is the std half of a pair: `tests/loom/src/base/sync.rs` has the same names over loom, and the files
//! of this room compile against either without a `cfg`. It is not a place for new primitives.

use super::coop::Left;
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::sync::{Arc, Mutex};

/// `UnsafeCell` with loom's closure-shaped access, so that loom can see every read and write.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell holding `value`.
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Lends a pointer for reading. The caller upholds that nobody writes meanwhile.
    #[inline(always)]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    /// Lends a pointer for writing. The caller upholds that nobody else reads or writes meanwhile.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

/// What an atomic pointer holds, for one that nobody else can reach any more. In a model this is also the
/// claim that nobody does.
#[inline(always)]
pub(crate) fn last_of<T>(pointer: &mut AtomicPtr<T>) -> *mut T {
    *pointer.get_mut()
}

thread_local! {
    // Without a destructor, so that it can be read while the thread's other thread-locals are torn down.
    static THREAD_NUMBER: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    static BUDGET: std::cell::Cell<Left> = const { std::cell::Cell::new(Left::Outside) };
}

/// Lends this thread's number, 0 until somebody sets it. A model's threads have one each, too.
#[inline]
pub(crate) fn with_thread_number<R>(lend: impl FnOnce(&std::cell::Cell<u64>) -> R) -> R {
    THREAD_NUMBER.with(lend)
}

/// Lends this thread's cooperative budget (coop.rs); likewise.
#[inline]
pub(crate) fn with_budget_left<R>(lend: impl FnOnce(&std::cell::Cell<Left>) -> R) -> R {
    BUDGET.with(lend)
}
