//! The allocator of this executable: the system's, and when it is told to, it counts calls and live bytes.
//! While it does not count it costs one load and a branch that is never taken. It promises nothing about
//! memory that is not allocated through Rust's global allocator: rings, mapped pools and stacks are not seen.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Signed: what was allocated before counting began may be freed after.
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

/// Counts from now on, to the end of the process.
pub(crate) fn start() {
    COUNTS.store(true, Relaxed);
}

/// Allocations so far, growing a block included, and live bytes; none if nothing counts.
pub(crate) fn reading() -> Option<(u64, i64)> {
    COUNTS.load(Relaxed).then(|| (CALLS.load(Relaxed), LIVE_BYTES.load(Relaxed)))
}

thread_local! {
    static IS_ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Counts nothing of what this thread allocates: it is no part of what is measured.
pub(crate) fn leave_out_this_thread() {
    IS_ASIDE.set(true);
}

fn note(calls: u64, bytes: i64) {
    if COUNTS.load(Relaxed) && !IS_ASIDE.get() {
        CALLS.fetch_add(calls, Relaxed);
        LIVE_BYTES.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as i64);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as i64);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(0, -(layout.size() as i64));
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(1, new_size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_allocated_is_counted_once_counting_has_begun() {
        super::start();
        let (calls, _) = super::reading().expect("it counts");
        let block = std::hint::black_box(vec![0u8; 1 << 20]);
        let (more, _) = super::reading().expect("it counts");
        assert!(more > calls && block.len() == 1 << 20);
    }
}
