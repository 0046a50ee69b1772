//! The pool of the runtime this thread is in.
//!
//! Owns the room's one thread-local, set by the guard that the runtime holds wherever it is entered.
#![forbid(unsafe_code)]

use super::Pool;
use crate::base::reach::NO_RUNTIME;
use crate::sys::fork;
use crate::sys::sqe::gone;
use crate::task::{JoinError, JoinHandle};
use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

thread_local! {
    static CURRENT: RefCell<Vec<(u64, Arc<Pool>)>> = const { RefCell::new(Vec::new()) };
}

/// Undoes [`enter`] when dropped; guards may be dropped in any order.
#[must_use = "the pool is current only while the guard lives"]
#[derive(Debug)]
pub(crate) struct Entered {
    ticket: u64,
    _here: PhantomData<*const ()>,
}

/// Makes `pool` the one that [`spawn`] uses on this thread.
pub(crate) fn enter(pool: Arc<Pool>) -> Entered {
    let ticket = CURRENT.with_borrow_mut(|current| {
        let ticket = current.last().map_or(0, |(ticket, _)| ticket + 1);
        current.push((ticket, pool));
        ticket
    });
    Entered { ticket, _here: PhantomData }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let removed = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            let at = current.iter().position(|(ticket, _)| *ticket == self.ticket)?;
            Some(current.remove(at))
        });
        drop(removed);
    }
}

/// Runs a call that blocks on the pool of the runtime this thread is in.
///
/// # Errors
/// If the system refuses a thread and the pool has none.
///
/// # Panics
/// If this thread is in no runtime.
#[track_caller]
pub(crate) fn spawn<F, T>(call: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let pool = CURRENT.with_borrow(|current| current.last().map(|(_, pool)| Arc::clone(pool)));
    let pool = pool.unwrap_or_else(|| panic!("{NO_RUNTIME}"));
    pool.spawn(call, Location::caller())
}

/// As [`spawn`], for who waits for the result and nothing else.
///
/// # Errors
/// As there, and if the call panicked, if the runtime has shut down, or in a forked child.
///
/// # Panics
/// As there.
#[track_caller]
pub(crate) fn run<F, T>(call: F) -> impl Future<Output = io::Result<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let job = spawn(call);
    async move { job?.await.map_err(why) }
}

/// Why a job that nobody else knows has no result.
pub(crate) fn why(error: JoinError) -> io::Error {
    if !error.is_cancelled() {
        return error.into();
    }
    if fork::is_child() {
        return fork::error();
    }
    // Nobody has its handle to abort it. A pool that has no thread, and cannot get one, gives jobs up, too.
    let pool = CURRENT.with_borrow(|current| current.last().map(|(_, pool)| Arc::clone(pool)));
    if pool.is_none_or(|pool| pool.is_closed()) { gone() } else { error.into() }
}
