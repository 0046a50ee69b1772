//! Local tasks of monoio, on its io_uring driver. It has no `yield_now`.

use std::io;
use std::time::Duration;

use monoio::{IoUringDriver, RuntimeBuilder, spawn};

use super::{Local, yield_once};

pub(crate) struct Monoio;

impl Local for Monoio {
    type Joined = ();

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let mut runtime = RuntimeBuilder::<IoUringDriver>::new().build()?;
        Ok(runtime.block_on(async { spawn(make()).await }))
    }

    fn run_with_drivers<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let mut runtime = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()?;
        Ok(runtime.block_on(async { spawn(make()).await }))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(time)
    }

    fn spawn(future: impl Future<Output = ()> + 'static) -> impl Future<Output = Self::Joined> {
        spawn(future)
    }

    fn start(future: impl Future<Output = ()> + 'static) {
        drop(spawn(future));
    }

    fn yield_now() -> impl Future<Output = ()> {
        yield_once()
    }
}
