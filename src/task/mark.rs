//! The mark of a thread: who may touch the future of a local task, and change its state plainly.
//!
//! Owns one number per thread, never used again for another thread, not even after the first one has ended
//! (an address of a thread-local or an OS thread id would be). The check is one load of a thread-local and
//! one compare. A thread may [`retire`](Mark::retire): from then on it counts as another one.
#![forbid(unsafe_code)]

use crate::base::sync::with_thread_number;
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
        Mark(with_thread_number(|number| match number.get() {
            0 => renumber(number),
            known => known,
        }))
    }

    /// The mark of a thread that is to be.
    pub(crate) fn reserve() -> Self {
        Mark(new_number())
    }

    /// The calling thread, which is no local task's home yet, bears this mark from now on. No other thread
    /// may take it, and this one not again.
    pub(crate) fn take(self) {
        debug_assert_ne!(self, Self::ANY);
        with_thread_number(|number| number.set(self.0));
    }

    /// The calling thread is no longer the home of its local tasks, all of which are over: what happens to
    /// them from now on happens from afar, here too (`remote.rs`).
    pub(crate) fn retire() {
        with_thread_number(|number| {
            renumber(number);
        });
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

#[cold]
fn renumber(number: &Cell<u64>) -> u64 {
    let new = new_number();
    number.set(new);
    new
}

fn new_number() -> u64 {
    // Not part of any protocol: only uniqueness counts, which a read-modify-write gives in any ordering.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
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
    }

    #[test]
    fn a_thread_that_has_retired_is_another_one() {
        let (before, after) = std::thread::spawn(|| {
            let before = Mark::here();
            Mark::retire();
            (before, Mark::here())
        })
        .join()
        .unwrap();
        assert_ne!(before, after);
    }

    #[test]
    fn a_mark_that_is_there_before_its_thread_admits_nobody_until_it_is_taken() {
        let mark = Mark::reserve();
        assert!(!mark.admits_this_thread());
        let taken = std::thread::spawn(move || {
            assert!(!mark.admits_this_thread());
            mark.take();
            mark.admits_this_thread() && Mark::here() == mark
        });
        assert!(taken.join().unwrap());
        assert!(!mark.admits_this_thread());
    }
}
