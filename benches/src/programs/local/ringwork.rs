//! Local tasks of ringwork: one core, `spawn_local` on it.

use std::io;
use std::time::Duration;

use ringwork::task::JoinError;

use super::Local;

pub(crate) struct Ringwork;

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
