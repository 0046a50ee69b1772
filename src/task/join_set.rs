//! Many tasks, joined in the order they end.
//!
//! Owns [`JoinSet`] without the methods that spawn, which need a runtime and are in `runtime/join_set.rs`. It
//! knows tasks by their handles only: any `JoinHandle` can be put in, and any executor may wait.
//!
//! # How it works
//! The join waker of each task is an [`Arrival`], which knows the task's place in the set. It is woken when
//! the task is over and never before; the first time, it appends the place to the list that all of them
//! share and wakes whoever waits for the set. So joining looks at tasks that are over and at no others, and
//! an end that nobody waited for is in the list. The set keeps room in that list for all its tasks, so that
//! an arrival allocates nothing.
//!
//! A place is used again. Its earlier user has arrived by then, and arrives once; except with
//! [`JoinSet::detach_all`], which therefore begins a new list.
#![forbid(unsafe_code)]

use super::error::JoinError;
use super::id::Id;
use super::join::{AbortHandle, JoinHandle};
use crate::base::coop;
use crate::base::guard::{self, contained};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

/// A set of tasks with the same output, joined in the order they end. Dropping it aborts all of them.
///
/// A task that has ended keeps its output until it is joined. Waiting works on any executor, from one task
/// at a time; each task that is joined spends one unit of the [budget](super::coop) of the task that joins.
///
/// Tasks come in by the methods that spawn, which are those of this crate with the same names, or by
/// [`insert`](Self::insert), which takes any handle: of a task that has a [name](super::Builder), or that is
/// spawned on another runtime.
///
/// ```
/// # #[ringwork::main(cores = 2)]
/// # async fn main() {
/// use ringwork::task::JoinSet;
///
/// let mut set = JoinSet::new();
/// for n in 0..10u64 {
///     set.spawn(async move { n * n });
/// }
/// let mut sum = 0;
/// while let Some(square) = set.join_next().await {
///     sum += square.unwrap();
/// }
/// assert_eq!(sum, 285);
/// # }
/// ```
#[must_use = "dropping a set aborts its tasks"]
pub struct JoinSet<T> {
    places: Vec<Option<JoinHandle<T>>>,
    free: Vec<usize>,
    arrived: Arc<Arrived>,
    /// How many places the list of arrivals takes before it grows.
    room: usize,
}

