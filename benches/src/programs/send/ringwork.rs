//! `Send` tasks of ringwork, which idle cores may steal or not.

use std::io;
use std::thread;

use ringwork::runtime::{Builder, Handle, Pin, Steal};

use super::{WORKERS, Workers};
use crate::sample::Counters;

/// Cores that steal, as is the default.
pub(crate) struct Stealing;

/// Cores from which nothing is ever taken.
pub(crate) struct Never;

impl Workers for Stealing {
    fn run<T: Send + 'static>(load: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
        run(Builder::new(), load)
    }

    fn start(future: impl Future<Output = ()> + Send + 'static) {
        drop(ringwork::spawn(future));
    }

    fn start_on(worker: usize, future: impl Future<Output = ()> + Send + 'static) {
        drop(ringwork::spawn_on(worker, move || future));
    }

    type Handle = Handle;

    fn handle() -> Handle {
        Handle::current()
    }

    fn start_from(handle: &Handle, future: impl Future<Output = ()> + Send + 'static) {
        drop(handle.spawn(future));
    }

    fn thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
        ringwork::thread::spawn(run)
    }

    async fn blocking(call: impl FnOnce() + Send + 'static) {
        ringwork::spawn_blocking(call).await.expect("the call does not panic");
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        ringwork::task::yield_now()
    }

    fn counters() -> Option<Counters> {
        Some(counters(&Handle::current()))
    }
}

impl Workers for Never {
    fn run<T: Send + 'static>(load: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
        run(Builder::new().steal(Steal::Never), load)
    }

    fn start(future: impl Future<Output = ()> + Send + 'static) {
        Stealing::start(future);
    }

    fn start_on(worker: usize, future: impl Future<Output = ()> + Send + 'static) {
        Stealing::start_on(worker, future);
    }

    type Handle = Handle;

    fn handle() -> Handle {
        Handle::current()
    }

    fn start_from(handle: &Handle, future: impl Future<Output = ()> + Send + 'static) {
        Stealing::start_from(handle, future);
    }

    fn thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
        Stealing::thread(run)
    }

    fn blocking(call: impl FnOnce() + Send + 'static) -> impl Future<Output = ()> + Send {
        Stealing::blocking(call)
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        Stealing::yield_now()
    }

    fn counters() -> Option<Counters> {
        Stealing::counters()
    }
}

fn run<T: Send + 'static>(builder: Builder, load: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    let runtime = builder.cores(WORKERS).pin(Pin::Each).build().map_err(io::Error::other)?;
    runtime.block_on(runtime.spawn(load)).map_err(io::Error::other)
}

/// What all cores have counted.
pub(crate) fn counters(handle: &Handle) -> Counters {
    let metrics = handle.metrics();
    let sum = |of: fn(&ringwork::CoreMetrics) -> u64| metrics.cores.iter().map(of).sum();
    Counters {
        enters: sum(|core| core.enters),
        parks: sum(|core| core.parks),
        doorbells: sum(|core| core.doorbells),
        steals: sum(|core| core.steals),
        tasks_stolen: sum(|core| core.tasks_stolen),
        overflows: sum(|core| core.overflows),
        polls: metrics.cores.iter().map(|core| core.polls).collect(),
    }
}
