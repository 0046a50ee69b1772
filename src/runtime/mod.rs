//! L5, the runtime: starting cores, reaching them from outside, ending them.
//!
//! Owns [`Builder`], [`Runtime`] and [`Handle`]. `build` starts all cores on threads of their own; the
//! caller's thread is never a core. What runs on a core is the scheduler's, what a task may do is the rooms'
//! beside this one. The methods of `task::Builder` and `task::JoinSet` that spawn are here too, because they
//! need a runtime.
#![forbid(unsafe_code)]

mod block_on;
mod builder;
mod capabilities;
pub(crate) mod companion;
mod core_thread;
mod current;
mod end;
mod error;
mod features;
mod handle;
mod join_set;
mod monitor;
pub(crate) mod names;
mod panic_policy;
mod placement;
mod report;
mod spawn;
mod task_builder;

pub use crate::sched::watchdog::{StuckIn, StuckReport, Watchdog};
pub use builder::{Builder, Pin, Steal};
pub use capabilities::{Capabilities, Feature, RingSize, Rings};
pub use current::EnterGuard;
pub use error::StartError;
pub use handle::{Handle, Runtime};
pub use panic_policy::PanicPolicy;
pub use report::{AliveTask, ShutdownReport};
pub use spawn::{spawn, spawn_blocking, spawn_heavy, spawn_local, spawn_local_eager, spawn_on};
