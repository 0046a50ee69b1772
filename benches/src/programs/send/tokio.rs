//! `Send` tasks of tokio: the multi-thread runtime with both drivers, as in tokio's own benchmarks of it.

use std::io;

use tokio::runtime::{Builder, Handle};

use super::{WORKERS, Workers};
use crate::sample::Counters;

pub(crate) struct MultiThread;

impl Workers for MultiThread {
    fn run<T: Send + 'static>(load: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        runtime.block_on(runtime.spawn(load)).map_err(io::Error::other)
    }

    fn start(future: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(future));
    }

    fn start_on(_worker: usize, future: impl Future<Output = ()> + Send + 'static) {
        Self::start(future);
    }

    type Handle = Handle;

    fn handle() -> Handle {
        Handle::current()
    }

    fn start_from(handle: &Handle, future: impl Future<Output = ()> + Send + 'static) {
        drop(handle.spawn(future));
    }

    async fn blocking(call: impl FnOnce() + Send + 'static) {
        tokio::task::spawn_blocking(call).await.expect("the call does not panic");
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    fn counters() -> Option<Counters> {
        None
    }
}
