//! Time: waiting for it, limiting by it, ticking with it.
//!
//! | what | how |
//! |---|---|
//! | wait | [`sleep`], [`sleep_until`] |
//! | limit a future | [`timeout`], [`timeout_at`] |
//! | tick | [`interval`], [`interval_at`] |
//! | tell the time | [`Instant`], [`Duration`] |
//! | take the clock in hand, in tests | [`pause`], [`resume`], [`advance`] |
//!
//! Names and meaning are tokio's. What is ours is where a timer lives: in the wheel of the core whose task
//! first polled it, so that making, firing and cancelling one takes no lock and, after a while, no
//! allocation. All these types are `Send` and `Sync`; used on another core or thread, they send a message
//! to the timer's home. A core that waits for the kernel passes its next deadline along; no thread and no
//! kernel timer is spent on time.
//!
//! Timers have a resolution of one millisecond and are never early, except that thirty years are as good as
//! never: no timer is set for longer. There is no promise about how late they
//! are: a task that does not yield makes the timers of its core wait.
//!
//! ```
//! use ringwork::time::{sleep, timeout, Duration};
//!
//! #[ringwork::main]
//! async fn main() {
//!     sleep(Duration::from_millis(1)).await;
//!     let late = timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
//!     assert!(late.is_err());
//! }
//! ```
//!
//! # For the house
//! L2: names only `base` and `sys::fork`. `wheel` is the pure structure, `driver` the core's end of it (a
//! private thread-local, set by the guard of `enter`), `sleep` the future that
//! waits; the rest is built on
//! `sleep`. `clock` is what the time is. The worker calls `may_jump` and `jump` when it has nothing to do,
//! `time_left` before it waits, `fire` after, and `shut_down` at its end.
#![forbid(unsafe_code)]

mod call;
mod clock;
mod driver;
pub mod error;
mod instant;
mod interval;
mod pause;
mod sleep;
mod spare;
mod timeout;
#[cfg(feature = "tracing")]
mod trace;
mod wheel;

pub(crate) use instant::FAR_FUTURE;
pub use instant::Instant;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use pause::{advance, pause, resume};
pub(crate) use sleep::nap;
pub use sleep::{Sleep, sleep, sleep_until};
pub use std::time::Duration;
pub use timeout::{Timeout, timeout, timeout_at};

pub(crate) use call::Call;
pub(crate) use clock::{Clock, GoesBy, Hold, Quiet, go_by};
pub(crate) use driver::{
    Driver, Guard, enter, fire, jump, may_jump, pending, shut_down, stands, time_left, turns,
};
