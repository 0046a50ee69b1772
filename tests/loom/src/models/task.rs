//! Models of the task room (`src/task`): real cells, real wakers, a scheduler of a few lines.
//!
//! What is owned by a future or its output is a loom `Arc`, and so is what the scheduler in the cell holds: a
//! future dropped twice or never, an output left over and a cell that is not freed show as a broken or leaked
//! `Arc`. Each model lets the core run while the others are at it, then waits for them and runs what is
//! queued: a task that is then not over has lost a wake.

use super::explore;
use crate::task::{self, Header, JoinError, JoinHandle, Notified, OwnedTasks, Request, Schedule, TaskRef};
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

std::thread_local! {
    // All threads of a model are one thread of the system.
    static LOCAL: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs a model with local tasks, at home on the model's first thread.
pub(super) fn as_local(model: fn()) {
    LOCAL.set(true);
    model();
    LOCAL.set(false);
}

/// A core of few words: a queue, what others want of its local tasks until it closes, and the list of its
/// tasks.
pub(super) struct Bench {
    queue: Mutex<VecDeque<Notified>>,
    requests: Mutex<Option<Vec<Request>>>,
    pub(super) owned: OwnedTasks,
    scheduled: AtomicUsize,
}

#[derive(Clone)]
pub(super) struct Core(pub(super) Arc<Bench>);

impl Schedule for Core {
    fn schedule(&self, task: Notified) {
        self.0.queue.lock().unwrap().push_back(task);
        // As a real scheduler does (it may have to ring): uses `self` while the task may be ending elsewhere.
        self.0.scheduled.fetch_add(1, Ordering::Relaxed);
    }

    fn request(&self, request: Request) {
        let mut requests = self.0.requests.lock().unwrap();
        match &mut *requests {
            Some(open) => open.push(request),
            // As the inbox of a core that is gone.
            None => {
                drop(requests);
                drop(request.into_message());
            }
        }
    }

    fn release(&self, task: &Header) -> Option<TaskRef> {
        self.0.owned.remove(task)
    }
}

impl Core {
    pub(super) fn new() -> Self {
        let (queue, requests) = (Mutex::new(VecDeque::new()), Mutex::new(Some(Vec::new())));
        Core(Arc::new(Bench { queue, requests, owned: OwnedTasks::new(), scheduled: AtomicUsize::new(0) }))
    }

    pub(super) fn spawn<F: Future<Output: Send> + Send + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let (task, notified, handle) = if LOCAL.get() {
            task::new_local(future, self.clone(), Location::caller())
        } else {
            task::new(future, self.clone(), Location::caller())
        };
        assert!(self.0.owned.insert(task));
        self.0.queue.lock().unwrap().push_back(notified);
        handle
    }

    fn next(&self) -> Option<Notified> {
        let requests = self.0.requests.lock().unwrap().as_mut().map(std::mem::take);
        for request in requests.unwrap_or_default() {
            let woken = Notified::from_message(request.into_message()).expect("it carries a task");
            self.0.queue.lock().unwrap().extend(woken);
        }
        self.0.queue.lock().unwrap().pop_front()
    }

    /// A task that was made elsewhere has arrived.
    pub(super) fn adopt(&self, unborn: task::Unborn) {
        let (task, notified) = unborn.born();
        assert!(self.0.owned.insert(task));
        self.0.queue.lock().unwrap().push_back(notified);
    }

    /// The end of a core, as in `sched::shutdown`: all tasks end, the thread retires, the door closes.
    pub(super) fn close(&self) {
        self.0.owned.close_and_shutdown();
        self.0.queue.lock().unwrap().clear();
        task::Mark::retire();
        let left = self.0.requests.lock().unwrap().take();
        left.into_iter().flatten().for_each(|request| drop(request.into_message()));
    }

    /// Runs what is queued, once.
    pub(super) fn turn(&self) -> bool {
        self.next().map(Notified::run).is_some()
    }

    /// Runs what is queued and what becomes queued meanwhile.
    pub(super) fn run(&self) {
        while self.turn() {}
    }

    /// Waits for the others, then runs what they have left.
    pub(super) fn settle<const N: usize>(&self, others: [thread::JoinHandle<()>; N]) {
        for other in others {
            other.join().unwrap();
        }
        self.run();
    }
}