impl<T> JoinSet<T> {
    /// A set without tasks. It allocates with the first one.
    ///
    /// ```
    /// let set = ringwork::task::JoinSet::<()>::new();
    /// assert!(set.is_empty());
    /// ```
    pub fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), arrived: Arc::default(), room: 0 }
    }

    /// How many tasks are in the set: those that run and those that have ended and are not joined.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// set.spawn(async {});
    /// assert_eq!(set.len(), 1);
    /// set.join_next().await;
    /// assert_eq!(set.len(), 0);
    /// # }
    /// ```
    #[must_use = "the answer is the only effect"]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is no task in the set.
    #[must_use = "the answer is the only effect"]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a task into the set. One that has ended already is joined in its turn.
    ///
    /// What other runtimes call `spawn_on(future, handle)` is `insert(handle.spawn(future))` here.
    ///
    /// # Panics
    /// Not here, but when the task is joined: if the handle has given its output before.
    ///
    /// ```
    /// # #[ringwork::main(cores = 2)]
    /// # async fn main() {
    /// use ringwork::task::{Builder, JoinSet};
    ///
    /// let mut set = JoinSet::new();
    /// let task = Builder::new().name("shard 1").spawn_on(1, || async { ringwork::core::current() });
    /// set.insert(task);
    /// assert_eq!(set.join_next().await.unwrap().unwrap(), Some(1));
    /// # }
    /// ```
    pub fn insert(&mut self, mut task: JoinHandle<T>) -> AbortHandle {
        self.make_room();
        let abort = task.abort_handle();
        let place = self.free.pop().unwrap_or(self.places.len());
        let arrived = Arc::clone(&self.arrived);
        let arrival = Waker::from(Arc::new(Arrival { place, is_told: AtomicBool::new(false), arrived }));
        let mut watch = || task.is_over_or_watch(&mut Context::from_waker(&arrival));
        // That drops the waker of an earlier poll of the handle, which is foreign and may panic. It is gone
        // then, and the arrival may be in its place already, so the task belongs to the set all the same.
        let mut over = None;
        contained(|| over = Some(watch()));
        let over = over.unwrap_or_else(watch);
        match self.places.get_mut(place) {
            Some(free) => *free = Some(task),
            None => self.places.push(Some(task)),
        }
        if over {
            // Somebody else may be at it too: it was over a moment later than it was watched.
            arrival.wake();
        }
        abort
    }

    /// Waits until a task has ended and takes it out of the set: its output or its error, or `None` if the
    /// set is empty.
    ///
    /// Dropping the future loses nothing: a task leaves the set only with the result that is returned.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// set.spawn(async { 6 * 7 });
    /// assert_eq!(set.join_next().await.unwrap().unwrap(), 42);
    /// assert!(set.join_next().await.is_none());
    /// # }
    /// ```
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// As [`join_next`](Self::join_next), with the task's id; an error has [its own](JoinError::id).
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// let id = set.spawn(async { 6 * 7 }).id();
    /// assert_eq!(set.join_next_with_id().await.unwrap().unwrap(), (id, 42));
    /// # }
    /// ```
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|cx| self.poll_join_next_with_id(cx)).await
    }

    /// Takes a task that has ended out of the set; `None` if all are still running, or there is none.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// set.spawn_local(async { 6 * 7 });
    /// assert!(set.try_join_next().is_none());
    /// ringwork::task::yield_now().await;
    /// assert_eq!(set.try_join_next().unwrap().unwrap(), 42);
    /// # }
    /// ```
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.try_join_next_with_id().map(without_id)
    }

    /// As [`try_join_next`](Self::try_join_next), with the task's id.
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        let place = self.arrived.lock().places.pop_front()?;
        Some(self.take(place))
    }

    /// As [`join_next`](Self::join_next), for hand-written futures: `Ready(None)` if the set is empty.
    ///
    /// If it is `Pending`, the task of `cx` is woken when a task of the set has ended, also one that is put
    /// in later. Only the last caller is.
    ///
    /// ```
    /// use ringwork::task::{JoinError, JoinSet};
    /// use std::task::{Context, Poll};
    ///
    /// /// Joins all tasks that have ended; ready when none is left.
    /// fn poll_reap(set: &mut JoinSet<()>, cx: &mut Context<'_>) -> Poll<Result<(), JoinError>> {
    ///     while let Some(result) = std::task::ready!(set.poll_join_next(cx)) {
    ///         result?;
    ///     }
    ///     Poll::Ready(Ok(()))
    /// }
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// # let mut set = JoinSet::new();
    /// # set.spawn(async {});
    /// # std::future::poll_fn(|cx| poll_reap(&mut set, cx)).await.unwrap();
    /// # }
    /// ```
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_join_next_with_id(cx).map(|next| next.map(without_id))
    }

    /// As [`poll_join_next`](Self::poll_join_next), with the task's id.
    pub fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(Id, T), JoinError>>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        let unit = ready!(coop::poll_proceed(cx));
        let Some(place) = self.arrived.next_or_watch(cx) else { return Poll::Pending };
        unit.made_progress();
        Poll::Ready(Some(self.take(place)))
    }

    /// Waits for all tasks; gives their outputs in the order they ended.
    ///
    /// Dropping the future aborts the tasks that are left and drops the outputs collected so far.
    ///
    /// # Panics
    /// With the panic of the first task that panicked, or if one was cancelled. The others are aborted.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let set: ringwork::task::JoinSet<u32> = (1..=3).map(|n| async move { n * n }).collect();
    /// let mut squares = set.join_all().await;
    /// squares.sort();
    /// assert_eq!(squares, [1, 4, 9]);
    /// # }
    /// ```
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result {
                Ok(output) => outputs.push(output),
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                Err(error) => panic!("`JoinSet::join_all`: {error}"),
            }
        }
        outputs
    }

    /// Aborts all tasks. They stay in the set until they are joined, as cancelled or with the output that
    /// they had by then.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// set.spawn(std::future::pending::<()>());
    /// set.abort_all();
    /// assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
    /// # }
    /// ```
    pub fn abort_all(&mut self) {
        self.places.iter().flatten().for_each(JoinHandle::abort);
    }

    /// Takes all tasks out of the set without aborting them: they run on, and nobody will join them.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let mut set = ringwork::task::JoinSet::new();
    /// set.spawn(async move { sender.send(42) });
    /// set.detach_all();
    /// assert!(set.is_empty());
    /// let received = ringwork::spawn_blocking(move || receiver.recv());
    /// assert_eq!(received.await.unwrap(), Ok(42));
    /// # }
    /// ```
    pub fn detach_all(&mut self) {
        // A new list: a task that is ending just now still has its place in the old one.
        let before = std::mem::take(&mut self.arrived);
        self.room = 0;
        self.free.clear();
        self.places.clear();
        // Whoever waited finds the set empty.
        before.wake_waiter();
    }

    /// Aborts all tasks and waits until they are gone. Their outputs and errors, panics included, are
    /// dropped.
    ///
    /// Jobs of the blocking pool that have begun cannot be aborted: they are waited for. If the future is
    /// dropped, the tasks that are left stay in the set, aborted.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let mut set = ringwork::task::JoinSet::new();
    /// set.spawn(std::future::pending::<()>());
    /// set.shutdown().await;
    /// assert!(set.is_empty());
    /// # }
    /// ```
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Lets the list of arrivals take one more task than there is.
    fn make_room(&mut self) {
        let wanted = self.len() + 1;
        if wanted > self.room {
            let places = &mut self.arrived.lock().places;
            places.reserve(wanted - places.len());
            self.room = places.capacity();
        }
    }

    /// The result of the task at `place`, which has arrived.
    fn take(&mut self, place: usize) -> Result<(Id, T), JoinError> {
        let mut task = self.places[place].take().expect("broken invariant: a task arrives once");
        self.free.push(place);
        let id = task.id();
        task.take_output().map(|output| (id, output))
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        // All are aborted before the first handle is dropped: that may run the destructor of an output.
        self.abort_all();
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish_non_exhaustive()
    }
}

