//! The loom half of `src/base/sync.rs`: the same names, every access seen by the model checker.

use super::coop::Left;
pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use loom::sync::{Arc, Mutex};

/// What an atomic pointer holds, and the claim that nobody else looks.
pub(crate) fn last_of<T>(pointer: &mut AtomicPtr<T>) -> *mut T {
    pointer.with_mut(|pointer| *pointer)
}

loom::thread_local! {
    static THREAD_NUMBER: std::cell::Cell<u64> = std::cell::Cell::new(0);
    static BUDGET: std::cell::Cell<Left> = std::cell::Cell::new(Left::Outside);
}

/// Lends the number of this thread of the model.
pub(crate) fn with_thread_number<R>(lend: impl FnOnce(&std::cell::Cell<u64>) -> R) -> R {
    THREAD_NUMBER.with(lend)
}

/// Lends the cooperative budget of this thread of the model.
pub(crate) fn with_budget_left<R>(lend: impl FnOnce(&std::cell::Cell<Left>) -> R) -> R {
    BUDGET.with(lend)
}
