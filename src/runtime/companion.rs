//! What runs beside a runtime from its start to its end, and around the threads of that runtime.
//!
//! Owns the trait [`Companion`] and when its methods are called. It knows no companion: there is one in
//! `compat`, a runtime of tokio's. What is thread-local and has to be undone in order, as the context of that
//! runtime has, cannot be a guard that is kept somewhere; so a companion is handed what a thread does and
//! calls it.
//!
//! Around is: all of a core's work, from its start hook to the last message it disposes of; all of a thread
//! of the blocking pool; `block_on`; and the end of tasks that a stuck core, or a start that failed, leaves
//! to others. [`Handle::enter`] is not: its guards may be dropped in any order.
#![forbid(unsafe_code)]

use super::Handle;
use super::panic_policy::Later;
use crate::base::guard::contained;
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Something that accompanies one runtime.
pub(crate) trait Companion: Send + Sync {
    /// The runtime is there, its cores are about to start; `inside` is for threads of the companion's own.
    fn start(&self, inside: Inside);

    /// Calls `work` once, on a thread of the runtime or one that is about to poll for it.
    fn around(&self, work: &mut dyn FnMut());

    /// Keeps what it has started from ending, also after [`Companion::end`], until it is dropped. `None` if
    /// that has ended.
    fn keep(&self) -> Option<Box<dyn Any + Send>>;

    /// Whether the calling thread is one of its own, so that it must not wait for [`Companion::end`].
    fn is_own_thread(&self) -> bool;

    /// The cores have ended, or are left behind: ends what it has started once nobody keeps it, and waits for
    /// that until `deadline`. May be called without a start, and again.
    fn end(&self, deadline: Instant);
}

/// Makes the companion of one runtime, whose name is given.
pub(crate) type Make = Arc<dyn Fn(&str) -> io::Result<Arc<dyn Companion>> + Send + Sync>;

/// Enters the runtime on the calling thread, one of its companion's, until the value is dropped there. The
/// function keeps nothing alive.
pub(crate) type Inside = Arc<dyn Fn() -> Box<dyn Any> + Send + Sync>;

/// The way into a runtime that is being made.
pub(super) fn inside(later: &Later) -> Inside {
    let later = later.clone();
    Arc::new(move || match later.get() {
        Some(handle) => Box::new(handle.enter()),
        None => Box::new(()),
    })
}

/// Runs `work` with the companion, if there is one, around it.
///
/// # Panics
/// If the companion does not call it.
pub(super) fn around<T>(companion: Option<&Arc<dyn Companion>>, work: impl FnOnce() -> T) -> T {
    let Some(companion) = companion else { return work() };
    let (mut work, mut done) = (Some(work), None);
    companion.around(&mut || {
        if let Some(work) = work.take() {
            done = Some(work());
        }
    });
    done.expect("a companion calls what it is given")
}

/// Runs `work` inside the runtime, with the companion around it: what a core or one of its tasks would do,
/// on a thread that is none of the runtime's.
pub(super) fn within<T>(handle: &Handle, work: impl FnOnce() -> T) -> T {
    around(handle.companion(), || {
        let _entered = handle.enter();
        work()
    })
}

/// What a thread of the runtime does for all of its life: inside the runtime, with the companion around it,
/// which does not end before.
pub(super) fn for_life(handle: Handle, work: &mut dyn FnMut()) {
    let kept = handle.companion().and_then(|companion| companion.keep());
    within(&handle, work);
    contained(|| drop(kept));
}
