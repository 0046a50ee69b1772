//! Starting tasks.
#![forbid(unsafe_code)]

use super::Handle;
use crate::base::parcel::{Deliver, Parcel};
use crate::blocking::Pool;
use crate::sched::spawn_local_here;
use crate::task::{AbortHandle, JoinHandle};
use std::future::{Future, pending, poll_fn};
use std::panic::{Location, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Spawns a task on the runtime this thread is in. From a core it is born there and moves only to a core that
/// has been idle; from elsewhere it goes to a core that is parked, else to one in turn.
///
/// # Panics
/// If this thread is in no runtime.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let answer = ringwork::spawn(async { 6 * 7 });
/// assert_eq!(answer.await.unwrap(), 42);
/// # }
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Handle::current().shared().spawn(future, Location::caller())
}

/// Spawns a task that need not be `Send` and never leaves this core.
///
/// # Panics
/// On a thread that is no core: use [`spawn_on`].
///
/// ```
/// use std::rc::Rc;
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let shared = Rc::new(7);
/// let task = ringwork::spawn_local(async move { *shared });
/// assert_eq!(task.await.unwrap(), 7);
/// # }
/// ```
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_local_here(future, Location::caller()).unwrap_or_else(|_| {
        panic!("spawn_local needs a core to stay on, and this thread is none: use spawn_on(core, || future)")
    })
}

/// Makes a future on core `core` and runs it there; it never moves and need not be `Send`.
///
/// # Panics
/// If there is no core of that number, or this thread is in no runtime.
#[track_caller]
pub fn spawn_on<F, Fut>(core: usize, make: F) -> JoinHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    on_core(&Handle::current(), core, make, Location::caller())
}

/// Runs a call that blocks (a system call without an op, a library) on the blocking pool.
///
/// # Panics
/// If this thread is in no runtime; if the system refuses a thread and the pool has none.
#[track_caller]
pub fn spawn_blocking<F, T>(call: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    blocking_on(&Handle::current().pool(), call, Location::caller())
}

/// Runs a call that computes for long on the blocking pool's other lane: as many at once as there are CPUs.
///
/// # Panics
/// As [`spawn_blocking`].
#[track_caller]
pub fn spawn_heavy<F, T>(call: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let spawned = Handle::current().pool().spawn_heavy(call, Location::caller());
    spawned.unwrap_or_else(|error| panic!("the blocking pool cannot start a thread: {error}"))
}

pub(super) fn blocking_on<F, T>(pool: &Pool, call: F, at: &'static Location<'static>) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let spawned = pool.spawn(call, at);
    spawned.unwrap_or_else(|error| panic!("the blocking pool cannot start a thread: {error}"))
}

/// Where the task made on the target core and the task that stands for it elsewhere meet.
struct Meeting<T> {
    state: Mutex<Met<T>>,
}

enum Met<T> {
    Waiting(Option<Waker>),
    Made(JoinHandle<T>),
    /// The core is gone: the stand-in ends with its runtime.
    Never,
    Taken,
    /// The stand-in is gone: what is made ends at once.
    Abandoned,
}

impl<T> Meeting<T> {
    fn replace(&self, met: Met<T>) -> Met<T> {
        std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), met)
    }

    fn put(&self, met: Met<T>) {
        match self.replace(met) {
            Met::Waiting(Some(waker)) => waker.wake(),
            Met::Abandoned => self.abandon(),
            _ => {}
        }
    }

    /// Nobody will come for the task: it is not left to run on its own.
    fn abandon(&self) {
        if let Met::Made(task) = self.replace(Met::Abandoned) {
            task.abort();
        }
    }

    async fn take(&self) -> Option<JoinHandle<T>> {
        poll_fn(|cx| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match std::mem::replace(&mut *state, Met::Taken) {
                Met::Made(handle) => Poll::Ready(Some(handle)),
                Met::Never | Met::Taken | Met::Abandoned => Poll::Ready(None),
                Met::Waiting(_) => {
                    *state = Met::Waiting(Some(cx.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// The message that makes a future on its core.
struct Errand(Mutex<Option<Call>>);

/// Told whether it has reached its core.
type Call = Box<dyn FnOnce(bool) + Send>;

impl Errand {
    fn run(&self, delivered: bool) {
        let errand = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(errand) = errand {
            errand(delivered);
        }
    }
}

impl Deliver for Errand {
    fn deliver(parcel: Arc<Parcel<Self>>, _requests: u32) {
        parcel.value.run(true);
    }

    fn dispose(parcel: Arc<Parcel<Self>>, _requests: u32) {
        parcel.value.run(false);
    }
}

/// The stand-in's end of a meeting.
struct Guest<T>(Arc<Meeting<T>>);

impl<T> Drop for Guest<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Aborts the task on the target core when the one that stands for it is dropped early.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn on_core<F, Fut>(
    handle: &Handle,
    core: usize,
    make: F,
    at: &'static Location<'static>,
) -> JoinHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let cores = handle.cores();
    assert!(core < cores, "spawn_on core {core}: the runtime has {cores} cores");
    let meeting = Arc::new(Meeting { state: Mutex::new(Met::Waiting(None)) });
    let there = Arc::clone(&meeting);
    let errand = Parcel::new(Errand(Mutex::new(Some(Box::new(move |delivered| {
        let made = delivered.then(|| spawn_local_here(async move { make().await }, at).ok()).flatten();
        there.put(made.map_or(Met::Never, Met::Made));
    })))));
    errand.request(&handle.shared().cores[core].inbox, 1);
    let guest = Guest(meeting);
    let stand_in = async move {
        let Some(task) = guest.0.take().await else { return pending().await };
        let guard = AbortOnDrop(task.abort_handle());
        let joined = task.await;
        drop(guard);
        match joined {
            Ok(output) => output,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime is going down: the stand-in is ended in the same way.
            Err(_) => pending().await,
        }
    };
    handle.shared().spawn_at(core, stand_in, at)
}
