//! The receive side by itself.
#![forbid(unsafe_code)]

use super::*;
use std::sync::{Arc, Mutex};
use std::task::Wake;

#[test]
fn an_orphan_that_was_cancelled_or_given_up_does_not_end_the_stream() {
    for res in [-libc::ECANCELED, -libc::EAGAIN, RES_GONE] {
        let mut side = RecvSide::default();
        side.start_single();
        side.keep_end(Cqe::made_up(res), 100);
        let _ = side.single_done(Cqe::made_up(res));
        assert!(matches!(side.next(Waker::noop(), false).next, Next::Start));
    }
}

/// Its drop takes the lock, as that of a task with the stream in it does.
struct Reentrant(Arc<Mutex<RecvSide>>);

impl Wake for Reentrant {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        assert!(self.0.try_lock().is_ok(), "a waker was dropped under the lock");
    }
}

#[test]
fn a_waker_that_is_replaced_is_dropped_without_the_lock() {
    let side = Arc::new(Mutex::new(RecvSide::default()));
    side.lock().unwrap().start_single();
    let polls: [fn(&mut RecvSide, &Waker) -> Option<Waker>; 2] =
        [|side, waker| side.next(waker, false).replaced, |side, waker| side.poll_disarmed(waker).1];
    for poll in polls {
        let first = Waker::from(Arc::new(Reentrant(Arc::clone(&side))));
        drop(poll(&mut side.lock().unwrap(), &first));
        drop(first);
        let replaced = poll(&mut side.lock().unwrap(), Waker::noop());
        assert!(replaced.is_some());
        drop(replaced);
    }
}

#[test]
fn the_end_an_orphan_saw_is_kept_and_an_error_is_told_once() {
    for (res, asked, ends) in [(0, 100, true), (0, 0, false), (-libc::ECONNRESET, 100, true)] {
        let mut side = RecvSide::default();
        side.start_single();
        side.keep_end(Cqe::made_up(res), asked);
        let _ = side.single_done(Cqe::made_up(res));
        let next = side.next(Waker::noop(), false).next;
        assert_eq!(matches!(next, Next::End(_)), ends, "{res}");
        let again = side.next(Waker::noop(), false).next;
        assert_eq!(matches!(again, Next::End(Ok(()))), ends && res == 0, "{res}");
    }
}
