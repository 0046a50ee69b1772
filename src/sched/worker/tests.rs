//! What a core that has nothing to run asks of its ring, turn by turn; and one that does not start.
#![forbid(unsafe_code)]

use super::*;
use crate::ring::op::{Op, Operation};
use crate::ring::setup::Sizes;
use crate::ring::stub;
use crate::ring::uring::Uring;
use crate::sched::idle::Appetite;
use crate::sched::queue::Owner;
use crate::sched::shared::{Config, CoreShared, Shared};
use crate::sched::single;
use crate::sched::watchdog::{self, Watchdog};
use crate::sys::eventfd::EventFd;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use crate::sys::topology::Distance;
use crate::task::{Attributes, Builder};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

const HUNGRY_AT_ONCE: Appetite = Appetite { threshold: 0, surplus_young: 0, surplus_old: 0 };

/// The loop of the only core there is.
fn worker(shared: Arc<Shared>, queue: Owner<Notified>, ring: Rc<Ring>) -> Worker {
    let clock = time::enter(time::Driver::new(Instant::now(), Arc::clone(&shared.cores[0].inbox)));
    let core = Rc::new(Core::new(shared, 0, queue));
    Worker::new(core, ring, clock, Victims::new(0, &[Distance::Far]))
}

#[test]
fn a_kernel_that_claims_work_and_has_none_does_not_keep_a_core_awake() {
    let quiet = watchdog::Config { what: Watchdog::Off, after: Duration::MAX };
    let (shared, queue) = single::core(Some(HUNGRY_AT_ONCE), quiet);
    let (ring, kernel) = stub::ring(Arc::clone(&shared.cores[0].inbox));
    kernel.claims_work.set(true);
    let mut worker = worker(shared, queue, ring);
    for _ in 0..3 {
        // It looks once before it searches, and sleeps then.
        worker.turn(Instant::now());
        worker.turn(Instant::now());
        let enters = kernel.enters.take();
        assert!(matches!(enters[..], [.., Wait::No, Wait::Until(_)]), "{enters:?}");
    }
}

/// An op that the kernel completes while it takes it.
struct Immediate;

impl Operation for Immediate {
    const OPCODE: u8 = opcode::NOP;
    type Output = i32;

    fn describe(&mut self, _: &Ring) -> Sqe {
        Sqe::new(Self::OPCODE, -1)
    }

