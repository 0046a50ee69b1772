//! A ring over a backend whose queue is full as long as the test says so.

use super::backend::Wait;
use super::gather::Gathered;
use super::multi::{self, Handler};
use super::op::{Op, Operation};
use super::{Ring, enter, stub};
use crate::base::inbox::Inbox;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A multishot that notes its completions under a lock, as streams and listeners do.
struct Noting(Arc<Mutex<Vec<i32>>>);

impl Handler for Noting {
    const OPCODE: u8 = opcode::NOP;

    fn describe(&self, _ring: &Ring) -> Sqe {
        Sqe::new(Self::OPCODE, -1)
    }

    fn complete(&self, cqe: Cqe, _ring: &Ring, _wakers: &mut Vec<Waker>) {
        self.0.try_lock().expect("who cancels does not wait for itself").push(cqe.res);
    }
}

#[test]
fn a_multishot_cancelled_on_the_backlog_completes_later_and_not_inside_the_cancel() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    kernel.is_full.set(true);
    let notes = Arc::new(Mutex::new(Vec::new()));
    let armed = multi::arm(Noting(Arc::clone(&notes))).unwrap().unwrap();
    {
        let held = notes.lock().unwrap();
        armed.cancel();
        armed.cancel();
        assert_eq!(*held, []);
    }
    assert_eq!((ring.in_flight(), ring.cancel_patience()), (1, Some(Duration::ZERO)));
    ring.reap(&mut Vec::new());
    assert_eq!(*notes.lock().unwrap(), [-libc::ECANCELED]);
    assert_eq!((ring.in_flight(), ring.cancel_patience()), (0, None));
    kernel.is_full.set(false);
    ring.enter(Wait::No);
    assert!(
        kernel.taken.borrow().iter().all(|sqe| sqe.opcode != opcode::NOP),
        "the kernel never hears of it"
    );
}

/// A send of several buffers.
struct Gather(Gathered, Vec<&'static str>);

impl Operation for Gather {
    const OPCODE: u8 = opcode::SENDMSG;
    type Output = i32;

    fn describe(&mut self, ring: &Ring) -> Sqe {
        self.0.describe(-1, &self.1, 0, ring)
    }

    fn settle(&mut self, ring: &Ring) {
        self.0.release(ring);
    }

    fn finish(self, cqe: Cqe) -> i32 {
        cqe.res
    }
}

#[test]
fn an_op_that_waits_on_the_backlog_is_described_once_when_it_goes_out() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    kernel.is_full.set(true);
    let mut op = Op::new(Gather(Gathered::default(), vec!["a", "b"]));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut op).poll(&mut cx).is_pending());
    for _ in 0..3 {
        ring.enter(Wait::No);
        assert_eq!(ring.arena.borrow().allocated(), 0, "nothing is described while it waits");
    }
    kernel.is_full.set(false);
    ring.enter(Wait::No);
    let taken = kernel.taken.take();
    let sent: Vec<_> = taken.iter().filter(|sqe| sqe.opcode == opcode::SENDMSG).collect();
    assert_eq!(sent.len(), 1);
    let user_data = sent[0].user_data;
    kernel.completed.borrow_mut().push(Cqe { user_data, res: 2, flags: 0 });
    ring.reap(&mut Vec::new());
    assert_eq!(Pin::new(&mut op).poll(&mut cx), Poll::Ready(2));
    assert_eq!(ring.in_flight(), 0);
}
