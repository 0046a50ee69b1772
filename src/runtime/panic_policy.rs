//! What a panic of a task means for its runtime.
//!
//! Owns [`PanicPolicy`] and turns it into what the scheduler and the blocking pool call. That a panic ends
//! its task and reaches whoever joins it is the task room's and no policy: that always holds.
#![forbid(unsafe_code)]

use super::Handle;
use super::builder::DROP_PATIENCE;
use super::companion::Companion;
use crate::blocking::Pool;
use crate::sched::{Downfall, Shared};
use crate::task::{OnPanic, TaskPanic};
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

/// What happens when a task panics, besides that the task ends and its handle says so; for
/// [`Builder::on_task_panic`](super::Builder::on_task_panic).
///
/// A panic of a task is one in its poll, in the drop of its future, or in the drop of an output that nobody
/// took. Jobs of [`spawn_blocking`](crate::spawn_blocking) and [`spawn_heavy`](crate::spawn_heavy) are tasks
/// too. A panic inside [`block_on`](Handle::block_on) is none: it goes on in its caller.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// Nothing. The default.
    #[default]
    Contain,
    /// The function is called first, on the thread that panicked, with no lock held; the handle learns of the
    /// panic afterwards. It should not block, because other tasks of that core wait meanwhile. A panic in it
    /// is contained. See [`PanicPolicy::call`].
    Call(Arc<dyn Fn(&TaskPanic<'_>) + Send + Sync>),
    /// The runtime shuts down, as when it is dropped: all cores stop, all other tasks end as cancelled, jobs
    /// that wait for the blocking pool too. Whoever then drops it or shuts it down still says how long that
    /// may take.
    ///
    /// [`Runtime::run_main`](super::Runtime::run_main), and with it `#[ringwork::main]`, and every
    /// [`block_on`](Handle::block_on) that waits panic then, with a message that names the task, the place it
    /// was spawned and the words of its panic. What their futures give after the panic, be it an output or a
    /// panic of their own, may be a consequence of it and is dropped. A `block_on` whose future is ready at
    /// its first poll does not wait and returns the output. If it is the main future that panicked, its own
    /// panic comes out of `run_main`.
    ShutDown,
}

impl PanicPolicy {
    /// Calls `function` for each panic of a task.
    ///
    /// ```
    /// use ringwork::runtime::{Builder, PanicPolicy};
    ///
    /// let policy = PanicPolicy::call(|panic| eprintln!("{panic}"));
    /// let runtime = Builder::new().cores(1).on_task_panic(policy).build()?;
    /// # drop(runtime);
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    pub fn call(function: impl Fn(&TaskPanic<'_>) + Send + Sync + 'static) -> Self {
        Self::Call(Arc::new(function))
    }

    /// What the scheduler calls, and what it keeps if a panic is to end the runtime that `later` will be.
    pub(super) fn arm(&self, later: &Later) -> (OnPanic, Option<Arc<Downfall>>) {
        match self {
            Self::Contain => (OnPanic::default(), None),
            Self::Call(function) => (OnPanic::call(Arc::clone(function)), None),
            Self::ShutDown => {
                let (downfall, later) = (Arc::new(Downfall::default()), later.clone());
                let kept = Arc::clone(&downfall);
                let shut_down = move |panic: &TaskPanic<'_>| {
                    downfall.happens(panic);
                    if let Some(handle) = later.get() {
                        handle.begin_end_alone(Instant::now() + DROP_PATIENCE);
                    }
                };
                (OnPanic::call(Arc::new(shut_down)), Some(kept))
            }
        }
    }
}

impl fmt::Debug for PanicPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Contain => "Contain",
            Self::Call(_) => "Call(a function)",
            Self::ShutDown => "ShutDown",
        })
    }
}

/// The handle of a runtime that is being made, for its own parts. Keeps nothing alive.
#[derive(Clone, Default)]
pub(super) struct Later(Arc<OnceLock<(Weak<Shared>, Weak<Pool>, Option<Weak<dyn Companion>>)>>);

impl Later {
    /// The runtime is there.
    pub(super) fn set(&self, handle: &Handle) {
        let companion = handle.companion().map(Arc::downgrade);
        let _ = self.0.set((Arc::downgrade(handle.shared()), Arc::downgrade(&handle.pool()), companion));
    }

    /// The handle, while there is somebody else who has one.
    pub(super) fn get(&self) -> Option<Handle> {
        let (shared, pool, companion) = self.0.get()?;
        let companion = match companion {
            Some(companion) => Some(companion.upgrade()?),
            None => None,
        };
        Some(Handle::new(shared.upgrade()?, pool.upgrade()?, companion))
    }
}
