//! Starting tasks with a name or in the background.
//!
//! Owns the methods of [`task::Builder`](Builder) that spawn; its settings are the task room's.
#![forbid(unsafe_code)]

use super::{Handle, spawn};
use crate::task::{Builder, JoinHandle};
use std::future::Future;
use std::panic::Location;

/// Spawning. Each method is the function of its name with the builder's settings; those that end in `_with`
/// spawn on a given runtime, which may be gone: then the task ends as cancelled.
impl Builder {
    /// As [`spawn`](crate::spawn): a task that may move to an idle core, unless it is a background task.
    ///
    /// # Panics
    /// If this thread is in no runtime.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let task = ringwork::task::Builder::new().name("answer").spawn(async { 6 * 7 });
    /// assert_eq!(task.await.unwrap(), 42);
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_with(&Handle::current(), future)
    }

    /// As [`spawn`](Self::spawn), on the runtime of `handle`.
    ///
    /// ```
    /// use ringwork::{runtime, task};
    /// let runtime = runtime::Builder::new().cores(1).build()?;
    /// let task = task::Builder::new().name("answer").spawn_with(runtime.handle(), async { 6 * 7 });
    /// assert_eq!(runtime.block_on(task).unwrap(), 42);
    /// # Ok::<(), runtime::StartError>(())
    /// ```
    #[track_caller]
    pub fn spawn_with<F>(self, handle: &Handle, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        handle.shared().spawn(future, self.attributes(Location::caller()))
    }

    /// As [`spawn_local`](crate::spawn_local): a task that need not be `Send` and never leaves this core.
    ///
    /// # Panics
    /// On a thread that is no core: use [`spawn_on`](Self::spawn_on).
    ///
    /// ```
    /// use std::rc::Rc;
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let shared = Rc::new(7);
    /// let task = ringwork::task::Builder::new().name("local").spawn_local(async move { *shared });
    /// assert_eq!(task.await.unwrap(), 7);
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        spawn::local_here(future, self.attributes(Location::caller()))
    }

    /// As [`spawn_local_eager`](crate::spawn_local_eager): a local task that is polled once before this
    /// returns, unless it is a background task.
    ///
    /// # Panics
    /// On a thread that is no core: use [`spawn_on`](Self::spawn_on).
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let task = ringwork::task::Builder::new().name("at once").spawn_local_eager(async { 6 * 7 });
    /// assert!(task.is_finished());
    /// assert_eq!(task.await.unwrap(), 42);
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_local_eager<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        spawn::eager_here(future, self.attributes(Location::caller()))
    }

    /// As [`spawn_on`](crate::spawn_on): makes a future on core `core` and runs it there; it never moves and
    /// need not be `Send`.
    ///
    /// # Panics
    /// If there is no core of that number, or this thread is in no runtime.
    ///
    /// ```
    /// # #[ringwork::main(cores = 2)]
    /// # async fn main() {
    /// let task = ringwork::task::Builder::new().name("on core 1");
    /// let task = task.spawn_on(1, || async { ringwork::core::current() });
    /// assert_eq!(task.await.unwrap(), Some(1));
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_on<F, Fut>(self, core: usize, make: F) -> JoinHandle<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        self.spawn_on_with(&Handle::current(), core, make)
    }

    /// As [`spawn_on`](Self::spawn_on), on the runtime of `handle`.
    ///
    /// # Panics
    /// If there is no core of that number.
    #[track_caller]
    pub fn spawn_on_with<F, Fut>(self, handle: &Handle, core: usize, make: F) -> JoinHandle<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        spawn::on_core(handle, core, make, self.attributes(Location::caller()))
    }

    /// As [`spawn_blocking`](crate::spawn_blocking): a call that blocks, on the blocking pool.
    ///
    /// # Panics
    /// If this thread is in no runtime; if the system refuses a thread and the pool has none.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let lookup = ringwork::task::Builder::new().name("lookup");
    /// let hosts = lookup.spawn_blocking(|| std::fs::read_to_string("/etc/hosts"));
    /// assert!(hosts.await.unwrap().is_ok());
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, T>(self, call: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_blocking_with(&Handle::current(), call)
    }

    /// As [`spawn_blocking`](Self::spawn_blocking), on the pool of `handle`'s runtime.
    ///
    /// # Panics
    /// If the system refuses a thread and the pool has none.
    #[track_caller]
    pub fn spawn_blocking_with<F, T>(self, handle: &Handle, call: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::blocking_on(handle, call, self.attributes(Location::caller()))
    }

    /// As [`spawn_heavy`](crate::spawn_heavy): a call that computes for long, on the blocking pool's other
    /// lane.
    ///
    /// # Panics
    /// As [`spawn_blocking`](Self::spawn_blocking).
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let checksum = ringwork::task::Builder::new().name("checksum");
    /// let sum = checksum.spawn_heavy(|| (0..1_000_000u64).fold(0, u64::wrapping_add));
    /// assert_eq!(sum.await.unwrap(), 499_999_500_000);
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_heavy<F, T>(self, call: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_heavy_with(&Handle::current(), call)
    }

    /// As [`spawn_heavy`](Self::spawn_heavy), on the pool of `handle`'s runtime.
    ///
    /// # Panics
    /// As [`spawn_blocking_with`](Self::spawn_blocking_with).
    #[track_caller]
    pub fn spawn_heavy_with<F, T>(self, handle: &Handle, call: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::heavy_on(handle, call, self.attributes(Location::caller()))
    }
}
