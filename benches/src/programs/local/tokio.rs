//! Local tasks of tokio, on its `LocalRuntime`. It has no drivers of I/O and time, as in tokio's own
//! benchmarks of the current-thread runtime: with them each `yield_now` would ask epoll. Its pool for
//! blocking calls has as many threads as ever, or one: on one CPU more of them only take turns.

use std::io;
use std::time::Duration;

use tokio::runtime::{self, Builder, LocalOptions};
use tokio::task::{self, JoinError, spawn_local};

use super::Local;

/// With so many threads for blocking calls at most.
pub(crate) struct WithPool<const THREADS: usize>;

/// With tokio's default.
pub(crate) type LocalRuntime = WithPool<512>;
pub(crate) type OneBlocking = WithPool<1>;

impl<const THREADS: usize> Local for WithPool<THREADS> {
    type Joined = Result<(), JoinError>;

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let mut builder = Builder::new_current_thread();
        run(builder.max_blocking_threads(THREADS).build_local(LocalOptions::default())?, make)
    }

    fn run_with_drivers<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let mut builder = Builder::new_current_thread();
        builder.max_blocking_threads(THREADS).enable_all();
        run(builder.build_local(LocalOptions::default())?, make)
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(time)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) -> impl Future<Output = Self::Joined> {
        spawn_local(future)
    }

    fn start(future: impl Future<Output = ()> + 'static) {
        drop(spawn_local(future));
    }

    fn yield_now() -> impl Future<Output = ()> {
        task::yield_now()
    }
}

fn run<F, Fut>(runtime: runtime::LocalRuntime, make: F) -> io::Result<Fut::Output>
where
    F: FnOnce() -> Fut,
    Fut: Future + 'static,
    Fut::Output: 'static,
{
    runtime.block_on(async { spawn_local(make()).await }).map_err(io::Error::other)
}