fn without_id<T>(result: Result<(Id, T), JoinError>) -> Result<T, JoinError> {
    result.map(|(_, output)| output)
}

/// The join waker of one task of a set.
struct Arrival {
    place: usize,
    /// Whether it has been woken.
    is_told: AtomicBool,
    arrived: Arc<Arrived>,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        // Only the first counts. That the task is over is passed on by the lock.
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        let waiter = {
            let mut list = self.arrived.lock();
            list.places.push_back(self.place);
            list.waiter.take()
        };
        if let Some(waiter) = waiter {
            guard::wake(waiter);
        }
    }
}

/// What a set and the wakers of its tasks share.
#[derive(Default)]
struct Arrived {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    /// The places of the tasks that are over and not joined, in the order they came.
    places: VecDeque<usize>,
    /// Who waits for the next one.
    waiter: Option<Waker>,
}

impl Arrived {
    // Nothing foreign is called under the lock, neither to clone nor to drop a waker.
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next place. If there is none, the task of `cx` is woken when one comes.
    fn next_or_watch(&self, cx: &mut Context<'_>) -> Option<usize> {
        {
            let mut list = self.lock();
            let next = list.places.pop_front();
            if next.is_some() || list.waiter.as_ref().is_some_and(|waiter| waiter.will_wake(cx.waker())) {
                return next;
            }
        }
        let mut waker = Some(cx.waker().clone());
        let mut list = self.lock();
        let next = list.places.pop_front();
        if next.is_none() {
            std::mem::swap(&mut list.waiter, &mut waker);
        }
        drop(list);
        next
    }

    fn wake_waiter(&self) {
        let waiter = self.lock().waiter.take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_arrives_once_however_often_it_is_said_to_be_over() {
        let arrived = Arc::new(Arrived::default());
        let arrival = Arrival { place: 3, is_told: AtomicBool::new(false), arrived: Arc::clone(&arrived) };
        let waker = Waker::from(Arc::new(arrival));
        waker.wake_by_ref();
        waker.clone().wake();
        assert_eq!(arrived.next_or_watch(&mut Context::from_waker(Waker::noop())), Some(3));
        waker.wake();
        assert_eq!(arrived.next_or_watch(&mut Context::from_waker(Waker::noop())), None);
    }
}
