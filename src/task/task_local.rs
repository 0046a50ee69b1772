//! Values that belong to a task: they are there wherever its future is polled.
//!
//! Owns [`task_local!`](crate::task_local), [`LocalKey`] and [`TaskLocalFuture`]. A value lives with the
//! future that it is for and is exchanged with a thread-local for the time of each poll, so it follows a task
//! that moves to another core, and no other task sees it. Nothing here knows a scheduler: any executor will
//! do. It is not inherited: what a task spawns has its own values. A task that is polled, or ends, within the
//! poll of another is kept from the other's by the level that is noted beside a current value (within.rs).
#![forbid(unsafe_code)]

use super::within::{Level, level};
use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

/// What is current on a thread: a value, and at which level of what is within each other.
#[doc(hidden)]
#[derive(Debug)]
pub struct LocalValue<T> {
    value: Option<T>,
    level: Level,
}

impl<T> LocalValue<T> {
    #[doc(hidden)]
    pub const NONE: Self = Self { value: None, level: Level::GROUND };
}

/// A value of which every task has its own; made by [`task_local!`](crate::task_local).
///
/// The value is set by [`scope`](Self::scope) for one future, and by [`sync_scope`](Self::sync_scope) for a
/// call. It is there whenever that future is polled, on whatever core, and while it is dropped, at its end
/// or because its task was aborted. In other tasks, those that the future spawns and jobs of the blocking
/// pool included, it is not set.
pub struct LocalKey<T: 'static> {
    current: &'static thread::LocalKey<RefCell<LocalValue<T>>>,
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(current: &'static thread::LocalKey<RefCell<LocalValue<T>>>) -> Self {
        Self { current }
    }

    /// Sets the value for `future`. Inside another scope of this key the inner value hides the outer one.
    ///
    /// # Panics
    /// When polled inside [`with`](Self::with) of the same key, or while the thread's thread-locals are
    /// destroyed.
    ///
    /// ```
    /// ringwork::task_local! {
    ///     static REQUEST: u64;
    /// }
    ///
    /// async fn log(line: &str) -> String {
    ///     ringwork::task::yield_now().await;
    ///     format!("request {}: {line}", REQUEST.get())
    /// }
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let task = ringwork::spawn(REQUEST.scope(7, log("accepted")));
    /// assert_eq!(task.await.unwrap(), "request 7: accepted");
    /// # }
    /// ```
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture { key: self, value: Some(value), future: Some(future) }
    }

    /// Sets the value for one call.
    ///
    /// # Panics
    /// Inside [`with`](Self::with) of the same key, or while the thread's thread-locals are destroyed.
    ///
    /// ```
    /// ringwork::task_local! {
    ///     static REQUEST: u64;
    /// }
    /// assert_eq!(REQUEST.sync_scope(7, || REQUEST.get()), 7);
    /// assert!(REQUEST.try_get().is_err());
    /// ```
    #[track_caller]
    pub fn sync_scope<R>(&'static self, value: T, call: impl FnOnce() -> R) -> R {
        match self.lend(&mut Some(value), call) {
            Ok(output) => output,
            Err(refused) => panic!("{}", refused.message()),
        }
    }

    /// Lends the current value.
    ///
    /// # Panics
    /// If none is set (see [`try_with`](Self::try_with)).
    ///
    /// ```
    /// ringwork::task_local! {
    ///     static USER: String;
    /// }
    /// let greeting = USER.sync_scope("ada".to_owned(), || USER.with(|user| format!("hello {user}")));
    /// assert_eq!(greeting, "hello ada");
    /// ```
    #[track_caller]
    pub fn with<R>(&'static self, use_it: impl FnOnce(&T) -> R) -> R {
        match self.try_with(use_it) {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }

    /// Lends the current value.
    ///
    /// # Errors
    /// [`AccessError`] if none is set; then `use_it` is not called.
    ///
    /// ```
    /// ringwork::task_local! {
    ///     static REQUEST: u64;
    /// }
    /// assert!(REQUEST.try_with(|_| ()).is_err());
    /// ```
    pub fn try_with<R>(&'static self, use_it: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let lent = self.current.try_with(|current| {
            let current = current.borrow();
            current.value.as_ref().filter(|_| current.level == level()).map(use_it)
        });
        lent.ok().flatten().ok_or(AccessError(()))
    }

    /// A copy of the current value.
    ///
    /// # Panics
    /// If none is set (see [`try_get`](Self::try_get)).
    ///
    /// ```
    /// ringwork::task_local! {
    ///     static REQUEST: u64;
    /// }
    /// assert_eq!(REQUEST.sync_scope(7, || REQUEST.get()), 7);
    /// ```
    #[track_caller]
    #[must_use = "the copy is the only effect"]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// A copy of the current value.
    ///
    /// # Errors
    /// [`AccessError`] if none is set.
    ///
    /// ```
    /// ringwork::task_local! {
    ///     static REQUEST: u64;
    /// }
    /// assert!(REQUEST.try_get().is_err());
    /// ```
    pub fn try_get(&'static self) -> Result<T, AccessError>
    where
        T: Clone,
    {
        self.try_with(T::clone)
    }

    /// Makes what is in `slot` the current value for one call, and what was current before is so again after
    /// it, also if the call panics.
    fn lend<R>(&'static self, slot: &mut Option<T>, call: impl FnOnce() -> R) -> Result<R, Refused> {
        let before = self.exchange(slot, level())?;
        let _lent = Lent { key: self, slot, before };
        Ok(call())
    }

    /// Makes what is in `slot` current at `level`, and the other way round; the level is the answer.
    fn exchange(&'static self, slot: &mut Option<T>, level: Level) -> Result<Level, Refused> {
        let exchanged = self.current.try_with(|current| match current.try_borrow_mut() {
            Ok(mut current) => {
                std::mem::swap(&mut current.value, slot);
                Ok(std::mem::replace(&mut current.level, level))
            }
            Err(_) => Err(Refused::InUse),
        });
        exchanged.unwrap_or(Err(Refused::Gone))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey")
    }
}

