//! A clock that tests take in hand: when it stands, when it jumps, and who may touch it.

#[path = "../kit/mod.rs"]
mod kit;

mod advance;
mod beside;
mod jumps;
mod misuse;

use ringwork::runtime::{Builder, Pin, Runtime};
use ringwork::time::Duration;
use std::future::Future;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// As far as timers are set.
const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

fn builder() -> Builder {
    Builder::new().pin(Pin::Off).start_paused(true)
}

/// A runtime whose clock stands.
fn paused() -> Runtime {
    builder().build().expect("a runtime starts")
}

/// Runs `body` as the main future of a runtime whose clock stands.
fn on_the_core<F, T>(body: impl FnOnce() -> F + Send + 'static) -> T
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    kit::bounded(move || paused().run_main(body))
}

/// Waits until time has passed outside: for what must not happen meanwhile.
fn let_real_time_pass() {
    let begun = std::time::Instant::now();
    kit::wait_for("the system's clock", || begun.elapsed() >= Duration::from_millis(20));
}
