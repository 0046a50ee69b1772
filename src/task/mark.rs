//! The mark of a thread: who may touch the future of a local task.
//!
//! Owns one number per thread, never used again for another thread, not even after the first one has ended
//! (an address of a thread-local or an OS thread id would be). The check is one load of a thread-local and
//! one compare.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The thread that a task is bound to, or no thread in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    /// Any thread will do: the future is `Send`.
    pub(super) const ANY: Mark = Mark(0);

    /// The calling thread.
    #[inline]
    pub(crate) fn here() -> Self {
        Mark(THREAD.with(|number| match number.get() {
            0 => first_time(number),
            known => known,
        }))
    }

    /// Whether the calling thread may touch what bears this mark.
    #[inline]
    pub(super) fn admits_this_thread(self) -> bool {
        self == Self::ANY || self == Self::here()
    }

    /// The number, for an atomic that holds a mark.
    pub(super) fn number(self) -> u64 {
        self.0
    }
}

thread_local! {
    // Without a destructor, so that it can be read while the thread's other thread-locals are torn down.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

#[cold]
fn first_time(number: &Cell<u64>) -> u64 {
    // Not part of any protocol: only uniqueness counts, which a read-modify-write gives in any ordering.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let new = NEXT.fetch_add(1, Ordering::Relaxed);
    number.set(new);
    new
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn threads_have_different_marks_and_anybody_may_touch_an_unbound_task() {
        let here = Mark::here();
        assert!(here.admits_this_thread());
        let there = std::thread::spawn(move || {
            assert!(!here.admits_this_thread());
            assert!(Mark::ANY.admits_this_thread());
            Mark::here()
        });
        assert_ne!(there.join().unwrap(), here);
        // The next thread may get the stack and the thread-locals of the one before: its mark is still new.
        let after = std::thread::spawn(Mark::here).join().unwrap();
        assert_ne!(after, here);
    }
}