/// The waker of the task's last poll, for others to use.
#[derive(Clone)]
pub(super) struct Shelf(std::sync::Arc<std::sync::Mutex<Option<Waker>>>);

impl Shelf {
    pub(super) fn new() -> Self {
        Shelf(std::sync::Arc::default())
    }

    pub(super) fn take(&self) -> Waker {
        self.0.lock().unwrap().take().expect("the task has been polled")
    }
}

/// Pending, with the waker on the shelf, until all `flags` are up; then gives `output`.
pub(super) fn until<T: Send + Unpin>(
    flags: Vec<Arc<AtomicBool>>,
    shelf: &Shelf,
    output: T,
) -> impl Future<Output = T> + Send + use<T> {
    let shelf = shelf.clone();
    let mut output = Some(output);
    poll_fn(move |cx| {
        let waker = cx.waker().clone();
        let before = shelf.0.lock().unwrap().replace(waker);
        drop(before);
        // Relaxed: what makes the flag visible is the wake alone.
        if flags.iter().all(|flag| flag.load(Ordering::Relaxed)) {
            Poll::Ready(output.take().expect("polled after its end"))
        } else {
            Poll::Pending
        }
    })
}

pub(super) fn flag() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

/// On another thread: raises the flag, then wakes, by value or by reference.
pub(super) fn raise(flag: &Arc<AtomicBool>, waker: Waker, by_value: bool) -> thread::JoinHandle<()> {
    let flag = Arc::clone(flag);
    thread::spawn(move || {
        flag.store(true, Ordering::Relaxed);
        if by_value {
            waker.wake();
        } else {
            waker.wake_by_ref();
        }
    })
}

pub(super) struct Bell(Notify);

impl Bell {
    pub(super) fn new() -> Self {
        Bell(Notify::new())
    }
}

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

/// Waits for a task; with `changing`, each poll has a waker of its own until one has to be waited for.
pub(super) fn join<T>(mut handle: JoinHandle<T>, changing: bool) -> Result<T, JoinError> {
    if changing {
        let passing = Waker::from(std::sync::Arc::new(Bell::new()));
        if let Poll::Ready(output) = Pin::new(&mut handle).poll(&mut Context::from_waker(&passing)) {
            return output;
        }
    }
    let bell = std::sync::Arc::new(Bell::new());
    let waker = Waker::from(std::sync::Arc::clone(&bell));
    loop {
        match Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => bell.0.wait(),
        }
    }
}

/// The output of a task that is over.
pub(super) fn output<T>(mut handle: JoinHandle<T>) -> Result<T, JoinError> {
    match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the task is not over"),
    }
}

/// A task that sleeps until `flags` are up, after its first poll; its output is a loom `Arc`.
pub(super) fn sleeping(flags: &[&Arc<AtomicBool>]) -> (Core, Shelf, JoinHandle<Arc<u32>>) {
    let (core, shelf) = (Core::new(), Shelf::new());
    let flags = flags.iter().map(|&flag| flag.clone()).collect();
    let handle = core.spawn(until(flags, &shelf, Arc::new(7)));
    core.run();
    (core, shelf, handle)
}

/// A sleeping task is woken while its core polls it for another reason.
pub fn a_wake_beside_a_poll_is_not_lost() {
    for by_value in [true, false] {
        explore(3, move || {
            let up = flag();
            let (core, shelf, handle) = sleeping(&[&up]);
            let waker = shelf.take();
            waker.wake_by_ref();
            let waking = raise(&up, waker, by_value);
            assert!(core.turn());
            core.settle([waking]);
            assert_eq!(*output(handle).unwrap(), 7);
        });
    }
}

