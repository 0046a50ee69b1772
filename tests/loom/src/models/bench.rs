//! What the models of tasks share: a core of a few lines, futures that wait, threads that wake and join.
//!
//! Owns no model. Each model lets the core run while the others are at it, then waits for them and runs
//! what is queued: a task that is then not over has lost a wake.

use crate::base::inbox::Inbox;
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
    /// A real inbox instead, for models in which it is closed: the lock above would order more than it does.
    inbox: Option<Inbox>,
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
        if let Some(inbox) = &self.0.inbox {
            return drop(inbox.push_pinned(request.into_message()).err());
        }
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
        Self::over(None)
    }

    /// With a real inbox.
    pub(super) fn behind_a_door() -> Self {
        Self::over(Some(Inbox::new(Box::new(|| ()))))
    }

    fn over(inbox: Option<Inbox>) -> Self {
        let (queue, requests) = (Mutex::new(VecDeque::new()), Mutex::new(Some(Vec::new())));
        Core(Arc::new(Bench {
            queue,
            requests,
            inbox,
            owned: OwnedTasks::new(),
            scheduled: AtomicUsize::new(0),
        }))
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

    pub(super) fn next(&self) -> Option<Notified> {
        for request in self.0.inbox.iter().flat_map(Inbox::take_pinned) {
            let woken = Notified::from_message(request).expect("it carries a task");
            self.0.queue.lock().unwrap().extend(woken);
        }
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
        if let Some(inbox) = &self.0.inbox {
            drop(inbox.close());
        }
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
pub(super) struct Shelf(pub(super) std::sync::Arc<std::sync::Mutex<Option<Waker>>>);

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
    sleeping_at(Core::new(), flags)
}

/// The same at a core with a real inbox.
pub(super) fn sleeping_behind_a_door(flags: &[&Arc<AtomicBool>]) -> (Core, Shelf, JoinHandle<Arc<u32>>) {
    sleeping_at(Core::behind_a_door(), flags)
}

fn sleeping_at(core: Core, flags: &[&Arc<AtomicBool>]) -> (Core, Shelf, JoinHandle<Arc<u32>>) {
    let shelf = Shelf::new();
    let flags = flags.iter().map(|&flag| flag.clone()).collect();
    let handle = core.spawn(until(flags, &shelf, Arc::new(7)));
    core.run();
    (core, shelf, handle)
}
