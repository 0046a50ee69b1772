//! Local tasks of tokio: a `LocalSet` on the current-thread runtime. It has no drivers of I/O and time, as in
//! tokio's own benchmarks of this runtime: with them each `yield_now` would ask epoll.

use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{self, JoinError, spawn_local};

use super::Local;

pub(crate) struct LocalSet;

impl Local for LocalSet {
    type Joined = Result<(), JoinError>;

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let runtime = Builder::new_current_thread().build()?;
        let tasks = task::LocalSet::new();
        tasks.block_on(&runtime, async { spawn_local(make()).await }).map_err(io::Error::other)
    }

    fn run_with_drivers<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tasks = task::LocalSet::new();
        tasks.block_on(&runtime, async { spawn_local(make()).await }).map_err(io::Error::other)
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
