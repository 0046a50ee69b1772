//! Where hyper's own tasks run.
#![forbid(unsafe_code)]

use crate::runtime::{spawn, spawn_local};
use hyper::rt;
use std::future::Future;

/// Runs hyper's tasks as `Send` tasks, which start on the core that asks and may move to one that idles.
///
/// # Panics
/// [`execute`](rt::Executor::execute) panics on a thread that is in no runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl<F> rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(spawn(future));
    }
}

/// Runs hyper's tasks as local ones, which need not be `Send` and never leave the core that asks.
///
/// # Panics
/// [`execute`](rt::Executor::execute) panics on a thread that is no core.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExecutor;

impl<F> rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(spawn_local(future));
    }
}
