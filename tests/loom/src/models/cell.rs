//! Models of a cell's life (`src/ring/cell.rs`, `op.rs`, `holds.rs`): the kernel and a future share one hold.
//!
//! The cells, futures and messages are the real ones; the ring is a list (`ring/bench.rs`). A cell that is
//! freed twice, never, or while somebody looks at it, is told by its memory (`ring/memory.rs`).

use super::explore;
use crate::base::reach::{self, Cores};
use crate::base::sync::UnsafeCell;
use crate::ring::holds::Holds;
use crate::ring::memory;
use crate::ring::op::{Op, Operation, submit_orphan};
use crate::ring::{Ring, enter};
use crate::sys::sqe::{Cqe, RES_GONE, Sqe};
use loom::sync::Notify;
use loom::thread;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// What became of operations. The model's log, not part of it.
#[derive(Default)]
struct Log {
    finished: AtomicUsize,
    orphaned: AtomicUsize,
    dropped: AtomicUsize,
}

impl Log {
    fn ends(&self) -> (usize, usize) {
        (self.finished.load(Ordering::SeqCst), self.orphaned.load(Ordering::SeqCst))
    }
}

struct Probe(Arc<Log>);

impl Operation for Probe {
    const OPCODE: u8 = 0;
    type Output = i32;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        Sqe::default()
    }

    fn finish(self, cqe: Cqe) -> i32 {
        self.0.finished.fetch_add(1, Ordering::SeqCst);
        cqe.res
    }

    fn orphaned(self, _cqe: Cqe) {
        self.0.orphaned.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Wakes a thread that waits; a lost wake is a deadlock, which loom reports.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn poll(op: &mut Op<Probe>, waker: &Waker) -> Poll<i32> {
    Pin::new(op).poll(&mut Context::from_waker(waker))
}

fn wait(op: &mut Op<Probe>) -> i32 {
    let bell = Arc::new(Bell(Notify::new()));
    let waker = Waker::from(Arc::clone(&bell));
    loop {
        match poll(op, &waker) {
            Poll::Ready(res) => return res,
            Poll::Pending => bell.0.wait(),
        }
    }
}

/// An op that this core has submitted.
fn submitted(log: &Arc<Log>) -> Op<Probe> {
    let mut op = Op::new(Probe(Arc::clone(log)));
    assert!(poll(&mut op, Waker::noop()).is_pending());
    op
}

/// Runs one model with a log; afterwards all operations are dropped and all cells freed, each once.
fn lives(preemptions: usize, ops: usize, model: impl Fn(&Arc<Log>) + Send + Sync + 'static) {
    explore(preemptions, move || {
        let log = Arc::new(Log::default());
        model(&log);
        assert_eq!(log.dropped.load(Ordering::SeqCst), ops);
        memory::check_and_clear();
    });
}

/// Of several that let go at once one is the last, and what the others have done comes before.
pub fn the_last_hold_has_the_cell_to_itself() {
    explore(4, || {
        let cell = loom::sync::Arc::new((Holds::new(1), UnsafeCell::new(0)));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let cell = loom::sync::Arc::clone(&cell);
                cell.0.add();
                thread::spawn(move || let_go(&cell))
            })
            .collect();
        let freed = let_go(&cell) + others.into_iter().map(|other| other.join().unwrap()).sum::<usize>();
        assert_eq!(freed, 1);
    });
}

fn let_go((holds, content): &(Holds, UnsafeCell<u32>)) -> usize {
    // SAFETY: loom checks it.
    content.with(|content| unsafe { *content });
    let is_last = holds.give_up();
    if is_last {
        // SAFETY: as above.
        content.with_mut(|content| unsafe { *content = 1 });
    }
    is_last.into()
}

/// The final completion comes while the future is polled on another core: it gets the result, and the cell is
/// its own from the moment it has.
pub fn a_result_beside_a_poll_elsewhere() {
    lives(4, 1, |log| {
        let ring = enter();
        let mut op = submitted(log);
        let waiter = thread::spawn(move || wait(&mut op));
        ring.reap(7);
        assert_eq!(waiter.join().unwrap(), 7);
        assert_eq!(log.ends(), (1, 0));
    });
}

