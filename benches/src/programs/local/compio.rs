//! Local tasks of compio, on its io_uring driver, which asks the kernel for what a ring of one thread can
//! have. It has no `yield_now`.

use std::io;
use std::time::Duration;

use compio::driver::ProactorBuilder;
use compio::runtime::{JoinError, Runtime, RuntimeBuilder, spawn};

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
        let runtime = runtime()?;
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

/// A runtime on [`driver`].
pub(crate) fn runtime() -> io::Result<Runtime> {
    RuntimeBuilder::new().with_proactor(driver()).build()
}

/// A driver whose ring has one issuer and takes completions when it waits: cheaper here than the driver's
/// defaults, in the median of turns of `one echo-64x64 compio`; in `one connect compio` alike.
pub(crate) fn driver() -> ProactorBuilder {
    let mut driver = ProactorBuilder::new();
    driver.single_issuer(true).defer_taskrun(true).taskrun_flag(true);
    driver
}
