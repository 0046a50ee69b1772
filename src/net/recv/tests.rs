//! The receive side by itself.
#![forbid(unsafe_code)]

use super::super::relay::IN_A_ROW;
use super::super::send_off;
use super::super::shared::{Handle, Shared};
use super::*;
use crate::sys::sqe::CQE_MORE;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::task::Wake;

#[test]
fn an_orphan_that_was_cancelled_or_given_up_does_not_end_the_stream() {
    for res in [-libc::ECANCELED, -libc::EAGAIN, -libc::EINTR, -512, RES_GONE] {
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

/// A stream to which nobody listens.
fn target() -> Arc<Shared> {
    let (one, _) = UnixStream::pair().unwrap();
    Arc::clone(Handle::new(one.into(), None).shared())
}

/// With a forwarding that waits.
fn forwarded(to: &Arc<Shared>) -> RecvSide {
    let mut side = RecvSide::default();
    assert!(side.begin_relay(Relay::new(to)).is_ok());
    side.relay().unwrap().waits(true);
    side
}

/// Whether a message that comes is sent on. The send is over at once.
fn is_sent_on(side: &mut RecvSide, to: &Shared, flags: u32, group: Group, may_pass: bool) -> bool {
    let (cqe, chunk) = (Cqe { flags, ..Cqe::made_up(1) }, PooledBuf::copied(b"m"));
    let is_sent_on = matches!(side.completed(cqe, Some(chunk), group, || may_pass), Completed::Onward(_));
    if is_sent_on {
        send_off::give_up(to);
    }
    is_sent_on
}

#[test]
fn a_message_is_sent_on_unless_something_stands_against_it_and_then_it_is_queued() {
    let to = target();
    let cases = [
        (CQE_MORE, Group::Messages, true, true),
        (0, Group::Messages, true, false),
        (CQE_MORE, Group::Bulk, true, false),
        (CQE_MORE, Group::Messages, false, false),
    ];
    for (flags, group, may_pass, expected) in cases {
        let mut side = forwarded(&to);
        assert_eq!(is_sent_on(&mut side, &to, flags, group, may_pass), expected);
        assert_eq!(side.queue.len(), usize::from(!expected));
        assert_eq!(side.end_relay().unwrap().take_sent(), u64::from(expected));
    }
    // The forwarding that was woken does not wait any more, and another receiver's bytes are not its.
    let mut side = forwarded(&to);
    let _ = side.concerned();
    assert!(!is_sent_on(&mut side, &to, CQE_MORE, Group::Messages, true));
    // Something is unread.
    let mut side = forwarded(&to);
    side.keep(PooledBuf::copied(b"before"));
    assert!(!is_sent_on(&mut side, &to, CQE_MORE, Group::Messages, true));
    // Somebody polls.
    let mut side = forwarded(&to);
    side.polled = Some(Box::default());
    side.polled.as_mut().unwrap().waiter = Some(Waker::noop().clone());
    assert!(!is_sent_on(&mut side, &to, CQE_MORE, Group::Messages, true));
    // The send lane is taken.
    let mut side = forwarded(&to);
    assert!(send_off::begin(&to));
    assert!(!is_sent_on(&mut side, &to, CQE_MORE, Group::Messages, true));
    send_off::give_up(&to);
}

#[test]
fn of_sixteen_messages_in_a_row_one_wakes_the_task() {
    let to = target();
    let mut side = forwarded(&to);
    for message in 1..=3 * IN_A_ROW {
        let expected = !message.is_multiple_of(IN_A_ROW);
        assert_eq!(is_sent_on(&mut side, &to, CQE_MORE, Group::Messages, true), expected, "{message}");
        if !expected {
            assert!(matches!(side.next(Waker::noop(), true).next, Next::Chunk(_)));
            side.relay().unwrap().waits(true);
        }
    }
}
