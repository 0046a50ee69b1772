//! Taking the clock in hand: for tests of what happens over time, in no time.
//!
//! Owns [`pause`], [`resume`] and [`advance`]. How the clock stands and jumps is `clock.rs`.
#![forbid(unsafe_code)]

use super::Duration;
use super::clock::{self, Clock};
use super::driver::{self, Ticket};
use super::instant::FAR_FUTURE;
use crate::base::reach::NO_RUNTIME;
use std::future::poll_fn;
use std::sync::Arc;

/// Stops the clock of the runtime: from here on time passes only where the runtime lets it.
///
/// [`Instant::now`](super::Instant::now) gives the same time again and again, in tasks, in jobs of the
/// blocking pool and inside `block_on`. When nothing is left to run, the clock jumps to the next timer, which
/// fires: a test that sleeps for an hour takes no time. [`advance`] moves the clock by hand, [`resume`] lets
/// it go on. To start with a clock that stands, use
/// [`Builder::start_paused`](crate::runtime::Builder::start_paused) or `#[ringwork::test(start_paused =
/// true)]`.
///
/// Only a runtime with one core can stop its clock: with several, there is no moment at which nothing is left
/// to run. For the runtime's own decisions (how long a turn may last, when a core is stuck, how long a
/// shutdown waits) time always passes.
///
/// ```
/// use ringwork::time::{self, Duration, Instant};
///
/// #[ringwork::main(cores = 1)]
/// async fn main() {
///     time::pause();
///     let start = Instant::now();
///     let (one, two) = (
///         ringwork::spawn(time::sleep(Duration::from_secs(60))),
///         ringwork::spawn(time::sleep(Duration::from_secs(3600))),
///     );
///     one.await.unwrap();
///     assert_eq!(start.elapsed(), Duration::from_secs(60));
///     two.await.unwrap();
///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
/// }
/// ```
///
/// # When the clock jumps, and what is the same in every run
/// The clock stays where it is as long as
/// - a task of the core, background tasks included, wants to run;
/// - a completion of an op is there: before each jump the core asks its ring once, without waiting;
/// - a job of the blocking pool waits for its turn or is being run (so a job that waits for a timer of its
///   own runtime waits for ever, unless somebody calls [`advance`]);
/// - a thread polls a future in [`block_on`](crate::runtime::Handle::block_on). While it is parked there, or
///   in a `block_on` that the future calls, the clock may jump.
///
/// What tasks do to each other, to timers and to the blocking pool is therefore the same in every run, as far
/// as it does not depend on the order of jobs that run at once. Bytes that go through the loopback between
/// two tasks arrive before the clock jumps.
///
/// What comes from elsewhere is not waited for, and the clock may jump before it is there: peers in other
/// processes and threads, files (the kernel works on them while the core has nothing to do), signals, and
/// wakes, spawns and timers of threads that are not in `block_on`. Such a test should [`resume`] first, or
/// hold the clock with a job of the blocking pool.
///
/// # Panics
/// If the clock stands already; if the runtime has several cores; if this thread is in no runtime.
#[track_caller]
pub fn pause() {
    assert!(own_clock("pause").stop(), "time::pause: the clock of this runtime stands already");
}

/// Lets the clock go on, from the time at which it stands.
///
/// It goes as fast as the system's clock again, but not with it: [`Instant`](super::Instant)s of this runtime
/// stay ahead of those of the standard library by what the clock has jumped.
///
/// ```
/// use ringwork::time::{self, Duration, Instant};
///
/// #[ringwork::main(cores = 1)]
/// async fn main() {
///     time::pause();
///     time::sleep(Duration::from_secs(3600)).await;
///     time::resume();
///     let start = Instant::now();
///     time::sleep(Duration::from_millis(2)).await;
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// }
/// ```
///
/// # Panics
/// If the clock does not stand; if the runtime has several cores; if this thread is in no runtime.
#[track_caller]
pub fn resume() {
    assert!(own_clock("resume").start(), "time::resume: the clock of this runtime does not stand");
}

/// Moves a clock that stands on by `duration`, all at once.
///
/// When this returns, the timers that are due by then have fired, in the order of their deadlines, and the
/// tasks that wait for them have been woken; they have run no further than the core's queue allowed
/// meanwhile. `Instant::now()` is later by exactly `duration`. Timers are due at whole milliseconds of the
/// runtime's clock, deadlines between them at the next one: what was set for half a millisecond from now has
/// not fired after half a millisecond.
///
/// The clock moves when the future is first polled. Dropping the future after that does not move it back.
///
/// ```
/// use ringwork::time::{self, Duration, Instant};
///
/// #[ringwork::main(cores = 1)]
/// async fn main() {
///     time::pause();
///     let start = Instant::now();
///     let tea = ringwork::spawn(time::sleep(Duration::from_secs(180)));
///     ringwork::task::yield_now().await;
///     time::advance(Duration::from_secs(179)).await;
///     assert!(!tea.is_finished());
///     time::advance(Duration::from_secs(1)).await;
///     tea.await.unwrap();
///     assert_eq!(start.elapsed(), Duration::from_secs(180));
/// }
/// ```
///
/// # Panics
/// If `duration` is more than thirty years, which is as far as timers are set; if the clock does not stand,
/// or cannot represent that time; if the runtime has several cores; if this thread is in no runtime.
pub async fn advance(duration: Duration) {
    // What waits behind a wheel's horizon is put back every two years until the clock is there.
    assert!(duration <= FAR_FUTURE, "time::advance: the clock moves on by thirty years at most");
    let tick = own_clock("advance").advance(duration);
    let tick = tick.expect("time::advance: the clock of this runtime does not stand");
    // A timer of our own, the last of those that are due: when it has fired, all have.
    let mut ticket = None;
    poll_fn(|cx| {
        let ticket = ticket.get_or_insert_with(|| driver::arm(tick, tick, &Ticket::none(), cx));
        ticket.poll(cx)
    })
    .await;
    // Behind those that were woken before us.
    yield_once().await;
}

/// Goes to the back of the queue once.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[track_caller]
fn own_clock(call: &str) -> Arc<Clock> {
    match clock::current() {
        Some(Some(clock)) => clock,
        Some(None) => panic!(
            "time::{call} needs a runtime with one core, and this one has several: build it with \
             `Builder::cores(1)`, or say `cores = 1` in the attribute"
        ),
        None => panic!("{NO_RUNTIME}"),
    }
}
