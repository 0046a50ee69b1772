//! An async runtime for Linux: one pinned thread, one io_uring and one run queue per core.
#![allow(dead_code)]

extern crate self as ringwork;

mod base;
mod blocking;
pub mod buf;
pub mod core;
pub mod fs;
pub mod io;
mod metrics;
pub mod net;
pub mod process;
mod ring;
pub mod runtime;
mod sched;
pub mod signal;
mod sys;
pub mod task;
pub mod thread;
pub mod time;

pub use metrics::{CoreMetrics, Metrics};
pub use ringwork_macros::{main, test};
pub use runtime::{serve_per_core, spawn, spawn_blocking, spawn_heavy, spawn_local, spawn_on};
