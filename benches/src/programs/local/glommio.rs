//! Local tasks of glommio, in the default queue of an executor that the harness has pinned.

use std::io;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement, executor, spawn_local};

use super::Local;

pub(crate) struct Glommio;

impl Local for Glommio {
    type Joined = ();

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .make()
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(executor.run(async { spawn_local(make()).await }))
    }

    async fn sleep(time: Duration) {
        glommio::timer::sleep(time).await;
    }

    fn spawn(future: impl Future<Output = ()> + 'static) -> impl Future<Output = Self::Joined> {
        spawn_local(future)
    }

    fn start(future: impl Future<Output = ()> + 'static) {
        spawn_local(future).detach();
    }

    async fn yield_now() {
        executor().yield_now().await;
    }
}
