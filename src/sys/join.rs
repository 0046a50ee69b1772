//! Waiting for the very end of a thread, for a limited time.
//!
//! Owns [`Joinable`]. A thread that has returned from all of its code still drops its thread-local values,
//! which is foreign code and may take any time; std tells only of the return (`JoinHandle::is_finished`) or
//! waits without limit (`join`). The C library can be asked whether the kernel is through with the thread.
//!
//! Rejected: `pthread_timedjoin_np`, whose deadline is by the wall clock, which may be set meanwhile, and
//! `pthread_clockjoin_np`, which glibc has since 2.31 only. A helper thread that joins would itself be left
//! behind. So the question is asked again and again; at first without a pause, because mostly the end is some
//! tens of microseconds away, and the shortest sleep takes longer.

use super::{fork, syscall};
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread that has come to its end may take to say so and to be gone, beyond the time that those
/// who wait for it have.
pub(crate) const LAST_WORD: Duration = Duration::from_millis(100);

/// So long the CPU is only offered to others between two questions.
const PROMPT: Duration = Duration::from_micros(200);
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// A thread whose end can be waited for. Dropped, it is left to itself. How it ends (a panic) is not told.
#[derive(Debug)]
pub(crate) struct Joinable {
    /// None once it was joined.
    thread: Option<libc::pthread_t>,
}

impl From<JoinHandle<()>> for Joinable {
    fn from(thread: JoinHandle<()>) -> Self {
        Self { thread: Some(thread.into_pthread_t()) }
    }
}

impl Joinable {
    /// Whether it has ended, its thread-local values dropped.
    pub(crate) fn has_ended(&mut self) -> bool {
        if let Some(thread) = self.thread {
            // SAFETY: the handle, which was the only one, has given the thread to us without joining or
            // detaching it; we join it once, as the next line notes, and detach it in our drop only. No
            // result is asked for.
            let answer = unsafe { libc::pthread_tryjoin_np(thread, ptr::null_mut()) };
            self.thread = self.thread.filter(|_| answer != 0);
        }
        self.thread.is_none()
    }

    /// Whether it is the calling thread, which cannot wait for itself.
    pub(crate) fn is_this_thread(&self) -> bool {
        // SAFETY: it asks nothing of its caller. A thread that has not been joined keeps its number, so no
        // other one has it.
        self.thread.is_some_and(|thread| unsafe { libc::pthread_equal(thread, libc::pthread_self()) } != 0)
    }

    /// Waits until it has ended, its thread-local values dropped, and at most until `deadline`. Whether it
    /// has.
    pub(crate) fn join_until(mut self, deadline: Instant) -> bool {
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        while !self.has_ended() {
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return false;
            }
            if now - begun < PROMPT {
                thread::yield_now();
            } else {
                doze(pause.min(left));
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        true
    }
}

impl Drop for Joinable {
    fn drop(&mut self) {
        // In a child of fork it is a thread of the parent.
        if let Some(thread) = self.thread
            && !fork::is_child()
        {
            // SAFETY: as above: it has not been joined, and this is the last that is done with it.
            unsafe { libc::pthread_detach(thread) };
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
        assert!(!Joinable::from(stays).join_until(Instant::now() + Duration::from_millis(20)));
        drop(open);
        let (open, ends) = start();
        drop(open);
        assert!(Joinable::from(ends).join_until(Instant::now() + Duration::from_secs(30)));
    }
}
