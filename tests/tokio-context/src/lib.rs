//! What the tests beside have in common: a runtime with tokio's context, and servers on ringwork for the
//! libraries to talk to.
#![forbid(unsafe_code)]

pub mod http;
pub mod resp;

use ringwork::runtime::{Builder, Pin, Runtime};
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Longer than anything takes, shorter than a person waits.
pub const SOON: Duration = Duration::from_secs(60);

/// A builder of runtimes with `cores` cores that have tokio's context.
pub fn builder(cores: usize) -> Builder {
    Builder::new().cores(cores).pin(Pin::Off).tokio_context()
}

/// A runtime with `cores` cores that have tokio's context.
///
/// # Panics
/// If it does not start.
pub fn runtime(cores: usize) -> Runtime {
    builder(cores).build().expect("a runtime starts")
}

/// Runs `call` on a thread of its own and gives what it returns.
///
/// # Panics
/// If it panics, or is not over soon.
pub fn soon<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (over, done) = channel();
    thread::spawn(move || over.send(call()));
    match done.recv_timeout(SOON) {
        Ok(value) => value,
        Err(RecvTimeoutError::Disconnected) => panic!("it panicked"),
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
    }
}

/// The name of the calling thread.
pub fn thread_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// How many threads of this process have a name that starts with `start`.
///
/// # Panics
/// If `/proc` cannot be read.
pub fn threads_called(start: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("there is /proc");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with(start)).count()
}

/// The guide, whose example needs more of tokio than the main crate asks for.
#[cfg(doctest)]
#[doc = include_str!("../../../src/compat/tokio_context/guide.md")]
pub struct Guide;
