//! A ring over a backend whose queue is full as long as the test says so.

use super::backend::Wait;
use super::gather::Gathered;
use super::multi::{self, Handler};
use super::op::{Op, Operation};
use super::transfer::Outward;
use super::{Ring, enter, stub};
use crate::base::inbox::Inbox;
use crate::sys::fork;
use crate::sys::sqe::{CQE_MORE, Cqe, Sqe, opcode};
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
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
        assert!(held.is_empty());
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

/// A no-op that is described by what the test says.
struct Described<F>(F);

impl<F: FnMut(&Ring) + Send + 'static> Operation for Described<F> {
    const OPCODE: u8 = opcode::NOP;
    type Output = i32;

    fn describe(&mut self, ring: &Ring) -> Sqe {
        (self.0)(ring);
        Sqe::new(Self::OPCODE, -1)
    }

    fn finish(self, cqe: Cqe) -> i32 {
        cqe.res
    }
}

#[test]
fn a_core_does_not_wait_behind_an_op_that_was_refused_on_the_way_into_the_wait() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    kernel.is_full.set(true);
    let mut op =
        Op::new(Described(|_: &Ring| panic!("a buffer of the user's that does not say where it is")));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(Pin::new(&mut op).poll(&mut Context::from_waker(&waker)).is_pending());
    ring.enter(Wait::Until(None));
    assert!(!woken.0.load(Ordering::Relaxed), "it waits for room");
    kernel.is_full.set(false);
    ring.enter(Wait::Until(None));
    assert!(woken.0.load(Ordering::Relaxed));
    ring.enter(Wait::Until(None));
    assert_eq!(*kernel.enters.borrow(), [Wait::No, Wait::No, Wait::Until(None)]);
    assert_eq!(Pin::new(&mut op).poll(&mut Context::from_waker(&waker)), Poll::Ready(-libc::EFAULT));
}

#[test]
fn a_core_does_not_wait_while_an_op_finds_no_room_in_the_submission_queue() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    kernel.is_full.set(true);
    let mut op = Op::new(Described(|_: &Ring| ()));
    assert!(Pin::new(&mut op).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    ring.enter(Wait::Until(None));
    assert_eq!(*kernel.enters.borrow(), [Wait::No], "the enter that makes room brings nobody to use it");
    kernel.is_full.set(false);
    ring.enter(Wait::Until(None));
    ring.enter(Wait::Until(None));
    assert_eq!(*kernel.enters.borrow(), [Wait::No, Wait::No, Wait::Until(None)]);
    assert_eq!(kernel.taken.borrow().iter().filter(|sqe| sqe.opcode == opcode::NOP).count(), 1);
}