    fn finish(self, cqe: Cqe) -> i32 {
        cqe.res
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn completions_that_a_flush_has_brought_are_seen_before_a_core_searches_or_looks_or_sleeps() {
    for appetite in [Some(HUNGRY_AT_ONCE), None] {
        let queue = Owner::new();
        let block = CoreShared::new(None, queue.stealer(), || ());
        // Two CPUs, so that a core may look for calls, and long enough to be seen.
        let window = Duration::from_millis(1);
        let config = Config { appetite, cpus: 2, spin_window: window, ..single::config() };
        let shared = Shared::new(Box::new([block]), config);
        let counters = Arc::clone(&shared.cores[0].counters);
        let inbox = Arc::clone(&shared.cores[0].inbox);
        let bell = Arc::new(EventFd::new().unwrap());
        let uring = Box::new(Uring::new(Sizes::MIN).unwrap());
        let ring = Rc::new(Ring::new(uring, inbox, bell, Arc::clone(&counters)));
        let _ring = crate::ring::enter(Rc::clone(&ring));
        let mut worker = worker(shared, queue, Rc::clone(&ring));
        worker.spin.waited(Some(Duration::ZERO));
        // The doorbell is watched.
        ring.enter(Wait::No);
        ring.reap(&mut Vec::new());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut op = Op::new(Immediate);
        assert!(Pin::new(&mut op).poll(&mut Context::from_waker(&waker)).is_pending());
        ring.flush();
        assert!(!ring.wants_enter(), "an enter would bring nothing");
        let enters = counters.enters.get();
        worker.turn(Instant::now());
        assert!(woken.0.load(Ordering::Relaxed));
        let ways = [&counters.searches, &counters.spins, &counters.parks].map(|counter| counter.get());
        assert_eq!(ways, [0; 3], "searches, looks, sleeps");
        assert_eq!(counters.enters.get(), enters, "what is visible needs no system call");
        assert_eq!(Pin::new(&mut op).poll(&mut Context::from_waker(&waker)), Poll::Ready(0));
    }
}

/// A core whose turns end with the budget and not with time, its ring and its kernel.
fn worker_with(budget: usize, appetite: Option<Appetite>) -> (Worker, Rc<Ring>, Rc<stub::Kernel>) {
    let queue = Owner::new();
    let block = CoreShared::new(None, queue.stealer(), || ());
    let (quantum, submit_delay) = (Duration::MAX, Duration::MAX);
    let config = Config { appetite, poll_budget: budget, quantum, submit_delay, ..single::config() };
    let shared = Shared::new(Box::new([block]), config);
    let (ring, kernel) = stub::ring(Arc::clone(&shared.cores[0].inbox));
    (worker(shared, queue, Rc::clone(&ring)), ring, kernel)
}

/// Which tasks have had their polls: `f` for one in front, `b` for one in the background.
type Log = Rc<RefCell<String>>;

/// A local task that is always ready, in front or in the background.
fn endless(letter: char, log: &Log) {
    let log = Rc::clone(log);
    let future = poll_fn(move |cx| {
        log.borrow_mut().push(letter);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    drop(current::spawn_local_here(future, attributes(letter == 'b')).expect("this thread is a core"));
}

fn attributes(background: bool) -> Attributes {
    let builder = Builder::new();
    let builder = if background { builder.background() } else { builder };
    builder.attributes(Location::caller())
}

#[test]
fn a_background_poll_leaves_the_rest_of_the_turn_to_those_who_wait() {
    let (mut worker, ..) = worker_with(128, None);
    let log = Log::default();
    "ffffbb".chars().for_each(|letter| endless(letter, &log));
    worker.turn(Instant::now());
    let front = log.borrow().matches('f').count();
    assert_eq!(log.borrow().len(), 128, "the turn was shorter");
    assert!(log.borrow().contains('b') && front >= 64, "{log:?}");
    worker.abandon();
}

#[test]
fn however_long_a_turn_takes_between_two_background_polls_another_task_has_one() {
    for budget in [1, 2, 3, 128] {
        let (mut worker, ..) = worker_with(budget, None);
        let log = Log::default();
        "fbb".chars().for_each(|letter| endless(letter, &log));
        for _ in 0..10 {
            // The last one took an hour.
            worker.turn(Instant::now() + Duration::from_secs(3600));
        }
        let log = log.take();
        assert!(log.contains('b') && !log.contains("bb"), "{log}");
        worker.abandon();
    }
}

#[test]
fn background_tasks_alone_have_one_poll_a_turn() {
    let (mut worker, ..) = worker_with(128, None);
    let log = Log::default();
    "bb".chars().for_each(|letter| endless(letter, &log));
    (0..10).for_each(|_| worker.turn(Instant::now()));
    assert_eq!(log.take(), "b".repeat(10));
    worker.abandon();
}

#[test]
fn tasks_in_the_injector_are_not_held_up_by_a_background_task_that_owes_time() {
    let (mut worker, ..) = worker_with(128, Some(HUNGRY_AT_ONCE));
    let log = Log::default();
    endless('b', &log);
    worker.turn(Instant::now());
    worker.background.took(Duration::from_secs(3600), 0, Instant::now());
    put_into_the_injector(&worker);
    worker.turn(Instant::now());
    assert_eq!(log.take(), "b", "it was polled although another task waited");
    assert!(worker.core.has_send() && worker.core.shared.injector.is_empty());
    worker.turn(Instant::now());
    assert_eq!(log.take(), "b", "nobody waits any more");
    worker.abandon();
}

/// A task that ends at its first poll.
fn put_into_the_injector(worker: &Worker) {
    let shared = &worker.core.shared;
    drop(shared.spawn(async {}, attributes(false)));
    shared.injector.push(worker.core.next_send().expect("it is queued"));
}

#[test]
fn a_background_task_pays_for_what_the_kernel_does_while_it_is_handed_its_ops() {
    const MS: Duration = Duration::from_millis(1);
    let (mut worker, ring, kernel) = worker_with(128, None);
    let _ring = crate::ring::enter(Rc::clone(&ring));
    endless('f', &Log::default());
    let result = Rc::new(Cell::new(None));
    let told = Rc::clone(&result);
    let op = async move { told.set(Some(Op::new(Immediate).await)) };
    drop(current::spawn_local_here(op, attributes(true)).expect("this thread is a core"));
    kernel.answers.borrow_mut().push_back(Ok(1));
    kernel.enter_takes.set(MS);
    let before = Instant::now();
    worker.turn(before);
    assert_eq!(kernel.enters.borrow().first(), Some(&Wait::SubmitOnly));
    assert!(!worker.background.is_due(u64::MAX, before + 15 * MS), "the enter was another's time");
    let user_data = kernel.taken.borrow()[0].user_data;
    kernel.completed.borrow_mut().push(Cqe { user_data, res: 0, flags: 0 });
    worker.turn(Instant::now());
    worker.turn(Instant::now() + Duration::from_secs(3600));
    assert_eq!(result.get(), Some(0));
    worker.abandon();
}

/// Has a core asked, once what it was asked for led to nothing, and lets it find a task in the injector and
/// then no more. Whether it is asked as soon again as one that never was asked in vain.
fn is_asked_as_soon_again(surplus_old: u64) -> bool {
    let appetite = Appetite { surplus_old, ..HUNGRY_AT_ONCE };
    let (mut worker, ..) = worker_with(128, Some(appetite));
    let shared = Arc::clone(&worker.core.shared);
    let is_asked = || {
        shared.cores[0].idle.parks(1);
        shared.cores[0].idle.is_hungry(u64::MAX, 0, appetite)
    };
    shared.cores[0].idle.searched(false);
    assert!(!is_asked(), "it found nothing the last time");
    worker.searching = true;
    put_into_the_injector(&worker);
    worker.turn(Instant::now());
    assert!(worker.core.has_send());
    while worker.searching {
        worker.turn(Instant::now());
    }
    let is_asked = is_asked();
    worker.abandon();
    is_asked
}

#[test]
fn a_core_that_was_asked_and_finds_enough_in_the_injector_is_asked_as_soon_again() {
    assert!(is_asked_as_soon_again(0));
    assert!(!is_asked_as_soon_again(u64::MAX), "that was over sooner");
}

/// Abandons a core with an op in flight that ends only after several waits, in a runtime whose end was to be
/// over before. How many ops have been leaked.
fn leaks_of_a_late_core() -> usize {
    let quiet = watchdog::Config { what: Watchdog::Off, after: Duration::MAX };
    let (shared, queue) = single::core(None, quiet);
    shared.barriers.set_deadline(Instant::now());
    let (ring, kernel) = stub::ring(Arc::clone(&shared.cores[0].inbox));
    let _ring = crate::ring::enter(Rc::clone(&ring));
    let worker = worker(shared, queue, ring);
    let mut op = Op::new(Immediate);
    assert!(Pin::new(&mut op).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let user_data = kernel.taken.borrow()[0].user_data;
    kernel.completes_after.set(Some((3, Cqe { user_data, res: -libc::ECANCELED, flags: 0 })));
    worker.abandon().leaked_ops
}

#[test]
fn a_core_that_abandons_late_waits_for_its_ops_all_the_same() {
    // Its time is measured by the clock, and another program may have this machine meanwhile.
    assert!((0..10).any(|_| leaks_of_a_late_core() == 0));
}