/// Takes a value back out of the thread-local.
struct Lent<'a, T: 'static> {
    key: &'static LocalKey<T>,
    slot: &'a mut Option<T>,
    /// The level of what was current before.
    before: Level,
}

impl<T: 'static> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        // What lets the exchange in lets it out: a borrow ends with the call it was made in, and a destructor
        // of another thread-local that is running now ends before this one is destroyed.
        let back = self.key.exchange(self.slot, self.before);
        debug_assert!(back.is_ok(), "a task-local value was kept");
    }
}

/// Why a value cannot be made current.
enum Refused {
    /// The current one is lent out by `with`.
    InUse,
    /// The thread is ending.
    Gone,
}

impl Refused {
    fn message(&self) -> &'static str {
        match self {
            Self::InUse => {
                "a task-local scope cannot be entered inside `with` of the same key: take a copy (`get`) and \
                 enter the scope outside of `with`"
            }
            Self::Gone => "a task-local scope cannot be entered while the thread-locals are destroyed",
        }
    }
}

pin_project! {
    /// A future with a task-local value; made by [`LocalKey::scope`].
    #[must_use = "futures do nothing unless they are awaited or polled"]
    pub struct TaskLocalFuture<T, F>
    where
        T: 'static,
    {
        key: &'static LocalKey<T>,
        // The value, while the future is not being polled.
        value: Option<T>,
        // None once it is over.
        #[pin]
        future: Option<F>,
    }

    impl<T: 'static, F> PinnedDrop for TaskLocalFuture<T, F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let mut future = this.future;
            if future.is_some() {
                // Where the value cannot be set, the future is dropped without it, with the other fields.
                let _ = this.key.lend(this.value, || future.set(None));
            }
        }
    }
}

impl<T: 'static, F: Future> TaskLocalFuture<T, F> {
    /// Takes the value out, typically once the future is done. A future that goes on finds none set.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::pin::pin;
    /// ringwork::task_local! {
    ///     static STEPS: Cell<u32>;
    /// }
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let step = async { STEPS.with(|steps| steps.set(steps.get() + 1)) };
    /// let mut counted = pin!(STEPS.scope(Cell::new(0), step));
    /// counted.as_mut().await;
    /// assert_eq!(counted.take_value().unwrap().get(), 1);
    /// # }
    /// ```
    pub fn take_value(self: Pin<&mut Self>) -> Option<T> {
        self.project().value.take()
    }
}

impl<T: 'static, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut future = this.future;
        let polled = this.key.lend(this.value, || {
            let polled = future.as_mut().as_pin_mut().map(|future| future.poll(cx));
            if let Some(Poll::Ready(_)) = polled {
                // Dropped here, where its destructor finds the value.
                future.set(None);
            }
            polled
        });
        match polled {
            Ok(Some(polled)) => polled,
            Ok(None) => panic!("a `TaskLocalFuture` was polled again after it had given its output"),
            Err(refused) => panic!("{}", refused.message()),
        }
    }
}

impl<T: 'static, F> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocalFuture").finish_non_exhaustive()
    }
}

/// No value is set for a [`LocalKey`]: the code runs outside of its scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError(());

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task-local value is not set: run this inside `scope` of its key")
    }
}

impl std::error::Error for AccessError {}

/// Declares values of which every task has its own, each a `static` [`LocalKey`](crate::task::LocalKey).
///
/// ```
/// use std::cell::RefCell;
/// ringwork::task_local! {
///     /// The request that is being served.
///     pub static REQUEST: u64;
///     static TRACE: RefCell<Vec<&'static str>>;
/// }
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let serve = async {
///     TRACE.with(|trace| trace.borrow_mut().push("accepted"));
///     REQUEST.get()
/// };
/// let scoped = REQUEST.scope(7, TRACE.scope(RefCell::default(), serve));
/// assert_eq!(ringwork::spawn(scoped).await.unwrap(), 7);
/// # }
/// ```
#[macro_export]
macro_rules! task_local {
    ($($(#[$attr:meta])* $vis:vis static $name:ident: $type:ty);* $(;)?) => {
        $(
            $(#[$attr])*
            $vis static $name: $crate::task::LocalKey<$type> = {
                // Names of items are the user's as well: `$type` must not find this one.
                ::std::thread_local! {
                    static __RINGWORK_CURRENT: ::std::cell::RefCell<$crate::task::LocalValue<$type>> =
                        const { ::std::cell::RefCell::new($crate::task::LocalValue::NONE) };
                }
                $crate::task::LocalKey::new(&__RINGWORK_CURRENT)
            };
        )*
    };
}
