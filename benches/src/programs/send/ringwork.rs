//! `Send` tasks of ringwork, which idle cores may steal.

use std::io;

use ringwork::runtime::Builder;

use super::{WORKERS, Workers};

pub(crate) struct Stealing;

impl Workers for Stealing {
    fn run<T: Send + 'static>(load: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
        let runtime = Builder::new().cores(WORKERS).build().map_err(io::Error::other)?;
        runtime.block_on(runtime.spawn(load)).map_err(io::Error::other)
    }

    fn start(future: impl Future<Output = ()> + Send + 'static) {
        drop(ringwork::spawn(future));
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        ringwork::task::yield_now()
    }
}
