//! Local tasks of ringwork: one core, and on it `spawn_local`, which queues, or `spawn_local_eager`, which
//! polls the new task once before it returns, as glommio's `spawn_local` does.

use std::io;
use std::time::Duration;

use ringwork::task::JoinError;

use super::Local;

pub(crate) struct Ringwork;

/// As [`Ringwork`], with tasks that are polled when they are spawned.
pub(crate) struct Eager;

impl Local for Eager {
    type Joined = Result<(), JoinError>;

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        Ringwork::run(make)
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + 'static {
        Ringwork::sleep(time)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) -> impl Future<Output = Self::Joined> {
        ringwork::spawn_local_eager(future)
    }

    fn start(future: impl Future<Output = ()> + 'static) {
        drop(ringwork::spawn_local_eager(future));
    }

    fn yield_now() -> impl Future<Output = ()> {
        Ringwork::yield_now()
    }
}

impl Local for Ringwork {
    type Joined = Result<(), JoinError>;

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let runtime = ringwork::runtime::Builder::new().cores(1).build().map_err(io::Error::other)?;
        let running = runtime.handle().spawn_on(0, make);
        runtime.block_on(running).map_err(io::Error::other)
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + 'static {
        ringwork::time::sleep(time)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) -> impl Future<Output = Self::Joined> {
        ringwork::spawn_local(future)
    }

    fn start(future: impl Future<Output = ()> + 'static) {
        drop(ringwork::spawn_local(future));
    }

    fn yield_now() -> impl Future<Output = ()> {
        ringwork::task::yield_now()
    }
}
