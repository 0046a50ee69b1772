//! The ends of a task that its spawner holds.
//!
//! Owns [`JoinHandle`] (waits for the output, on any executor) and [`AbortHandle`] (ends the task). Neither
//! runs anything of a task that has a core: an abort marks it and schedules it, and the future is dropped on
//! the task's own core. A job of the blocking pool has none: while it waits, an abort ends it on the spot.

use super::abort_on_drop::AbortOnDrop;
use super::afar;
use super::answer::{Leave, Side, Wake};
use super::cell::{Failure, Header, Reference};
use super::error::JoinError;
use super::id::Id;
use super::remote::ABORT;
use crate::base::coop;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, ready};

/// Waits for a task's output. Dropping it detaches the task, which runs on; a job of the blocking pool that
/// waits for its turn stays in the queue. [`abort_on_drop`](Self::abort_on_drop) makes it end the task
/// instead.
///
/// The handle is a future that any executor may poll, on any thread. It is `Send` if the output is.
///
/// ```
/// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
/// # runtime.block_on(async {
/// let handle = ringwork::spawn(async { 6 * 7 });
/// assert_eq!(handle.await.unwrap(), 42);
/// # });
/// ```
pub struct JoinHandle<T> {
    // `ManuallyDrop`, because leaving the task and giving up the reference are one step.
    task: ManuallyDrop<Reference>,
    output: PhantomData<T>,
}

// SAFETY: what the handle can move to another thread is the reference (`Send`) and the output.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: by `&self` the handle gives access to the header only, never to the output.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

// The output is never pinned in the handle, and what a panic may leave half done is not reachable through it.
impl<T> Unpin for JoinHandle<T> {}
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// Takes over a reference.
    ///
    /// # Safety
    /// As [`Reference::from_raw`]; JOIN_INTEREST is set, no other handle exists, and `T` is the future's
    /// output.
    #[inline]
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        // SAFETY: passed on from the caller.
        Self { task: ManuallyDrop::new(unsafe { Reference::from_raw(task) }), output: PhantomData }
    }

    /// Ends the task as soon as its core gets to it, unless it has finished by then.
    ///
    /// A poll that is going on is not interrupted. The future is dropped on the task's own core; awaiting the
    /// handle then gives an error that [is cancelled](JoinError::is_cancelled).
    ///
    /// A job of the blocking pool can be aborted only before it has begun. One that waits in the queue is
    /// over when this returns, however busy the pool is: its closure, with all it has captured, is dropped by
    /// this call, on this thread (of two calls at once, by one). One that a thread has just taken to begin it
    /// ends there, a moment later. A job that has begun runs to its end and gives its output.
    ///
    /// ```
    /// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
    /// # runtime.block_on(async {
    /// let handle = ringwork::spawn(std::future::pending::<()>());
    /// handle.abort();
    /// assert!(handle.await.unwrap_err().is_cancelled());
    /// # });
    /// ```
    pub fn abort(&self) {
        abort(&self.task);
    }

    /// Makes the task end with its handle: dropping what this returns aborts it.
    ///
    /// ```
    /// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
    /// # runtime.block_on(async {
    /// let task = ringwork::spawn(std::future::pending::<()>());
    /// let end = task.abort_handle();
    /// drop(task.abort_on_drop());
    /// while !end.is_finished() {
    ///     ringwork::task::yield_now().await;
    /// }
    /// # });
    /// ```
    pub fn abort_on_drop(self) -> AbortOnDrop<T> {
        AbortOnDrop::new(self)
    }

    /// A handle that can only abort: `Clone`, and independent of the output's type.
    ///
    /// ```
    /// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
    /// # runtime.block_on(async {
    /// let handle = ringwork::spawn(std::future::pending::<()>());
    /// let abort = handle.abort_handle();
    /// ringwork::spawn(async move { abort.abort() }).await.unwrap();
    /// assert!(handle.await.unwrap_err().is_cancelled());
    /// # });
    /// ```
    #[must_use = "an abort handle does nothing by itself"]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { task: Reference::clone(&self.task) }
    }

    /// Whether the task is over: the next poll of the handle is ready, unless the task that polls has spent
    /// its [budget](crate::task::coop) and has to yield first.
    #[must_use = "the answer is the only effect"]
    pub fn is_finished(&self) -> bool {
        self.task.header().state.is_complete()
    }

    /// The task's id.
    #[must_use = "the answer is the only effect"]
    pub fn id(&self) -> Id {
        self.task.header().id()
    }

    /// The task's name, if it was given one.
    #[must_use = "the answer is the only effect"]
    pub fn name(&self) -> Option<&str> {
        self.task.header().name()
    }

    /// Stores the waker of `cx` for the end of the task. True if the task is over instead.
    pub(super) fn is_over_or_watch(&mut self, cx: &mut Context<'_>) -> bool {
        let header = self.task.header();
        if header.state.is_complete() {
            return true;
        }
        if header.state.side() == Side::Afar {
            return afar::watch(&self.task, cx.waker().clone());
        }
        if header.state.has_join_waker() {
            // SAFETY: we are the handle, and it was we who set JOIN_WAKER.
            if unsafe { header.join_waker_is(cx.waker()) } {
                return false;
            }
            if !header.state.withdraw_join_waker() {
                return true;
            }
            // SAFETY: withdrawn.
            drop(unsafe { header.take_join_waker() });
        }
        let waker = cx.waker().clone();
        // SAFETY: we are the handle and JOIN_WAKER is clear.
        unsafe { header.write_join_waker(waker) };
        if header.state.publish_join_waker() {
            return false;
        }
        // SAFETY: not published: it is stored, and the completer did not see it.
        drop(unsafe { header.take_join_waker() });
        true
    }

    /// The output of a task that is over.
    pub(super) fn take_output(&mut self) -> Result<T, JoinError> {
        let mut place = MaybeUninit::<Result<T, Failure>>::uninit();
        let header = self.task.header();
        // SAFETY: we are the handle, the task is complete, and the place is for the future's output.
        let taken =
            unsafe { (header.functions().take_output)(self.task.address(), place.as_mut_ptr().cast()) };
        assert!(taken, "a `JoinHandle` was polled again after it had given its output");
        // SAFETY: taken, so the place is filled.
        let output = unsafe { place.assume_init() };
        output.map_err(|failure| JoinError::new(failure, header))
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let unit = ready!(coop::poll_proceed(cx));
        if !self.is_over_or_watch(cx) {
            return Poll::Pending;
        }
        unit.made_progress();
        Poll::Ready(self.take_output())
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // SAFETY: taken once, because this is the drop.
        let task = unsafe { ManuallyDrop::take(&mut self.task) };
        let header = task.header();
        let functions = header.functions();
        if header.state.side() == Side::Afar {
            return afar::leave(task);
        }
        match header.state.leave() {
            Leave::Done => {
                task.into_raw();
            }
            // SAFETY: `Last` says that ours was the last reference.
            Leave::Last => unsafe { (functions.free)(task.into_raw()) },
            // SAFETY: we are the handle and the task is complete.
            Leave::Output => unsafe { (functions.drop_output)(task.address()) },
            Leave::Wakers { joined } => {
                // SAFETY: `joined` says that it is ours.
                let joiner = joined.then(|| unsafe { header.take_join_waker() });
                drop((joiner, header.take_far_joiner()));
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, "JoinHandle", &self.task)
    }
}