/// Two cores wake one task, each for a reason of its own.
pub fn two_remote_wakers_make_the_task_run_for_both() {
    explore(2, || two_wakers(false));
}

fn two_wakers(scheduled: bool) {
    let (one, two) = (flag(), flag());
    let (core, shelf, handle) = sleeping(&[&one, &two]);
    let waker = shelf.take();
    if scheduled {
        waker.wake_by_ref();
    }
    let first = raise(&one, waker.clone(), false);
    let second = raise(&two, waker, true);
    core.turn();
    core.settle([first, second]);
    assert_eq!(*output(handle).unwrap(), 7);
}

/// A wake meets the task's last poll and its end.
pub fn a_wake_beside_the_end_is_harmless() {
    for by_value in [true, false] {
        explore(3, move || {
            let up = flag();
            let (core, shelf, handle) = sleeping(&[&up]);
            let waker = shelf.take();
            up.store(true, Ordering::Relaxed);
            waker.wake_by_ref();
            let waking = raise(&up, waker, by_value);
            assert!(core.turn());
            assert!(handle.is_finished());
            waking.join().unwrap();
            assert!(!core.turn(), "a task that is over is not scheduled");
            assert_eq!(*output(handle).unwrap(), 7);
        });
    }
}

/// Handle, runner and a waker elsewhere give up their references at once.
pub fn the_last_waker_frees_an_ended_task() {
    explore(2, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        up.store(true, Ordering::Relaxed);
        let waker = shelf.take();
        waker.wake_by_ref();
        let dropping = thread::spawn(move || drop(waker));
        let leaving = thread::spawn(move || drop(handle));
        assert!(core.turn());
        drop(shelf);
        core.settle([dropping, leaving]);
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}

/// An abort from elsewhere meets a task that is about to run to its end, or to sleep.
pub fn an_abort_beside_a_run_ends_the_task_once() {
    for ready in [true, false] {
        explore(3, move || {
            let (core, shelf, up) = (Core::new(), Shelf::new(), flag());
            up.store(ready, Ordering::Relaxed);
            let handle = core.spawn(until(vec![up], &shelf, Arc::new(7)));
            let abort = handle.abort_handle();
            let aborting = thread::spawn(move || abort.abort());
            core.turn();
            core.settle([aborting]);
            match output(handle) {
                Ok(value) => assert!(ready && *value == 7),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
            drop(shelf);
        });
    }
}

/// Abort and wake come to a sleeping task at once.
pub fn an_abort_beside_a_wake_ends_the_task_once() {
    explore(2, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        let abort = handle.abort_handle();
        let aborting = thread::spawn(move || abort.abort());
        let waking = raise(&up, shelf.take(), true);
        core.turn();
        core.settle([aborting, waking]);
        match output(handle) {
            Ok(value) => assert_eq!(*value, 7),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    });
}

/// A joiner on another core waits while the task ends.
pub fn a_joiner_on_another_core_gets_the_output() {
    explore(4, || {
        let core = Core::new();
        let value = Arc::new(7);
        let handle = core.spawn(async move { value });
        let joiner = thread::spawn(move || join(handle, false));
        core.run();
        assert_eq!(*joiner.join().unwrap().unwrap(), 7);
        core.run();
        assert_eq!(core.0.owned.len(), 0);
    });
}

/// As above, with a second waker that takes the place of the first.
pub fn a_joiner_that_changes_its_waker_gets_the_output() {
    explore(3, || {
        let core = Core::new();
        let value = Arc::new(7);
        let handle = core.spawn(async move { value });
        let joiner = thread::spawn(move || join(handle, true));
        core.run();
        assert_eq!(*joiner.join().unwrap().unwrap(), 7);
        core.run();
    });
}

/// The handle goes while the task ends: one of the two drops the output.
pub fn a_handle_dropped_beside_the_end_drops_the_output_once() {
    explore(4, || {
        let core = Core::new();
        let value = Arc::new(7);
        let kept = Arc::clone(&value);
        let handle = core.spawn(async move { value });
        let leaving = thread::spawn(move || drop(handle));
        core.run();
        core.settle([leaving]);
        assert_eq!((Arc::strong_count(&kept), Arc::strong_count(&core.0)), (1, 1));
    });
}

/// As above, with a waker stored: whoever has it, it is dropped once.
pub fn a_joiner_that_goes_takes_its_waker_along() {
    explore(4, || {
        let core = Core::new();
        let mut handle = core.spawn(async {});
        let bell = std::sync::Arc::new(Bell::new());
        let theirs = std::sync::Arc::clone(&bell);
        let leaving = thread::spawn(move || {
            let waker = Waker::from(theirs);
            let _ = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        });
        core.run();
        core.settle([leaving]);
        assert_eq!((std::sync::Arc::strong_count(&bell), Arc::strong_count(&core.0)), (1, 1));
    });
}

/// The owner shuts down while a thief runs the task.
pub fn a_shutdown_beside_a_run_drops_the_future_once() {
    explore(3, || {
        let (core, shelf, up) = (Core::new(), Shelf::new(), flag());
        let value = Arc::new(7);
        let handle = core.spawn(until(vec![up], &shelf, value));
        let stolen = core.next().unwrap();
        let thief = thread::spawn(move || stolen.run());
        core.0.owned.close_and_shutdown();
        thief.join().unwrap();
        drop(shelf);
        assert!(output(handle).unwrap_err().is_cancelled());
        assert!(!core.turn());
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}

/// The owner shuts down while the task is woken from elsewhere.
pub fn a_shutdown_beside_a_wake_drops_the_future_once() {
    explore(3, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        let waking = raise(&up, shelf.take(), true);
        core.0.owned.close_and_shutdown();
        waking.join().unwrap();
        assert!(output(handle).unwrap_err().is_cancelled());
        core.run();
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}

/// Nobody but a waker knows the task: the wake's own reference carries it to its end on another core.
pub fn a_task_woken_by_its_last_reference_ends_well() {
    explore(3, || {
        let (core, shelf, up) = (Core::new(), Shelf::new(), flag());
        let value = Arc::new(7);
        let kept = Arc::clone(&value);
        let future = until(vec![Arc::clone(&up)], &shelf, value);
        let (notified, handle) = task::new_unowned(future, core.clone(), Location::caller());
        drop(handle);
        notified.run();
        let waking = raise(&up, shelf.take(), true);
        core.turn();
        drop(shelf.0.lock().unwrap().take());
        core.settle([waking]);
        drop(shelf.0.lock().unwrap().take());
        assert_eq!((Arc::strong_count(&kept), Arc::strong_count(&core.0)), (1, 1));
    });
}

/// Two wakers, and a poll that neither has caused.
pub fn two_remote_wakers_beside_a_run_deep() {
    explore(3, || two_wakers(true));
}

/// Everything a spawner and a waker can do, while the task runs.
pub fn abort_wake_and_join_beside_a_run_deep() {
    explore(2, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        let abort = handle.abort_handle();
        let aborting = thread::spawn(move || abort.abort());
        let waking = raise(&up, shelf.take(), true);
        let joiner = thread::spawn(move || join(handle, true));
        core.turn();
        core.settle([aborting, waking]);
        match joiner.join().unwrap() {
            Ok(value) => assert_eq!(*value, 7),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
        core.run();
    });
}

/// The owner shuts down while a thief runs the task, a waker wakes it and its handle goes.
pub fn shutdown_wake_and_handle_beside_a_run_deep() {
    explore(2, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        let waker = shelf.take();
        waker.wake_by_ref();
        let stolen = core.next().unwrap();
        let thief = thread::spawn(move || stolen.run());
        let waking = raise(&up, waker, true);
        let leaving = thread::spawn(move || drop(handle));
        core.0.owned.close_and_shutdown();
        for thread in [thief, waking, leaving] {
            thread.join().unwrap();
        }
        drop(shelf);
        core.run();
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}
