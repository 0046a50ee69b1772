//! How often each address of a stretch was executed.
//!
//! Owns one table for the process: a counter for each byte of the program's own code, and one for all that
//! lies elsewhere (libc, the kernel's page). [`add`] is called by the handler of the trap.

use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

static COUNTERS: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());
static BASE: AtomicUsize = AtomicUsize::new(0);
static LENGTH: AtomicUsize = AtomicUsize::new(0);
static ELSEWHERE: AtomicU64 = AtomicU64::new(0);

/// The table, which is there until the process ends.
#[derive(Debug)]
pub(crate) struct Histogram {
    counters: &'static [AtomicU32],
}

impl Histogram {
    /// Begins to count.
    pub(crate) fn begin() -> Self {
        let (base, length) = code();
        let counters: Vec<AtomicU32> = (0..length).map(|_| AtomicU32::new(0)).collect();
        let counters: &'static [AtomicU32] = Vec::leak(counters);
        BASE.store(base, Ordering::SeqCst);
        LENGTH.store(length, Ordering::SeqCst);
        COUNTERS.store(counters.as_ptr().cast_mut(), Ordering::SeqCst);
        Self { counters }
    }

    /// The addresses that were executed, from the start of the program's image, each with how often; and what
    /// was executed elsewhere.
    pub(crate) fn read(&self) -> (Vec<(usize, u64)>, u64) {
        let counts = self.counters.iter().enumerate();
        let counts = counts.map(|(at, count)| (at, u64::from(count.load(Ordering::SeqCst))));
        (counts.filter(|(_, count)| *count > 0).collect(), ELSEWHERE.load(Ordering::SeqCst))
    }
}

/// In the handler: one instruction at `address`.
pub(super) fn add(address: usize) {
    let counters = COUNTERS.load(Ordering::Relaxed);
    if counters.is_null() {
        return;
    }
    let offset = address.wrapping_sub(BASE.load(Ordering::Relaxed));
    if offset >= LENGTH.load(Ordering::Relaxed) {
        // One stretch at a time: no read-modify-write is needed.
        ELSEWHERE.store(ELSEWHERE.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        return;
    }
    // SAFETY: the table has `LENGTH` counters and is never freed.
    let counter = unsafe { &*counters.add(offset) };
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Where the program's image begins, and how far its code reaches from there.
fn code() -> (usize, usize) {
    unsafe extern "C" {
        /// The linker's names for both ends.
        static __executable_start: u8;
        static etext: u8;
    }
    let base = (&raw const __executable_start).addr();
    (base, (&raw const etext).addr() - base)
}
