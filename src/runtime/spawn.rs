//! Starting tasks.
#![forbid(unsafe_code)]

use super::{Handle, current};
use crate::base::parcel::{Deliver, Parcel};
use crate::sched::{adopt_here, counted, spawn_local_eager_here, spawn_local_here, with_current};
use crate::task::{Attributes, JoinHandle, Unborn};
use std::future::Future;
use std::io;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

/// Spawns a task on the runtime this thread is in. From a core it is born there and moves to a core that has
/// been idle, and sooner if more wait than a queue has room for, or if the core is stuck
/// ([`Steal`](crate::runtime::Steal)); from elsewhere it goes to a core that has nothing to do, as far as one
/// can tell, else to one in turn.
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
    let at = Location::caller();
    // A handle that is borrowed is cheaper than one that is cloned and dropped: each of its parts is counted.
    if current::is_own_core() {
        return with_current(|core| core.expect("it is one").shared.spawn(future, at));
    }
    Handle::current().shared().spawn(future, at)
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
    local_here(future, Location::caller())
}

/// As [`spawn_local`], and polls the new task once before it returns: a task that has nothing to wait for is
/// over then, and awaiting its handle gives the result at once. What is left to do goes on from the core's
/// queue, as with any task. For many small tasks that mostly find what they need (a value in a cache, room in
/// a buffer), and for those whose first step is to send something off: neither pays for a way through the
/// queue and a wake.
///
/// **The first poll runs inside the caller**, so do not call this while holding a lock or a borrow that the
/// task takes too: it would wait for itself, or panic. A borrow is that of a `RefCell`, and
/// [`LocalKey::with`](crate::task::LocalKey::with) of a key of which the task enters a scope. That is why
/// [`spawn_local`] does not do it. The task has its own id and its own values of
/// [`task_local!`](crate::task_local); of other thread-locals it sees in its first poll what the caller has
/// set, such as a span of `tracing` that the caller has entered.
///
/// Each such poll takes a unit of the calling task's [budget](crate::task::coop), and the new task's own
/// units come from there as well. The task is queued, as by [`spawn_local`], where that budget is spent;
/// where each of the last eight was spawned by the one before in its first poll; in the background; and where
/// no future of a task is being polled (in the destructor of one that was aborted, or of a buffer that the
/// kernel gives back). So do not rely on the poll.
///
/// A panic in the first poll is the task's, and comes with its handle.
///
/// # Panics
/// On a thread that is no core: use [`spawn_on`].
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let steps = Rc::new(Cell::new(0));
/// let task = ringwork::spawn_local_eager({
///     let steps = Rc::clone(&steps);
///     async move {
///         steps.set(1);
///         ringwork::task::yield_now().await;
///         steps.set(2);
///     }
/// });
/// assert_eq!(steps.get(), 1);
/// task.await.unwrap();
/// assert_eq!(steps.get(), 2);
/// # }
/// ```
#[track_caller]
pub fn spawn_local_eager<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    eager_here(future, Location::caller())
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

/// Runs a call that blocks (a system call without an op, a library) on the blocking pool. As many run at once
/// as [`Builder::max_blocking_threads`](super::Builder::max_blocking_threads) says; more wait in a queue.
///
/// There is no `block_in_place`: a core has other tasks to run, so the call goes to a thread that has none,
/// and the task awaits it. What computes for long belongs to [`spawn_heavy`].
///
/// Dropping the handle detaches the job, also one that waits. [`JoinHandle::abort`] ends a job that waits at
/// once, and [`JoinHandle::abort_on_drop`] does so when the handle is dropped; a job that has begun runs to
/// its end.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let name = ringwork::spawn_blocking(|| std::fs::read_to_string("/proc/sys/kernel/hostname"));
/// assert!(name.await.unwrap().is_ok());
/// # }
/// ```
///
/// # Panics
/// If this thread is in no runtime; if the system refuses a thread and the pool has none.
#[track_caller]
pub fn spawn_blocking<F, T>(call: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    blocking_on(&Handle::current(), call, Location::caller())
}

/// Runs a call that computes for long on the blocking pool's other lane: no more at once than there are CPUs,
/// or [`Builder::max_heavy_threads`](super::Builder::max_heavy_threads). Calls of [`spawn_blocking`] do not
/// wait for them. Dropping and aborting the handle do as with [`spawn_blocking`].
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let sum = ringwork::spawn_heavy(|| (1..=1_000_000_u64).sum::<u64>());
/// assert_eq!(sum.await.unwrap(), 500_000_500_000);
/// # }
/// ```
///
/// # Panics
/// As [`spawn_blocking`].
#[track_caller]
pub fn spawn_heavy<F, T>(call: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    heavy_on(&Handle::current(), call, Location::caller())
}

#[track_caller]
pub(super) fn local_here<F>(future: F, attributes: impl Into<Attributes>) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let Some(task) = spawn_local_here(future, attributes) else {
        panic!("spawn_local needs a core to stay on, and this thread is none: use spawn_on(core, || future)")
    };
    task
}

#[track_caller]
pub(super) fn eager_here<F>(future: F, attributes: impl Into<Attributes>) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let Some(task) = spawn_local_eager_here(future, attributes) else {
        panic!(
            "spawn_local_eager needs a core to stay on, and this thread is none: use spawn_on(core, || \
             future)"
        )
    };
    task
}

#[track_caller]
pub(super) fn blocking_on<F, T>(handle: &Handle, call: F, attributes: impl Into<Attributes>) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if handle.shared().refuses_tasks() {
        return handle.pool().refuse(call, attributes);
    }
    started(handle.pool().spawn(call, attributes))
}

#[track_caller]
pub(super) fn heavy_on<F, T>(handle: &Handle, call: F, attributes: impl Into<Attributes>) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if handle.shared().refuses_tasks() {
        return handle.pool().refuse(call, attributes);
    }
    started(handle.pool().spawn_heavy(call, attributes))
}

#[track_caller]
fn started<T>(job: io::Result<JoinHandle<T>>) -> JoinHandle<T> {
    match job {
        Ok(job) => job,
        Err(error) => panic!("{error}"),
    }
}

/// The message that brings a task to the core it is made for.
struct Errand(Mutex<Option<Unborn>>);

impl Errand {
    fn take(&self) -> Option<Unborn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Deliver for Errand {
    fn deliver(parcel: Arc<Parcel<Self>>, _requests: u32) {
        if let Some(unborn) = parcel.value.take() {
            adopt_here(unborn);
        }
    }

    fn dispose(parcel: Arc<Parcel<Self>>, _requests: u32) {
        if let Some(unborn) = parcel.value.take() {
            unborn.cancel();
        }
    }
}

#[track_caller]
pub(super) fn on_core<F, Fut>(
    handle: &Handle,
    core: usize,
    make: F,
    attributes: impl Into<Attributes>,
) -> JoinHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let cores = handle.cores();
    assert!(core < cores, "there is no core {core}: the runtime has {}", counted(cores));
    let (unborn, task) = handle.shared().make_for(core, make, attributes);
    if handle.shared().refuses_tasks() {
        unborn.cancel();
        return task;
    }
    let errand = Parcel::new(Errand(Mutex::new(Some(unborn))));
    errand.request(&handle.shared().cores[core].inbox, 1);
    task
}
