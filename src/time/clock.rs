//! The clock that timers go by: the system's, until a test takes it in hand.
//!
//! Owns [`Clock`] (the time of a runtime with one core, and whether it may jump), the thread-local that says
//! which clock a thread goes by, and [`now`]. Promises that the time never goes backwards, and that reading
//! it costs one relaxed load beside the system's clock as long as no clock of the process has been stopped.
//! What stops and moves it is `pause.rs`, and that a core with nothing to do jumps is the worker's.
//!
//! # Jumping
//! A stopped clock jumps to the next timer when nobody has anything to do. The core knows that of itself.
//! What runs outside of the core and may yet bring work (a thread in `block_on` that is awake, a job of the
//! blocking pool from its spawn to its end) *holds* the clock. Whoever causes another's work takes a hold for
//! it before he gives up his own: a waker for the thread that it wakes, a job for the jobs it spawns. So a
//! count of zero means that nothing is going on anywhere, and nothing can begin but by the core itself or
//! from outside of the runtime. The last hold that is given up nudges the core, which may have gone to sleep
//! meanwhile.
//!
//! A thread from outside may enter `block_on`, bring work and leave, all between two steps of the core. So
//! the core (1) reads the count, and with it how many holds were ever taken; (2) looks for what has been
//! brought; (3) jumps, under the clock's lock, if that word is still the same. What a hold that was over
//! before (1) has brought is seen by (2); one that was taken after (1) has changed the word; and who takes
//! one after (3) reads the clock after the jump.
#![forbid(unsafe_code)]

use crate::base::inbox::Inbox;
use crate::base::parcel::{Deliver, Parcel};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whether any clock of the process was ever stopped. Never cleared: a clock that goes again may still be
/// ahead of the system's.
static TOUCHED: AtomicBool = AtomicBool::new(false);

/// Whether the time may be another than the system's. Relaxed: what the clock says is read under its lock.
#[inline]
pub(super) fn is_touched() -> bool {
    TOUCHED.load(Ordering::Relaxed)
}

/// The time of the runtime this thread is in; outside of one, and in one with several cores, the system's.
#[inline]
pub(super) fn now() -> Instant {
    // In this order: whoever stops a clock says so before he reads at what time.
    let system = Instant::now();
    if is_touched() { at_here(system) } else { system }
}

#[cold]
fn at_here(system: Instant) -> Instant {
    match current() {
        Some(Some(clock)) => clock.at(system),
        _ => system,
    }
}

thread_local! {
    static CURRENT: RefCell<Vec<(u64, Option<Arc<Clock>>)>> = const { RefCell::new(Vec::new()) };
}

/// Undoes [`go_by`] when dropped; guards may be dropped in any order.
#[must_use = "the thread goes by the clock only while the guard lives"]
#[derive(Debug)]
pub(crate) struct GoesBy {
    ticket: u64,
    // A thread-local was set: the guard must be dropped on the same thread.
    _here: PhantomData<*const ()>,
}

/// Makes `clock` the one that this thread goes by; `None` is that of a runtime with several cores.
pub(crate) fn go_by(clock: Option<Arc<Clock>>) -> GoesBy {
    let ticket = CURRENT.with_borrow_mut(|current| {
        let ticket = current.last().map_or(0, |(ticket, _)| ticket + 1);
        current.push((ticket, clock));
        ticket
    });
    GoesBy { ticket, _here: PhantomData }
}

impl Drop for GoesBy {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|current| current.borrow_mut().retain(|(ticket, _)| *ticket != self.ticket));
    }
}

/// The clock that this thread goes by: none outside of a runtime, none inside for one with several cores.
pub(super) fn current() -> Option<Option<Arc<Clock>>> {
    CURRENT.try_with(|current| current.borrow().last().map(|(_, clock)| clock.clone())).ok().flatten()
}

/// Whether this thread, a core that goes by `own`, has entered a runtime with another clock.
pub(super) fn is_away_from(own: Option<&Arc<Clock>>) -> bool {
    current().is_some_and(|entered| entered.as_ref().map(Arc::as_ptr) != own.map(Arc::as_ptr))
}

/// The time of a runtime with one core.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Tick 0 of the core's timers.
    origin: Instant,
    hands: Mutex<Hands>,
    /// In the lower half how many holds there are, in the upper one how many were ever taken.
    holds: AtomicU64,
    core: Arc<Inbox>,
    nudge: Arc<Parcel<Nudge>>,
}

/// A hold that is there.
const HELD: u64 = 1;
/// A hold that was taken. That this count goes round does no harm: nobody takes four billion while a core
/// looks into its inbox.
const TAKEN: u64 = 1 << 32;

/// How often a clock had been held when nobody held it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet(u64);

/// Where the clock stands, or stood when it began to go.
#[derive(Clone, Copy, Debug)]
struct Hands {
    at: Instant,
    /// Since when it goes, by the system's clock; it stands without.
    since: Option<Instant>,
}

impl Hands {
    fn time(self, system: Instant) -> Instant {
        match self.since {
            Some(since) => self.at + system.saturating_duration_since(since),
            None => self.at,
        }
    }
}

