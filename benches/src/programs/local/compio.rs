//! Local tasks of compio, on its io_uring driver. It has no `yield_now`.

use std::io;
use std::time::Duration;

use compio::runtime::{JoinError, Runtime, spawn};

use super::{Local, yield_once};

pub(crate) struct Compio;

impl Local for Compio {
    type Joined = Result<(), JoinError>;

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let runtime = Runtime::new()?;
        runtime.block_on(async { spawn(make()).await }).map_err(|error| io::Error::other(error.to_string()))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + 'static {
        compio::time::sleep(time)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) -> impl Future<Output = Self::Joined> {
        spawn(future)
    }

    fn start(future: impl Future<Output = ()> + 'static) {
        spawn(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> {
        yield_once()
    }
}
