//! Local tasks of glommio, in the default queue of an executor that the harness has pinned.
//!
//! Twice, because glommio's `spawn_local` polls the new task once before it returns, as no other peer does:
//! an empty task is over then, and awaiting it one poll less. `Queued` spawns into the queue that is running,
//! by which a task waits for its turn.

use std::io;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement, executor, spawn_local, spawn_local_into};

use super::Local;

pub(crate) struct Glommio;

/// As [`Glommio`], with tasks that are queued when they are spawned.
pub(crate) struct Queued;

impl Local for Queued {
    type Joined = ();

    fn run<F, Fut>(make: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        Glommio::run(make)
    }

    async fn sleep(time: Duration) {
        Glommio::sleep(time).await;
    }

    fn spawn(future: impl Future<Output = ()> + 'static) -> impl Future<Output = Self::Joined> {
        let queue = executor().current_task_queue();
        spawn_local_into(future, queue).expect("the queue that is running is there")
    }

    fn start(future: impl Future<Output = ()> + 'static) {
        let queue = executor().current_task_queue();
        spawn_local_into(future, queue).expect("the queue that is running is there").detach();
    }

    async fn yield_now() {
        Glommio::yield_now().await;
    }
}

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
