//! Starting tasks in a set.
//!
//! Owns the methods of [`JoinSet`] that spawn; how it joins is the task room's.
#![forbid(unsafe_code)]

use super::spawn::{spawn, spawn_blocking, spawn_heavy, spawn_local, spawn_on};
use crate::task::{AbortHandle, JoinSet};
use std::future::Future;

/// Spawning. Each method is the function of its name, with the task in the set. For other ways of spawning
/// see [`insert`](Self::insert).
impl<T: 'static> JoinSet<T> {
    /// As [`spawn`](crate::spawn).
    ///
    /// # Panics
    /// If this thread is in no runtime.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// let task = set.spawn(std::future::pending::<()>());
    /// task.abort();
    /// assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.insert(spawn(future))
    }

    /// As [`spawn_local`](crate::spawn_local): neither future nor output need be `Send`.
    ///
    /// # Panics
    /// On a thread that is no core: use [`spawn_on`](Self::spawn_on).
    ///
    /// ```
    /// use std::rc::Rc;
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let shared = Rc::new(7);
    /// let mut set = ringwork::task::JoinSet::new();
    /// set.spawn_local(async move { shared });
    /// assert_eq!(*set.join_next().await.unwrap().unwrap(), 7);
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.insert(spawn_local(future))
    }

    /// As [`spawn_on`](crate::spawn_on): makes a future on core `core` and runs it there.
    ///
    /// # Panics
    /// If there is no core of that number, or this thread is in no runtime.
    ///
    /// ```
    /// # #[ringwork::main(cores = 2)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// for core in 0..2 {
    ///     set.spawn_on(core, move || async move { ringwork::core::current() == Some(core) });
    /// }
    /// assert_eq!(set.join_all().await, [true, true]);
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_on<F, Fut>(&mut self, core: usize, make: F) -> AbortHandle
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send,
    {
        self.insert(spawn_on(core, make))
    }

    /// As [`spawn_blocking`](crate::spawn_blocking). A call that has begun cannot be aborted: it goes on when
    /// the set is dropped.
    ///
    /// # Panics
    /// If this thread is in no runtime; if the system refuses a thread and the pool has none.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// set.spawn_blocking(|| std::fs::metadata("/").is_ok());
    /// assert!(set.join_next().await.unwrap().unwrap());
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, call: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.insert(spawn_blocking(call))
    }

    /// As [`spawn_heavy`](crate::spawn_heavy). As with [`spawn_blocking`](Self::spawn_blocking), a call that
    /// has begun goes on.
    ///
    /// # Panics
    /// As [`spawn_blocking`](Self::spawn_blocking).
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// set.spawn_heavy(|| (0..1_000_000u64).fold(0, u64::wrapping_add));
    /// assert_eq!(set.join_next().await.unwrap().unwrap(), 499_999_500_000);
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_heavy<F>(&mut self, call: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.insert(spawn_heavy(call))
    }
}

/// Spawns each future, as [`JoinSet::spawn`] does.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let mut set: ringwork::task::JoinSet<u32> = (1..=3).map(|n| async move { n }).collect();
/// set.extend([std::future::ready(4), std::future::ready(5)]);
/// assert_eq!(set.join_all().await.iter().sum::<u32>(), 15);
/// # }
/// ```
impl<F> FromIterator<F> for JoinSet<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = Self::new();
        set.extend(futures);
        set
    }
}

/// Spawns each future, as [`JoinSet::spawn`] does.
impl<F> Extend<F> for JoinSet<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[track_caller]
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        for future in futures {
            self.spawn(future);
        }
    }
}
