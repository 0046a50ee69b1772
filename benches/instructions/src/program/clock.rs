//! A clock that moves by counting: [`step`] slows a thread down ten-thousandfold, and a
//! scheduler that saw that would do other things than it does (the length of a poll or a turn decides).
//!
//! Owns the C function `clock_gettime` of this program, which is where the standard library reads the time.
//! Once [`take_over`] was called, the time stands, but for half a microsecond with each reading that a thread
//! takes in a stretch that is counted: what a core at work does between two readings takes about that long.
//! It begins in the far future of the kernel's clock, so who waits with a deadline waits for the event only.

use crate::program::step;
use libc::{c_int, clockid_t, timespec};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far the time moves with a reading, in nanoseconds.
const READING: u64 = 500;
/// The time in nanoseconds; 0 is the kernel's.
static NOW: AtomicU64 = AtomicU64::new(0);

/// From here on the time is ours.
pub(crate) fn take_over() {
    NOW.store(1 << 60, Ordering::SeqCst);
}

/// Moves the time forward.
pub(crate) fn advance(by: Duration) {
    NOW.store(NOW.load(Ordering::SeqCst) + by.as_nanos() as u64, Ordering::SeqCst);
}

/// What the standard library calls.
///
/// # Safety
/// As that of the C library: `to` may be written.
// SAFETY: the name is that of the C library's function, and so is what it does.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, to: *mut timespec) -> c_int {
    let now = NOW.load(Ordering::Relaxed);
    if now == 0 {
        // SAFETY: the caller's arguments.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, to) } as c_int;
    }
    if step::is_on() {
        // One stretch at a time, so nobody else writes; a read-modify-write would be counted.
        NOW.store(now + READING, Ordering::Relaxed);
    }
    // SAFETY: the caller's promise.
    unsafe {
        to.write(timespec { tv_sec: (now / 1_000_000_000) as i64, tv_nsec: (now % 1_000_000_000) as i64 })
    };
    0
}