/// Makes a parked core turn once.
#[derive(Debug)]
struct Nudge;

impl Deliver for Nudge {
    fn deliver(_: Arc<Parcel<Self>>, _: u32) {}

    fn dispose(_: Arc<Parcel<Self>>, _: u32) {}
}

impl Clock {
    /// The clock of the runtime whose only core is behind `core`; it goes, unless `stopped`.
    pub(crate) fn new(core: Arc<Inbox>, stopped: bool) -> Arc<Self> {
        let origin = Instant::now();
        if stopped {
            TOUCHED.store(true, Ordering::SeqCst);
        }
        let hands = Hands { at: origin, since: (!stopped).then_some(origin) };
        let (hands, holds) = (Mutex::new(hands), AtomicU64::new(0));
        Arc::new(Self { origin, hands, holds, core, nudge: Parcel::new(Nudge) })
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tick 0.
    pub(super) fn origin(&self) -> Instant {
        self.origin
    }

    /// The time of this clock when the system's says `system`.
    pub(super) fn at(&self, system: Instant) -> Instant {
        if is_touched() { self.hands().time(system) } else { system }
    }

    /// Whether the clock stands.
    pub(super) fn stands(&self) -> bool {
        is_touched() && self.hands().since.is_none()
    }

    /// Stops. The time at which it stands is a whole tick, so that what follows does not depend on the
    /// moment. False if it stood already.
    pub(super) fn stop(&self) -> bool {
        let mut hands = self.hands();
        if hands.since.is_none() {
            return false;
        }
        // Before the clock is read: a thread that has not seen it has read the system's clock before, and no
        // later time than that at which this one stands (both in the order of the system's clock).
        TOUCHED.store(true, Ordering::SeqCst);
        let passed = hands.time(Instant::now()).saturating_duration_since(self.origin);
        *hands =
            Hands { at: self.origin + whole_ticks(passed + TICK - Duration::from_nanos(1)), since: None };
        drop(hands);
        self.nudge();
        true
    }

    /// Goes on from where it stands. False if it went.
    pub(super) fn start(&self) -> bool {
        let mut hands = self.hands();
        if hands.since.is_some() {
            return false;
        }
        hands.since = Some(Instant::now());
        drop(hands);
        self.nudge();
        true
    }

    /// Moves a clock that stands. Gives its last tick; nothing if it goes.
    pub(super) fn advance(&self, by: Duration) -> Option<Instant> {
        let mut hands = self.hands();
        if hands.since.is_some() {
            return None;
        }
        hands.at = hands.at.checked_add(by).expect("the clock cannot represent that time");
        Some(self.origin + whole_ticks(hands.at.saturating_duration_since(self.origin)))
    }

    /// For a clock that stands and that nobody holds: what has to be so still when it jumps.
    pub(super) fn quiet(&self) -> Option<Quiet> {
        if !self.stands() {
            return None;
        }
        let holds = self.holds.load(Ordering::SeqCst);
        holds.is_multiple_of(TAKEN).then_some(Quiet(holds))
    }

    /// Moves to `due`, if the clock stands, nobody has held it since `quiet`, and that is not in the past.
    pub(super) fn jump_to(&self, due: Instant, quiet: Quiet) {
        let mut hands = self.hands();
        if hands.since.is_none() && self.holds.load(Ordering::SeqCst) == quiet.0 {
            hands.at = hands.at.max(due);
        }
    }

    /// Makes the core look again.
    fn nudge(&self) {
        self.nudge.request(&self.core, 1);
    }
}

/// The length of a tick.
const TICK: Duration = Duration::from_millis(1);

fn whole_ticks(time: Duration) -> Duration {
    time - Duration::from_nanos(u64::from(time.subsec_nanos() % TICK.subsec_nanos()))
}

/// Keeps a clock from jumping, from when it is made until it is dropped.
#[must_use = "the clock is held only while this lives"]
#[derive(Debug)]
pub(crate) struct Hold<C: Deref<Target = Clock>>(Option<C>);

impl<C: Deref<Target = Clock>> Hold<C> {
    /// Holds `clock`, if there is one.
    pub(crate) fn of(clock: Option<C>) -> Self {
        if let Some(clock) = &clock {
            clock.holds.fetch_add(TAKEN + HELD, Ordering::SeqCst);
        }
        Self(clock)
    }

    /// Leaves the hold to somebody who [takes it over](Self::taken_over).
    pub(crate) fn pass_on(mut self) {
        drop(self.0.take());
    }

    /// The hold on `clock` that somebody has passed on.
    pub(crate) fn taken_over(clock: Option<C>) -> Self {
        Self(clock)
    }
}

impl<C: Deref<Target = Clock>> Drop for Hold<C> {
    fn drop(&mut self) {
        let Some(clock) = &self.0 else { return };
        let last = clock.holds.fetch_sub(HELD, Ordering::SeqCst) % TAKEN == HELD;
        // Not relaxed: a clock that is stopped right now sees that nobody holds it, or we see it stopped.
        if last && TOUCHED.load(Ordering::SeqCst) && clock.stands() {
            clock.nudge();
        }
    }
}