#[test]
fn a_core_does_not_wait_after_an_op_from_the_backlog_has_woken_somebody() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    kernel.is_full.set(true);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut op = Op::new(Described(move |_: &Ring| waker.wake_by_ref()));
    assert!(Pin::new(&mut op).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    kernel.is_full.set(false);
    ring.enter(Wait::Until(None));
    assert!(woken.0.load(Ordering::Relaxed));
    assert_eq!(*kernel.enters.borrow(), [Wait::No], "the worker looked at its queues before");
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn an_op_whose_future_goes_while_it_is_described_is_submitted_and_then_cancelled() {
    let inbox = Arc::new(Inbox::new(Box::new(|| ())));
    let (ring, kernel) = stub::ring(Arc::clone(&inbox));
    let _entered = enter(Rc::clone(&ring));
    kernel.is_full.set(true);
    let future: Arc<Mutex<Option<Pin<Box<dyn Future<Output = i32> + Send>>>>> = Arc::default();
    let own = Arc::clone(&future);
    let mut op = Box::pin(Op::new(Described(move |_: &Ring| drop(own.lock().unwrap().take()))));
    assert!(op.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    *future.lock().unwrap() = Some(op);
    kernel.is_full.set(false);
    ring.enter(Wait::No);
    for message in inbox.take_pinned() {
        message.deliver();
    }
    let taken: Vec<_> = kernel.taken.take().iter().map(|sqe| sqe.opcode).collect();
    assert_eq!(taken.iter().filter(|code| **code == opcode::NOP).count(), 1, "{taken:?}");
    assert_eq!(taken.last(), Some(&opcode::ASYNC_CANCEL), "{taken:?}");
    assert_eq!(ring.in_flight(), 1);
}

/// The opcodes of what the kernel has been given, but for the doorbell.
fn given(kernel: &stub::Kernel) -> Vec<u8> {
    let taken = kernel.taken.take().into_iter().map(|sqe| sqe.opcode);
    taken.filter(|code| *code != opcode::POLL_ADD).collect()
}

#[test]
fn an_op_that_cancels_another_while_it_is_described_has_the_last_entry_of_the_queue() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    let mut cx = Context::from_waker(Waker::noop());
    let mut other = Box::pin(Op::new(Described(|_: &Ring| ())));
    assert!(other.as_mut().poll(&mut cx).is_pending());
    let mut other = Some(other);
    let mut op = Op::new(Described(move |_: &Ring| drop(other.take())));
    kernel.room.set(Some(1));
    assert!(Pin::new(&mut op).poll(&mut cx).is_pending());
    assert_eq!(given(&kernel), [opcode::NOP, opcode::NOP]);
    kernel.room.set(None);
    assert!(ring.wants_enter(), "the cancel is owed");
    ring.enter(Wait::No);
    assert_eq!(given(&kernel), [opcode::ASYNC_CANCEL]);
}

#[test]
fn an_op_that_submits_another_while_it_is_described_has_the_last_entry_of_the_queue() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    let mut cx = Context::from_waker(Waker::noop());
    let mut other = Op::new(Gather(Gathered::new(vec!["a", "b"])));
    let mut op = Op::new(Described(move |_: &Ring| {
        assert!(Pin::new(&mut other).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }));
    kernel.room.set(Some(1));
    assert!(Pin::new(&mut op).poll(&mut cx).is_pending());
    assert_eq!(given(&kernel), [opcode::NOP]);
    kernel.room.set(None);
    ring.enter(Wait::No);
    assert_eq!(given(&kernel), [opcode::SENDMSG]);
}

/// A send of several buffers.
struct Gather(Gathered<&'static str>);

impl Operation for Gather {
    const OPCODE: u8 = opcode::SENDMSG;
    type Output = i32;

    fn describe(&mut self, ring: &Ring) -> Sqe {
        self.0.describe(-1, usize::MAX, 0, ring)
    }

    fn settle(&mut self, ring: &Ring, _is_over: bool) {
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
    let mut op = Op::new(Gather(Gathered::new(vec!["a", "b"])));
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

/// A message in parts of four bytes; what it comes to, and how often it was described.
struct Parts(Outward<&'static str>);

impl Operation for Parts {
    const OPCODE: u8 = opcode::SEND;
    type Output = Result<usize, Option<i32>>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        self.0.describe_part(Sqe::new(Self::OPCODE, -1), 4)
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        self.0.goes_on(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        self.0.sum(cqe).0.map_err(|error| error.raw_os_error())
    }
}

/// Has the ring submit, answers the send that comes with this result, and says what it asked for.
fn answer(ring: &Ring, kernel: &stub::Kernel, res: i32) -> Option<u32> {
    ring.enter(Wait::No);
    let sends: Vec<_> = kernel.taken.take().into_iter().filter(|sqe| sqe.opcode == opcode::SEND).collect();
    assert!(sends.len() <= 1, "one part at a time");
    let send = sends.first()?;
    kernel.completed.borrow_mut().push(Cqe { user_data: send.user_data, res, flags: 0 });
    ring.reap(&mut Vec::new());
    Some(send.len)
}

#[test]
fn a_message_in_parts_goes_on_by_itself_until_all_is_out() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut op = Op::new(Parts(Outward::new("0123456789")));
    assert!(Pin::new(&mut op).poll(&mut Context::from_waker(&waker)).is_pending());
    // The third part is cut short; before, one comes to nothing.
    for (asked, res) in [(4, 4), (4, 4), (2, -libc::EAGAIN), (2, 1), (1, 1)] {
        assert!(!woken.0.load(Ordering::Relaxed) && ring.in_flight() == 1);
        assert_eq!(answer(&ring, &kernel, res), Some(asked));
    }
    assert_eq!((answer(&ring, &kernel, 0), ring.in_flight()), (None, 0));
    assert_eq!(Pin::new(&mut op).poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(10)));
}

#[test]
fn a_message_in_parts_that_was_cancelled_or_meets_the_end_of_its_ring_goes_on_no_further() {
    let ends: [fn(&Ring, &Op<Parts>); 2] = [|_, op| op.cancel(), |ring, _| ring.close(&mut Vec::new())];
    for end in ends {
        // The part in flight is out, or came to nothing.
        for (res, sum) in [(4, 8), (-libc::EINTR, 4)] {
            let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
            let _entered = enter(Rc::clone(&ring));
            let mut cx = Context::from_waker(Waker::noop());
            let mut op = Op::new(Parts(Outward::new("0123456789")));
            assert!(Pin::new(&mut op).poll(&mut cx).is_pending());
            assert_eq!(answer(&ring, &kernel, 4), Some(4));
            ring.enter(Wait::No);
            let sent = kernel.taken.take().into_iter().find(|sqe| sqe.opcode == opcode::SEND).unwrap();
            end(&ring, &op);
            kernel.completed.borrow_mut().push(Cqe { user_data: sent.user_data, res, flags: 0 });
            ring.reap(&mut Vec::new());
            assert_eq!((answer(&ring, &kernel, 0), ring.in_flight()), (None, 0));
            assert_eq!(Pin::new(&mut op).poll(&mut cx), Poll::Ready(Ok(sum)));
        }
    }
}

#[test]
fn an_op_on_the_backlog_whose_future_another_one_has_ends_with_it_when_the_ring_closes() {
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    kernel.is_full.set(true);
    let mut cx = Context::from_waker(Waker::noop());
    let has: Arc<Mutex<Option<Pin<Box<dyn Future<Output = i32> + Send>>>>> = Arc::default();
    let buffer = Arc::clone(&has);
    let mut first = Op::new(Described(move |_: &Ring| drop(buffer.lock()))).detach();
    assert!(Pin::new(&mut first).poll(&mut cx).is_pending());
    let memory = Arc::new(());
    let buffer = Arc::clone(&memory);
    let mut second = Box::pin(Op::new(Described(move |_: &Ring| assert!(Arc::strong_count(&buffer) > 0))));
    assert!(second.as_mut().poll(&mut cx).is_pending());
    *has.lock().unwrap() = Some(second);
    drop((first, has));
    assert_eq!(ring.in_flight(), 2);
    ring.close(&mut Vec::new());
    assert!(ring.drain(Duration::ZERO, &mut Vec::new()));
    assert_eq!(Arc::strong_count(&memory), 1, "neither is left");
}

#[test]
fn what_an_enter_does_not_take_stays_queued_and_goes_out_with_the_next() {
    for errno in [libc::EINTR, libc::EBUSY, libc::EAGAIN, libc::ENOMEM] {
        let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
        let _entered = enter(Rc::clone(&ring));
        kernel.answers.borrow_mut().extend([Err(errno), Ok(1)]);
        let mut cx = Context::from_waker(Waker::noop());
        let mut op = Op::new(Described(|_: &Ring| ()));
        assert!(Pin::new(&mut op).poll(&mut cx).is_pending());
        ring.enter(Wait::Until(None));
        assert_eq!((kernel.taken.borrow().len(), ring.counters().enter_retries.get()), (0, 1));
        assert!(ring.wants_enter() && ring.in_flight() == 1);
        // The op, and then the doorbell's poll.
        ring.enter(Wait::No);
        assert!(ring.wants_enter());
        ring.enter(Wait::No);
        assert!(!ring.wants_enter() && ring.bell_is_armed());
        let taken = kernel.taken.take();
        assert_eq!(taken.iter().map(|sqe| sqe.opcode).collect::<Vec<_>>(), [opcode::NOP, opcode::POLL_ADD]);
        assert_eq!((ring.counters().sqes.get(), ring.counters().enter_retries.get()), (2, 1));
        kernel.completed.borrow_mut().push(Cqe { user_data: taken[0].user_data, res: 0, flags: 0 });
        ring.reap(&mut Vec::new());
        assert_eq!(Pin::new(&mut op).poll(&mut cx), Poll::Ready(0));
    }
}

/// A multishot that notes how often the process had forked before each completion, and enters if it is told
/// to.
struct Dating {
    notes: Arc<Mutex<Vec<u32>>>,
    enters: Arc<AtomicBool>,
}

impl Handler for Dating {
    const OPCODE: u8 = opcode::NOP;

    fn describe(&self, _ring: &Ring) -> Sqe {
        Sqe::new(Self::OPCODE, -1)
    }

    fn complete(&self, _cqe: Cqe, ring: &Ring, _wakers: &mut Vec<Waker>) {
        self.notes.lock().unwrap().push(ring.forks());
        if self.enters.load(Ordering::Relaxed) {
            ring.enter(Wait::No);
        }
    }
}

#[test]
fn a_completion_is_no_younger_than_the_first_enter_that_may_have_brought_it() {
    fork::mark().unwrap();
    let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
    let _entered = enter(Rc::clone(&ring));
    let (notes, enters) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let dating = Dating { notes: Arc::clone(&notes), enters: Arc::clone(&enters) };
    let _armed = multi::arm(dating).unwrap().unwrap();
    let user_data = kernel.taken.borrow()[0].user_data;
    let more = Cqe { user_data, res: 0, flags: CQE_MORE };
    // Other tests fork as well: what is compared is what was so before and after.
    let forks = || {
        assert!(fork::in_a_child(|| true));
        fork::count()
    };
    // It came with the first of two enters, and the process forked between them.
    ring.enter(Wait::No);
    let before_second = forks();
    ring.enter(Wait::No);
    kernel.completed.borrow_mut().push(more);
    ring.reap(&mut Vec::new());
    assert!(notes.lock().unwrap().pop().unwrap() < before_second);
    // Of two that came with one enter the first enters again.
    ring.enter(Wait::No);
    let before_reap = forks();
    enters.store(true, Ordering::Relaxed);
    kernel.completed.borrow_mut().extend([more, more]);
    ring.reap(&mut Vec::new());
    assert!(notes.lock().unwrap().drain(..).all(|forks| forks < before_reap));
    // What that enter brought is of its time.
    kernel.completed.borrow_mut().push(more);
    ring.reap(&mut Vec::new());
    assert!(notes.lock().unwrap().pop().unwrap() >= before_reap);
    // There was no room for what came with an enter, and a later one has brought it.
    enters.store(false, Ordering::Relaxed);
    ring.reap(&mut Vec::new());
    ring.enter(Wait::No);
    kernel.keeps_some.set(true);
    ring.reap(&mut Vec::new());
    let before_later = forks();
    ring.enter(Wait::No);
    kernel.keeps_some.set(false);
    kernel.completed.borrow_mut().push(more);
    ring.reap(&mut Vec::new());
    assert!(notes.lock().unwrap().pop().unwrap() < before_later);
    ring.enter(Wait::No);
    kernel.completed.borrow_mut().push(more);
    ring.reap(&mut Vec::new());
    assert!(notes.lock().unwrap().pop().unwrap() >= before_later);
}

#[test]
fn a_completion_that_the_kernel_has_lost_ends_the_process() {
    const CHILD: &str = "RINGWORK_TEST_LOST";
    if std::env::var_os(CHILD).is_some() {
        let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
        ring.reap(&mut Vec::new());
        kernel.lost.set(1);
        ring.reap(&mut Vec::new());
        return;
    }
    let test = "ring::tests::a_completion_that_the_kernel_has_lost_ends_the_process";
    let mut program = Command::new(std::env::current_exe().unwrap());
    let ended = program.args([test, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{said}");
    assert!(said.contains("lost a completion"), "{said}");
}
