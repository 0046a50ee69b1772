//! The accept side by itself.
#![forbid(unsafe_code)]

use super::*;
use crate::base::inbox::Inbox;
use crate::ring::backend::Wait as Entering;
use crate::ring::{enter, stub};
use crate::sys::sqe::CQE_MORE;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream as Std;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

/// What a listener is for an accept; nobody connects to it.
fn shared(permits: Option<Arc<Permits>>) -> Arc<Shared> {
    let (fd, _) = Std::pair().unwrap();
    Arc::new(Shared::new(fd.into(), permits, Hook::NONE, false))
}

/// What comes of an accept that a multishot has completed.
fn accepted() -> i32 {
    Std::pair().unwrap().0.into_raw_fd()
}

/// Has the ring submit, answers its multishot like this, and wakes whom that concerns.
fn answer(ring: &Ring, kernel: &stub::Kernel, res: i32, flags: u32) {
    ring.enter(Entering::No);
    let of_accept = |sqe: &&Sqe| sqe.opcode == opcode::ACCEPT;
    let user_data = kernel.taken.borrow().iter().find(of_accept).expect("an accept is in flight").user_data;
    kernel.completed.borrow_mut().push(Cqe { user_data, res, flags });
    let mut wakers = Vec::new();
    ring.reap(&mut wakers);
    wakers.into_iter().for_each(Waker::wake);
}

#[test]
fn an_accept_that_found_nothing_looks_again_before_it_waits_for_an_armed_multishot() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    let shared = shared(None);
    let mut cx = Context::from_waker(Waker::noop());
    let mut waits = Accept::<UnixStream>::new(&shared);
    assert!(Pin::new(&mut waits).poll(&mut cx).is_pending());
    // Another one looks into the queue in vain, and the socket comes before it is among those who wait.
    assert!(shared.take_queued().is_none());
    answer(&ring, &kernel, accepted(), CQE_MORE);
    let mut late = Accept::<UnixStream>::new(&shared);
    assert!(matches!(late.accepting.wait(&mut cx), Ok(Wait::Again)));
    assert!(Pin::new(&mut late).poll(&mut cx).is_ready());
    // Nothing is queued any more.
    assert!(matches!(late.accepting.wait(&mut cx), Ok(Wait::Pending)));
    answer(&ring, &kernel, -libc::ECANCELED, 0);
    assert_eq!(ring.in_flight(), 0);
}

/// A task that counts how often it is woken. Who keeps its waker keeps it.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn an_accept_that_is_dropped_leaves_no_waker_behind() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    let (roomy, full) = (Permits::new(100, 1), Permits::new(1, 1));
    let place = full.try_take().expect("one is free");
    for permits in [None, Some(roomy), Some(full)] {
        let listener = &shared(permits);
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        for _ in 0..3 {
            let mut accept = Accept::<UnixStream>::new(listener);
            let mut stays = Accept::<UnixStream>::new(listener);
            for accept in [&mut accept, &mut stays] {
                assert!(Pin::new(accept).poll(&mut Context::from_waker(&waker)).is_pending());
            }
            drop(accept);
            assert!(Arc::strong_count(&task) > 2, "the other one still waits");
        }
        assert_eq!(Arc::strong_count(&task), 2);
    }
    drop(place);
    drop(kernel);
}

#[test]
fn a_child_that_was_forked_while_a_socket_was_queued_knows_it() {
    fork::mark().unwrap();
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    let (listener, mut cx) = (shared(None), Context::from_waker(Waker::noop()));
    let mut accept = Accept::<UnixStream>::new(&listener);
    assert!(Pin::new(&mut accept).poll(&mut cx).is_pending());
    answer(&ring, &kernel, accepted(), CQE_MORE);
    let forks = fork::count();
    assert!(fork::in_a_child(|| true));
    assert_ne!(fork::count(), forks);
    let queued = listener.side().queue.front().map(|accepted| accepted.forks);
    assert_eq!(queued, Some(forks), "it came before");
    let Poll::Ready(Ok(stream)) = Pin::new(&mut accept).poll(&mut cx) else { panic!("it is queued") };
    assert!(stream.shared().may_be_known());
    answer(&ring, &kernel, -libc::ECANCELED, 0);
}

#[test]
fn of_two_accepts_of_a_task_one_that_is_dropped_takes_no_wake_from_the_other() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    let (listener, task) = (shared(None), Arc::new(Task::default()));
    let waker = Waker::from(Arc::clone(&task));
    let mut cx = Context::from_waker(&waker);
    let mut dropped = Accept::<UnixStream>::new(&listener);
    let mut kept = Accept::<UnixStream>::new(&listener);
    assert!(Pin::new(&mut dropped).poll(&mut cx).is_pending());
    assert!(Pin::new(&mut kept).poll(&mut cx).is_pending());
    drop(dropped);
    answer(&ring, &kernel, accepted(), CQE_MORE);
    assert_eq!(task.0.load(Ordering::SeqCst), 1);
    assert!(Pin::new(&mut kept).poll(&mut cx).is_ready());
    answer(&ring, &kernel, -libc::ECANCELED, 0);
}
