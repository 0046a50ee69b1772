//! Waiting for the very end of a thread, for a limited time.
//!
//! Owns [`join_until`]. A thread that has returned from all of its code still drops its thread-local values,
//! which is foreign code and may take any time; std tells only of the return (`JoinHandle::is_finished`) or
//! waits without limit (`join`). The C library can be asked whether the kernel is through with the thread.
//!
//! Rejected: `pthread_timedjoin_np`, whose deadline is by the wall clock, which may be set meanwhile, and
//! `pthread_clockjoin_np`, which glibc has since 2.31 only. A helper thread that joins would itself be left
//! behind. So the question is asked again and again; at first without a pause, because mostly the end is some
//! tens of microseconds away, and the shortest sleep takes longer.

use super::syscall;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// So long the CPU is only offered to others between two questions.
const PROMPT: Duration = Duration::from_micros(200);
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// Waits until `thread` has ended, its thread-local values dropped, and at most until `deadline`. Whether it
/// has; if not, it is left to itself. How it ended (a panic) is not told.
pub(crate) fn join_until(thread: JoinHandle<()>, deadline: Instant) -> bool {
    let thread = thread.into_pthread_t();
    let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        // SAFETY: the handle, which was the only one, has given the thread to us without joining or detaching
        // it, and we have done neither so far; no result is asked for.
        let answer = unsafe { libc::pthread_tryjoin_np(thread, ptr::null_mut()) };
        if answer == 0 {
            return true;
        }
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        if answer != libc::EBUSY || left.is_zero() {
            // SAFETY: as above: it has not been joined, and this is the last that is done with it.
            unsafe { libc::pthread_detach(thread) };
            return false;
        }
        if now - begun < PROMPT {
            thread::yield_now();
        } else {
            doze(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Sleeps for less than a second, or until the thread is interrupted. std's sleep goes on with what is left,
/// to which the kernel adds its slack of 50 µs each time (`timerslack_ns`, `prctl(2)`): it never ends where
/// signals come faster than that.
fn doze(time: Duration) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: libc::c_long::from(time.subsec_nanos()) };
    let _ = syscall!(nanosleep(&raw const time, ptr::null_mut()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::mpsc::{Receiver, channel};

    struct Waits(Receiver<()>);

    impl Drop for Waits {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    thread_local! {
        static LAST: RefCell<Option<Waits>> = const { RefCell::new(None) };
    }

    #[test]
    fn a_thread_that_has_returned_is_waited_for_until_its_values_are_dropped_or_the_time_is_up() {
        let start = || {
            let (open, gate) = channel::<()>();
            (open, thread::spawn(move || LAST.set(Some(Waits(gate)))))
        };
        let (open, stays) = start();
        assert!(!join_until(stays, Instant::now() + Duration::from_millis(20)));
        drop(open);
        let (open, ends) = start();
        drop(open);
        assert!(join_until(ends, Instant::now() + Duration::from_secs(30)));
    }
}
