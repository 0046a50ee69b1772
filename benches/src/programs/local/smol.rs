//! Local tasks of smol: a `LocalExecutor`, which lives as long as its thread, for tasks are spawned without a
//! borrow of it. Only where the start of a runtime is measured there is a new one each time.

use std::io;
use std::time::Duration;

use smol::{LocalExecutor, Timer, block_on, future};

use super::Local;

pub(crate) struct Smol;

thread_local! {
    static EXECUTOR: &'static LocalExecutor<'static> = Box::leak(Box::new(LocalExecutor::new()));
}

impl Local for Smol {
    type Joined = ();

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let executor = EXECUTOR.with(|executor| *executor);
        Ok(block_on(executor.run(async { executor.spawn(make()).await })))
    }

    /// An executor is all that is started: the reactor, which has a thread, is there once for the process.
    fn start_and_end() -> io::Result<()> {
        let executor = LocalExecutor::new();
        block_on(executor.run(async { executor.spawn(async {}).await }));
        Ok(())
    }

    async fn sleep(time: Duration) {
        Timer::after(time).await;
    }

    fn spawn(future: impl Future<Output = ()> + 'static) -> impl Future<Output = Self::Joined> {
        EXECUTOR.with(|executor| executor.spawn(future))
    }

    fn start(future: impl Future<Output = ()> + 'static) {
        EXECUTOR.with(|executor| executor.spawn(future)).detach();
    }

    fn yield_now() -> impl Future<Output = ()> {
        future::yield_now()
    }
}