/// Ends a task from anywhere; made by [`JoinHandle::abort_handle`]. Dropping it does nothing to the task.
///
/// ```
/// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
/// # runtime.block_on(async {
/// let handle = ringwork::spawn(std::future::pending::<()>());
/// let abort = handle.abort_handle();
/// std::thread::spawn(move || abort.abort()).join().unwrap();
/// assert!(handle.await.unwrap_err().is_cancelled());
/// # });
/// ```
#[derive(Clone)]
pub struct AbortHandle {
    task: Reference,
}

impl AbortHandle {
    /// As [`JoinHandle::abort`].
    pub fn abort(&self) {
        abort(&self.task);
    }

    /// Whether the task is over.
    #[must_use = "the answer is the only effect"]
    pub fn is_finished(&self) -> bool {
        self.task.header().state.is_complete()
    }

    /// The task's id.
    #[must_use = "the answer is the only effect"]
    pub fn id(&self) -> Id {
        self.task.header().id()
    }

    /// The task's name, if it was given one.
    #[must_use = "the answer is the only effect"]
    pub fn name(&self) -> Option<&str> {
        self.task.header().name()
    }
}

impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, "AbortHandle", &self.task)
    }
}

fn abort(task: &Reference) {
    let header = task.header();
    if header.state.side() == Side::Afar {
        // SAFETY: `task` is a reference.
        return unsafe { afar::ask(task.address(), ABORT) };
    }
    match header.state.abort() {
        Wake::Schedule => {
            header.state.retain();
            // SAFETY: a `Notified` is due and has its reference; ours is kept throughout.
            unsafe { (header.functions().schedule)(task.address(), true) }
        }
        Wake::Seen if header.state.is_complete() => {}
        // SAFETY: ours is kept throughout.
        Wake::Seen => unsafe { (header.functions().aborted)(task.address()) },
    }
}

fn describe(f: &mut fmt::Formatter<'_>, what: &str, task: &Reference) -> fmt::Result {
    let mut description = f.debug_struct(what);
    description.field("id", &task.header().id());
    if let Some(name) = task.header().name() {
        description.field("name", &name);
    }
    description.finish_non_exhaustive()
}