/// … while it is dropped on another core: one of the two disposes of the result, and the cancel, which has a
/// hold of its own, finds a cell.
pub fn a_result_beside_a_drop_elsewhere() {
    lives(4, 1, |log| {
        let ring = enter();
        let op = submitted(log);
        let dropper = thread::spawn(move || drop(op));
        ring.take_inbox();
        ring.reap(7);
        dropper.join().unwrap();
        ring.take_inbox();
        ring.reap(7);
        assert_eq!(log.ends(), (0, 1));
    });
}

/// … while somebody else has noted the cell and lets go of it: the last of three frees it.
pub fn a_noted_orphan_beside_its_completion() {
    lives(3, 1, |log| {
        let ring = enter();
        let op = submitted(log).detach();
        let dropper = thread::spawn(move || {
            let note = op.cell().expect("in flight").clone();
            drop(op);
            note.cancel();
        });
        ring.reap(7);
        ring.take_inbox();
        dropper.join().unwrap();
        ring.take_inbox();
        ring.reap(7);
        assert_eq!(log.ends(), (0, 1));
    });
}

/// A future that is polled with another waker and dropped while the result comes leaves neither behind.
pub fn a_future_that_moves_and_goes_takes_its_waker_along() {
    lives(3, 1, |log| {
        let ring = enter();
        let mut op = submitted(log);
        let bell = Arc::new(Bell(Notify::new()));
        let waker = Waker::from(Arc::clone(&bell));
        let mover = thread::spawn(move || {
            let ready = poll(&mut op, &waker).is_ready();
            drop((op, waker));
            ready
        });
        ring.reap(7);
        let ready = mover.join().unwrap();
        ring.take_inbox();
        ring.reap(7);
        assert_eq!(log.ends(), if ready { (1, 0) } else { (0, 1) });
        assert_eq!(Arc::strong_count(&bell), 1, "the waker is dropped");
    });
}

/// At home nothing is concurrent: a drop in flight cancels, and the completion that follows is the orphan's.
pub fn an_op_dropped_at_home_ends_with_its_completion() {
    lives(2, 2, |log| {
        let ring = enter();
        let (dropped, mut kept) = (submitted(log), submitted(log));
        drop(dropped);
        assert_eq!(ring.targets.borrow().len(), 1);
        ring.reap(7);
        assert_eq!(poll(&mut kept, Waker::noop()), Poll::Ready(7));
        assert_eq!(log.ends(), (1, 1));
    });
}

/// An op that nobody waits for ends as an orphan, on its core or as a message that finds its home closed.
pub fn an_op_that_nobody_waits_for_ends_once() {
    lives(3, 2, |log| {
        let ring = enter();
        submit_orphan(Probe(Arc::clone(log)));
        let cores = Arc::new(Cores::new(Box::new([ring.inbox()])));
        let log = Arc::clone(log);
        let elsewhere = thread::spawn(move || {
            let _entered = reach::enter(cores);
            submit_orphan(Probe(log));
        });
        ring.reap(7);
        ring.take_inbox();
        ring.reap(7);
        ring.close(RES_GONE);
        elsewhere.join().unwrap();
    });
}

/// An op begun where there is no core reaches its home or finds it closed, and ends either way.
pub fn an_op_from_elsewhere_beside_a_home_that_closes() {
    lives(3, 1, |log| {
        let ring = enter();
        let cores = Arc::new(Cores::new(Box::new([ring.inbox()])));
        let log = Arc::clone(log);
        let waiter = thread::spawn(move || {
            let _entered = reach::enter(cores);
            wait(&mut Op::new(Probe(log)))
        });
        ring.take_inbox();
        ring.reap(7);
        ring.close(RES_GONE);
        assert!([7, RES_GONE].contains(&waiter.join().unwrap()));
    });
}

/// … and so does one that is dropped at once, with its cancel on the same way.
pub fn an_op_dropped_on_its_way_home() {
    lives(3, 1, |log| {
        let ring = enter();
        let cores = Arc::new(Cores::new(Box::new([ring.inbox()])));
        let begun = Arc::clone(log);
        let dropper = thread::spawn(move || {
            let _entered = reach::enter(cores);
            let mut op = Op::new(Probe(begun));
            if poll(&mut op, Waker::noop()).is_pending() {
                drop(op);
            }
        });
        ring.take_inbox();
        ring.close(7);
        dropper.join().unwrap();
        assert!(log.ends() == (0, 1) || log.ends() == (1, 0));
    });
}
