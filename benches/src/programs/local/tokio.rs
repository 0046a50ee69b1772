//! Local tasks of tokio, on its `LocalRuntime`. It has no drivers of I/O and time, as in tokio's own
//! benchmarks of the current-thread runtime: with them each `yield_now` would ask epoll.

use std::io;
use std::time::Duration;

use tokio::runtime::{self, Builder, LocalOptions};
use tokio::task::{self, JoinError, spawn_local};

use super::Local;

pub(crate) struct LocalRuntime;

impl Local for LocalRuntime {
    type Joined = Result<(), JoinError>;

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        run(Builder::new_current_thread().build_local(LocalOptions::default())?, make)
    }

    fn run_with_drivers<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        run(Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?, make)
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
