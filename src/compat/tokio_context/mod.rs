//! A tokio runtime beside, for libraries that call one inside.
//!
//! Owns [`Builder::tokio_context`] and [`Builder::tokio_context_of`]. A library made for tokio (`reqwest`,
//! `redis`, `sqlx`, …) asks for the runtime that its thread is in: `tokio::spawn`, `tokio::time::sleep`,
//! `TcpStream::connect` and `Handle::current` panic where there is none. With the first of the two there is
//! one: small, with its I/O and time drivers on one thread of its own, entered wherever this runtime's code
//! runs. Its tasks are not ours and nothing of ours is made of it; what is measured, counted and balanced
//! here knows nothing of it.
//!
//! # The protocol
//! 1. `build` starts the helper thread, which makes a tokio runtime of its own (`current_thread`, so that
//!    there is no other thread) and hands its handle out. It runs under the process's start-up mask, and so
//!    do the threads of tokio's blocking pool: a pinned core would pass its one CPU on to them.
//! 2. The cores start. Each core's thread enters tokio's context once, *around* all it does: before its start
//!    hook, until its tasks are dropped, its inbox is closed and its guards are gone. tokio wants its guards
//!    dropped in the reverse order on their thread, so none is kept anywhere: the guard is a local variable
//!    around the call that is the core's life. The threads of the blocking pool do the same, and `block_on`
//!    around its polls. [`Handle::enter`](crate::runtime::Handle::enter) does not: its guards may be dropped
//!    in any order.
//! 3. A poll costs nothing more, and a task that moves meets the same context on the other core. The helper
//!    thread, and those of tokio's blocking pool, are inside of our runtime: a future that tokio runs may
//!    spawn here and use our streams.
//! 4. At the end the cores go first: their tasks are dropped while tokio's runtime is in full work, on
//!    threads that are in its context. So destructors may call it. Each core, and each thread of the blocking
//!    pool, *keeps* the helper for as long as it lives; the runtime keeps it until cores and pool have ended
//!    or are left behind.
//! 5. When nobody keeps it, the helper thread shuts its runtime down, for as long as the deadline of our end
//!    leaves it: blocking jobs that run are awaited, tasks are dropped on the helper thread. Whoever ends our
//!    runtime waits for that, until the deadline. A core that is left behind, stuck in a poll, keeps the
//!    helper for itself.
//! 6. Ended on a thread of tokio's, by one of its tasks or blocking jobs, our runtime waits on a thread made
//!    for that, as when it is ended on a core.
//!
//! Each `build` starts a helper of its own, and a process may have any number. In a forked child there is no
//! helper, as there are no cores: what is called there of tokio fails as it would without ringwork.
#![cfg_attr(not(doctest), doc = "\n")]
#![cfg_attr(not(doctest), doc = include_str!("guide.md"))]
#![forbid(unsafe_code)]

mod helper;
mod until;

use crate::runtime::Builder;
use crate::runtime::companion::{Companion, Inside};
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;

/// The context of tokio.
impl Builder {
    /// Starts a small tokio runtime beside, on one thread more, and enters its context on all cores, in the
    /// blocking pool and in `block_on`, so that libraries that call tokio inside run in our tasks. See
    /// [`compat::tokio_context`](crate::compat::tokio_context) for what it costs and what does not work.
    ///
    /// It has the I/O and time drivers of which somebody in the build has turned on tokio's features (`net`,
    /// `time`). It is shut down at the end of this runtime, after the cores. The last of this and
    /// [`tokio_context_of`](Self::tokio_context_of) counts.
    ///
    /// # Errors
    /// [`build`](Self::build) fails if tokio gets no thread or no descriptors.
    ///
    /// ```
    /// use ringwork::runtime::Builder;
    ///
    /// let runtime = Builder::new().cores(1).tokio_context().build()?;
    /// let task = runtime.spawn(async {
    ///     // On a core; the task of tokio's is on the helper thread.
    ///     tokio::spawn(async { 6 * 7 }).await.unwrap()
    /// });
    /// assert_eq!(runtime.block_on(task).unwrap(), 42);
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    pub fn tokio_context(self) -> Self {
        self.companion(Arc::new(|name| Ok(Arc::new(helper::Helper::make(name)?))))
    }

    /// As [`tokio_context`](Self::tokio_context), with the context of a tokio runtime that there is already:
    /// for a ringwork runtime inside of a tokio program.
    ///
    /// That runtime has to be driven by others all the time, and its end is theirs: if it ends before this
    /// one, what tasks of ours await of it fails, and its timers and sockets panic or give errors, as tokio
    /// says. Threads that its blocking pool starts for a pinned core inherit that core's one CPU, unless its
    /// builder is given `on_thread_start(ringwork::thread::unpin)`.
    ///
    /// ```
    /// use ringwork::runtime::Builder;
    ///
    /// let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// let answer = tokio.block_on(async {
    ///     let ringwork = Builder::new().cores(1).tokio_context_of(tokio.handle().clone()).build()?;
    ///     let task = ringwork.spawn(async { tokio::spawn(async { 6 * 7 }).await.unwrap() });
    ///     Ok::<_, ringwork::runtime::StartError>(task.await.unwrap())
    /// });
    /// assert_eq!(answer?, 42);
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    pub fn tokio_context_of(self, tokio: Handle) -> Self {
        self.companion(Arc::new(move |_| Ok(Arc::new(Given(tokio.clone())))))
    }
}

/// A runtime that others run and end.
struct Given(Handle);

impl Companion for Given {
    fn start(&self, _inside: Inside) {}

    fn around(&self, work: &mut dyn FnMut()) {
        let _context = self.0.enter();
        work();
    }

    fn keep(&self) -> Option<Box<dyn Any + Send>> {
        None
    }

    fn is_own_thread(&self) -> bool {
        false
    }

    fn end(&self, _deadline: Instant) {}
}

/// What goes wrong while the helper starts, as an error of the system.
fn died() -> io::Error {
    io::Error::other("the thread of the tokio runtime panicked")
}
