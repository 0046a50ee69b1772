//! The core this thread is, and data of its own for each core.
//!
//! # For the house
//! L5.
#![forbid(unsafe_code)]

use crate::sched;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::LocalKey;

/// The number of the core this thread is, within its runtime; `None` on any other thread.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// assert_eq!(ringwork::core::current(), Some(0));
/// assert_eq!(ringwork::spawn_blocking(ringwork::core::current).await.unwrap(), None);
/// # }
/// ```
pub fn current() -> Option<usize> {
    sched::current_index()
}

/// Brings the task that awaits it to core `core`: from there on its ops go to that core's ring.
///
/// The task goes to the back of that core's queue. It stays there until a core that has been idle takes it,
/// so this is a hint about where work is best done, not a promise. Ready with whether the task is at that
/// core: it may have been taken on the way, or sent past a core that is stuck. Dropping the future before
/// it has been polled does nothing.
///
/// # Panics
/// If there is no core of that number; in a task that is not `Send` (`spawn_local`, `spawn_on`, the main
/// future) or outside of any.
///
/// ```
/// # let runtime = ringwork::runtime::Builder::new().cores(2).build().unwrap();
/// let task = runtime.spawn(async {
///     let came = ringwork::core::move_to(1).await;
///     assert!(!came || ringwork::core::current() == Some(1));
/// });
/// runtime.block_on(task).unwrap();
/// ```
pub fn move_to(core: usize) -> MoveTo {
    MoveTo { core, asked: false }
}

/// The future of [`move_to`].
#[must_use = "futures do nothing unless they are awaited or polled"]
#[derive(Debug)]
pub struct MoveTo {
    core: usize,
    asked: bool,
}

impl Future for MoveTo {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let is_there = current() == Some(self.core);
        if is_there || self.asked {
            return Poll::Ready(is_there);
        }
        if !sched::go_on_at(self.core) {
            return Poll::Ready(false);
        }
        self.asked = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A value of which every core has its own; made by [`core_local!`](crate::core_local).
pub struct CoreLocal<T: 'static> {
    key: &'static LocalKey<T>,
}

impl<T: 'static> CoreLocal<T> {
    #[doc(hidden)]
    pub const fn new(key: &'static LocalKey<T>) -> Self {
        Self { key }
    }

    /// Lends this core's value; it is made when first used.
    ///
    /// # Panics
    /// On a thread that is no core. In the destructor of another thread-local or core-local value, if this
    /// one has been dropped already.
    #[track_caller]
    pub fn with<R>(&'static self, use_it: impl FnOnce(&T) -> R) -> R {
        let on_a_core = sched::is_cores_thread();
        assert!(on_a_core, "a core-local value was used on a thread that is no core: see spawn_on");
        self.key.with(use_it)
    }
}

impl<T> std::fmt::Debug for CoreLocal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CoreLocal")
    }
}

/// Declares a value of which every core has its own. It need be neither `Send` nor `Sync`.
///
/// It is dropped when the core's thread ends, after the core's tasks and ring. A destructor that does not
/// return in the time that the shutdown has makes the core one that is
/// [left behind](crate::runtime::ShutdownReport::stuck_cores). It may use other values of the core, as far as
/// they have not been dropped before. The thread is in no runtime then: spawning there panics, and a panic in
/// such a destructor aborts the process, as with `thread_local!`.
///
/// ```
/// use std::cell::Cell;
/// ringwork::core_local! {
///     static REQUESTS: Cell<u64> = Cell::new(0);
/// }
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// REQUESTS.with(|requests| requests.set(requests.get() + 1));
/// assert_eq!(REQUESTS.with(Cell::get), 1);
/// # }
/// ```
#[macro_export]
macro_rules! core_local {
    ($($(#[$attr:meta])* $vis:vis static $name:ident: $type:ty = $init:expr;)+) => {
        $(
            $(#[$attr])*
            $vis static $name: $crate::core::CoreLocal<$type> = {
                // Names of items are the user's as well: `$type` and `$init` must not find this one.
                ::std::thread_local! { static __RINGWORK_VALUE: $type = $init; }
                $crate::core::CoreLocal::new(&__RINGWORK_VALUE)
            };
        )+
    };
}
