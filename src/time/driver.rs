//! A core's timers: its wheel, and how a timer gets in and out from whatever thread.
//!
//! Owns the thread-local [`Driver`] of a core, the [`Timer`] parcels that wheel and future share, and what
//! becomes of messages from other threads, which the future's end sends (ticket.rs). Promises that a timer
//! never fires early (one that is set for more than thirty years fires after those), that its waker is called
//! exactly once if it fires while somebody waits, and that a timer whose core goes is told so. It reads no
//! clock: `now` is an argument, or a way to ask ([`time_left`]).
//!
//! # One timer
//! ```text
//!             arm, on its home core                       fire
//!   future ──────────────────────────▶ in the wheel ──────────────▶ FIRED
//!      │                                 ▲   │  ▲ │
//!      │ arm, anywhere else              │   │  └─┘ MOVE: put at the new deadline
//!      └──────────────▶ REGISTER ────────┘   │
//!                          │                 └──── CANCEL, or dropped at home ────▶ out
//!                          └── the core is gone: GONE  (also for all in the wheel when it is taken down)
//! ```
//!
//! Who may touch what:
//! - `key` (where the timer lies): the home core's thread. It is atomic only so that safe code can share it.
//! - `slot`: the future is its consumer. Its producer is the home core once the timer is in the wheel, before
//!   that whoever handles the REGISTER message. One REGISTER is sent per timer, so there is one producer.
//! - `wait` (the deadline): the future, before a message that makes the home core read it.
//!
//! A CANCEL may cross the firing: it finds no key and does nothing. A MOVE may cross it too: then the
//! future finds that it fired before the new deadline and arms anew. A request to a core that is gone needs
//! an answer only if it is a REGISTER; everything that was in its wheel has been told by the wheel's own
//! end.
//!
//! # No foreign code under the borrow
//! Wakers are cloned, woken and dropped only while the thread-local is not borrowed, because a waker may
//! drop a task, and with it a timer, which comes back here.
#![forbid(unsafe_code)]

mod ticket;

use super::clock::{Clock, Quiet, is_away_from, is_touched};
use super::instant::FAR_FUTURE;
use super::spare::{Spare, UNNEEDED};
use super::wheel::{Key, Wheel};
use crate::base::guard;
use crate::base::inbox::Inbox;
use crate::base::parcel::{Deliver, Parcel};
use crate::base::slot::{Set, Slot};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

pub(super) use ticket::{Ticket, arm};

/// Timers touched by one [`fire`]: at some tens of nanoseconds each, a small part of a turn's time.
const FIRE_MAX: usize = 1024;

/// [`FAR_FUTURE`] in ticks. What is further away would go round the wheel for as long as anybody can count.
const FAR_FUTURE_TICKS: u64 = FAR_FUTURE.as_secs() * 1_000;

/// Requests to the home core.
const REGISTER: u32 = 1;
const MOVE: u32 = 2;
const CANCEL: u32 = 4;

/// The key of a timer that is not in the wheel.
const NOWHERE: u64 = u64::MAX;

/// What a timer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its deadline has come.
    Fired,
    /// Its core has gone.
    Gone,
}

/// What wheel and future share.
#[derive(Debug)]
struct Timer {
    slot: Slot<Outcome>,
    home: Arc<Inbox>,
    /// The deadline is `wait` nanoseconds later. Of a timer made at home, when its core's ticks begin.
    from: Instant,
    wait: AtomicU64,
    key: AtomicU64,
}

impl Timer {
    fn new(home: Arc<Inbox>, from: Instant) -> Self {
        Self { slot: Slot::new(), home, from, wait: AtomicU64::new(0), key: AtomicU64::new(NOWHERE) }
    }

    fn deadline(&self) -> Option<Instant> {
        self.from.checked_add(Duration::from_nanos(self.wait.load(Ordering::Relaxed)))
    }

    /// Must be followed by a request, which publishes it, or stay on the home core.
    fn set_deadline(&self, deadline: Instant) {
        self.set_wait(deadline.saturating_duration_since(self.from));
    }

    fn set_wait(&self, wait: Duration) {
        let seconds = wait.as_secs().checked_mul(1_000_000_000);
        let nanos = seconds.and_then(|seconds| seconds.checked_add(u64::from(wait.subsec_nanos())));
        self.wait.store(nanos.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Home core: takes the timer's place in the wheel away from it.
    fn take_key(&self) -> Option<Key> {
        let bits = self.key.load(Ordering::Relaxed);
        self.key.store(NOWHERE, Ordering::Relaxed);
        (bits != NOWHERE).then(|| Key::from_bits(bits))
    }

    fn is_in_wheel(&self) -> bool {
        self.key.load(Ordering::Relaxed) != NOWHERE
    }
}

impl Deliver for Timer {
    fn deliver(parcel: Arc<Parcel<Self>>, requests: u32) {
        // The wheel's reference, if the timer left the wheel, is dropped out here.
        let handled = with_current(|driver| {
            debug_assert!(driver.is_home_of(&parcel), "a timer's message came to another core");
            driver.receive(&parcel, requests)
        });
        if handled.is_none() {
            Self::dispose(parcel, requests);
        }
    }

    fn dispose(parcel: Arc<Parcel<Self>>, requests: u32) {
        if requests & (REGISTER | CANCEL) == REGISTER {
            let told = parcel.value.slot.set(Outcome::Gone);
            drop(parcel);
            if let Set::Waiting(waker) = told {
                guard::wake(waker);
            }
        }
    }
}

/// The timers of one core.
#[derive(Debug)]
pub(crate) struct Driver {
    wheel: Wheel<Arc<Parcel<Timer>>>,
    /// Tick 0.
    start: Instant,
    /// What the time is, if it may be another than the system's.
    clock: Option<Arc<Clock>>,
    home: Arc<Inbox>,
    /// The system's clock when the turn began.
    lately: Instant,
    /// Timers of this core that nobody else refers to, with empty slots; each with the reference of its
    /// future and the one of the wheel, so that neither is made or given up while a timer goes round.
    spare: Spare<[Arc<Parcel<Timer>>; 2]>,
    /// Since which turn the wheel has had more memory than it needs.
    surplus_since: Option<Instant>,
    /// The last batch's memory.
    expired: Vec<Arc<Parcel<Timer>>>,
}

impl Driver {
    /// The timers of the core behind `home`; ticks are counted from `start`.
    pub(crate) fn new(start: Instant, home: Arc<Inbox>) -> Self {
        let (spare, expired) = (Spare::new(start), Vec::new());
        let (wheel, lately) = (Wheel::new(), start);
        Self { wheel, start, clock: None, home, lately, spare, surplus_since: None, expired }
    }

    /// Makes these timers go by `clock`, if there is one, from its origin on.
    pub(crate) fn going_by(self, clock: Option<Arc<Clock>>) -> Self {
        let start = clock.as_ref().map_or(self.start, |clock| clock.origin());
        Self { start, clock, ..self }
    }

    /// The time of these timers when the system's is `now`.
    fn time(&self, now: Instant) -> Instant {
        self.clock.as_ref().map_or(now, |clock| clock.at(now))
    }

    /// When the next timer is due. A deadline past the end of time is none.
    fn next_deadline(&self) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(self.wheel.next_due()?))
    }

    fn time_left(&self, now: Instant) -> Option<Duration> {
        let left = self.next_deadline()?.saturating_duration_since(self.time(now));
        let passes = left.is_zero() || self.clock.as_ref().is_none_or(|clock| !clock.stands());
        passes.then_some(left)
    }

    /// A turn begins: gives the wheel's memory back if it has not been needed for a while.
    #[inline]
    fn tidy(&mut self, now: Instant) {
        if self.wheel.has_left() {
            self.wheel.give_back();
        } else if !self.wheel.has_surplus() {
            self.surplus_since = None;
        } else if now.saturating_duration_since(*self.surplus_since.get_or_insert(now)) >= UNNEEDED {
            self.surplus_since = None;
            self.wheel.repack(|parcel, key| parcel.value.key.store(key.to_bits(), Ordering::Relaxed));
        }
    }

    /// How long the core may sleep before it has to do that.
    fn tidy_in(&self, now: Instant) -> Option<Duration> {
        if self.wheel.has_left() {
            return Some(Duration::ZERO);
        }
        let waited = self.surplus_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.wheel.has_surplus().then(|| UNNEEDED.saturating_sub(waited))
    }

    /// The clock, and the timer ahead of it.
    fn next_jump(&self) -> Option<(&Clock, Instant)> {
        let (clock, due) = (self.clock.as_deref()?, self.next_deadline()?);
        (due > clock.at(self.start)).then_some((clock, due))
    }

    fn is_home_of(&self, parcel: &Parcel<Timer>) -> bool {
        Arc::ptr_eq(&self.home, &parcel.value.home)
    }

    /// The first tick that is not before `deadline`.
    fn tick_of(&self, deadline: Option<Instant>) -> u64 {
        let Some(deadline) = deadline else { return u64::MAX };
        tick_after(deadline.saturating_duration_since(self.start))
    }

    /// A timer with nobody waiting yet, and the reference for its future.
    #[inline]
    fn arm(&mut self, deadline: Instant) -> Arc<Parcel<Timer>> {
        let [ours, theirs] = self.spare.take().unwrap_or_else(|| {
            let parcel = Parcel::new(Timer::new(Arc::clone(&self.home), self.start));
            [Arc::clone(&parcel), parcel]
        });
        debug_assert_eq!(theirs.value.from, self.start, "a spare one was made here");
        let wait = deadline.saturating_duration_since(self.start);
        // No runtime has been there for so long, unless a test has moved its clock. One branch for all that
        // follows, which cannot overflow then.
        let tick = if wait.as_secs() < FAR_FUTURE.as_secs() {
            let nanos = wait.as_secs() * 1_000_000_000 + u64::from(wait.subsec_nanos());
            theirs.value.wait.store(nanos, Ordering::Relaxed);
            wait.as_secs() * 1_000 + u64::from(wait.subsec_nanos().div_ceil(1_000_000))
        } else {
            theirs.value.set_wait(wait);
            self.nearer(tick_after(wait))
        };
        self.insert_at(ours, &theirs.value, tick);
        theirs
    }

    /// Puts `parcel`, which is `timer`'s, into the wheel.
    fn insert(&mut self, parcel: Arc<Parcel<Timer>>, timer: &Timer, deadline: impl Into<Option<Instant>>) {
        let tick = self.tick_of(deadline.into());
        let tick = if tick > FAR_FUTURE_TICKS { self.nearer(tick) } else { tick };
        self.insert_at(parcel, timer, tick);
    }

    // Always: as a call of its own it takes ten instructions of each timer.
    #[inline(always)]
    fn insert_at(&mut self, parcel: Arc<Parcel<Timer>>, timer: &Timer, tick: u64) {
        debug_assert!(!timer.is_in_wheel());
        let key = self.wheel.insert(tick, parcel);
        timer.key.store(key.to_bits(), Ordering::Relaxed);
    }

    /// No further away than [`FAR_FUTURE`], seen from the time, which may be ahead of the wheel.
    #[cold]
    fn nearer(&self, tick: u64) -> u64 {
        let now = self.time(self.lately).saturating_duration_since(self.start);
        tick.min(tick_after(now).max(self.wheel.now()).saturating_add(FAR_FUTURE_TICKS))
    }

    #[inline]
    fn remove(&mut self, parcel: &Parcel<Timer>) -> Option<Arc<Parcel<Timer>>> {
        self.wheel.remove(parcel.value.take_key()?)
    }

    /// Handles a message from another thread. Returns what must be dropped once nothing is borrowed.
    fn receive(&mut self, parcel: &Arc<Parcel<Timer>>, requests: u32) -> Option<Arc<Parcel<Timer>>> {
        let removed = self.remove(parcel);
        let wanted = requests & CANCEL == 0;
        if wanted && (removed.is_some() || requests & REGISTER != 0) {
            let again = removed.unwrap_or_else(|| Arc::clone(parcel));
            self.insert(again, &parcel.value, parcel.value.deadline());
            return None;
        }
        removed
    }

    /// Takes back a timer that its future has no more use for, and whose slot holds no waker.
    ///
    /// Returns it if this core cannot: it belongs to another, or its REGISTER is still in the inbox.
    #[inline]
    fn take_back(&mut self, mut parcel: Arc<Parcel<Timer>>) -> Option<Arc<Parcel<Timer>>> {
        if !self.is_home_of(&parcel) {
            return Some(parcel);
        }
        // One that came from elsewhere counts from another time.
        let is_native = parcel.value.from == self.start;
        match self.remove(&parcel) {
            // A message that is still in the inbox would be a third.
            Some(wheels) if is_native && Arc::strong_count(&parcel) == 2 => self.spare.keep([wheels, parcel]),
            Some(_) => {}
            None if !parcel.value.slot.is_done() => return Some(parcel),
            None => {
                if let Some(Parcel { value: timer, .. }) = Arc::get_mut(&mut parcel)
                    && is_native
                {
                    timer.slot = Slot::new();
                    self.spare.keep([Arc::clone(&parcel), parcel]);
                }
            }
        }
        None
    }

    fn fire(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> usize {
        // The clock has not gone backwards, whatever the caller says: then nothing new is due.
        let tick = self.time(now).saturating_duration_since(self.start).as_millis();
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.advance(u64::try_from(tick).unwrap_or(u64::MAX), FIRE_MAX, &mut expired);
        let fired = expired.len();
        for parcel in expired.drain(..) {
            parcel.value.key.store(NOWHERE, Ordering::Relaxed);
            if let Set::Waiting(waker) = parcel.value.slot.set(Outcome::Fired) {
                wakers.push(waker);
            }
            // A timer has one waker, which its slot gave up just now, so this drop runs no foreign code.
            drop(parcel);
        }
        self.expired = expired;
        fired
    }

    /// Tells all timers that are left that their core has gone.
    fn take_down(self, wakers: &mut Vec<Waker>) -> usize {
        let left = self.wheel.len();
        for parcel in self.wheel.into_values() {
            parcel.value.key.store(NOWHERE, Ordering::Relaxed);
            if let Set::Waiting(waker) = parcel.value.slot.set(Outcome::Gone) {
                wakers.push(waker);
            }
        }
        left
    }
}

/// The first tick that is not before `wait` has passed since tick 0.
fn tick_after(wait: Duration) -> u64 {
    let ticks = u64::from(wait.subsec_nanos().div_ceil(1_000_000));
    wait.as_secs().saturating_mul(1_000).saturating_add(ticks)
}

thread_local! {
    static CURRENT: RefCell<Option<Driver>> = const { RefCell::new(None) };
}

/// Calls `with` on this thread's driver; nothing if this thread is no core. `with` must not run foreign code.
#[inline]
fn with_current<R>(with: impl FnOnce(&mut Driver) -> R) -> Option<R> {
    CURRENT.try_with(|current| current.borrow_mut().as_mut().map(with)).ok().flatten()
}

/// Makes this thread the home of `driver`'s timers until [`shut_down`], at the latest until the guard is
/// dropped.
pub(crate) fn enter(driver: Driver) -> Guard {
    let before = CURRENT.with_borrow_mut(|current| current.replace(driver));
    assert!(before.is_none(), "this thread is a core already");
    Guard { _here: PhantomData }
}

/// Says that this thread is a core for timers. See [`enter`].
#[must_use = "timers live in this thread only while the guard does"]
#[derive(Debug)]
pub(crate) struct Guard {
    // A thread-local was set: the guard must end on the same thread.
    _here: PhantomData<*const ()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        shut_down(&mut wakers);
        for waker in wakers {
            guard::wake(waker);
        }
    }
}

/// How long this core may sleep from `now` on as far as its timers are concerned; `None` is without limit.
/// The time is asked for only if it matters: a core without timers need not read the clock. It is asked for
/// under the borrow.
pub(crate) fn time_left(now: impl FnOnce() -> Instant) -> Option<Duration> {
    with_current(|driver| {
        let is_tidy = !driver.spare.has_surplus() && !driver.wheel.has_surplus() && !driver.wheel.has_left();
        if driver.wheel.len() == 0 && is_tidy {
            return None;
        }
        let now = now();
        let left = [driver.time_left(now), driver.spare.look_in(now), driver.tidy_in(now)];
        left.into_iter().flatten().min()
    })?
}

/// Whether this core's clock stands and may jump to a timer that is ahead of it, if the core has nothing else
/// to do: that is to be looked at from here on, and then [`jump`]. One relaxed load if no clock of the
/// process was ever stopped.
pub(crate) fn may_jump() -> Option<Quiet> {
    if is_touched() { may_jump_here() } else { None }
}

#[cold]
fn may_jump_here() -> Option<Quiet> {
    with_current(|driver| {
        let quiet = driver.clock.as_deref()?.quiet()?;
        driver.next_jump().map(|_| quiet)
    })?
}

/// Whether this core's clock stands. One relaxed load if no clock of the process was ever stopped.
#[inline]
pub(crate) fn stands() -> bool {
    is_touched() && stands_here()
}

// Out of the way of those whose clock goes, who ask as often.
#[cold]
fn stands_here() -> bool {
    with_current(|driver| driver.clock.as_deref().is_some_and(Clock::stands)).unwrap_or(false)
}

/// Whether this thread is a core and has entered a runtime that goes by another clock. One relaxed load if no
/// clock of the process was ever stopped.
#[inline]
fn is_away() -> bool {
    is_touched() && is_away_here()
}

#[cold]
fn is_away_here() -> bool {
    with_current(|driver| is_away_from(driver.clock.as_ref())).unwrap_or(false)
}

/// Moves this core's clock to its next timer, unless somebody has held it since `quiet`.
pub(crate) fn jump(quiet: Quiet) {
    with_current(|driver| {
        if let Some((clock, due)) = driver.next_jump() {
            clock.jump_to(due, quiet);
        }
    });
}

/// How many timers this core has.
pub(crate) fn pending() -> usize {
    with_current(|driver| driver.wheel.len()).unwrap_or(0)
}

/// A turn of this core begins.
pub(crate) fn turns(now: Instant) {
    with_current(|driver| {
        driver.lately = now;
        driver.spare.turns(now);
        driver.tidy(now);
    });
}

/// Completes this core's timers that are due at `now` and adds the wakers of the tasks that wait for them.
///
/// Returns how many timers fired. At most [`FIRE_MAX`] are touched; if more are due, [`time_left`] says
/// so.
pub(crate) fn fire(now: Instant, wakers: &mut Vec<Waker>) -> usize {
    with_current(|driver| driver.fire(now, wakers)).unwrap_or(0)
}

/// Takes this core's driver down. The timers still in it are told that their core has gone; the wakers of
/// the tasks that wait for them are added to `wakers`. Returns how many timers there were; does nothing the
/// second time.
///
/// The inbox may still be open: a timer message that arrives later is answered the same way.
pub(crate) fn shut_down(wakers: &mut Vec<Waker>) -> usize {
    let driver = CURRENT.try_with(|current| current.borrow_mut().take()).ok().flatten();
    driver.map_or(0, |driver| driver.take_down(wakers))
}

/// A time that is not after now, and that costs less to know: on a core, when the turn began. `None` if it
/// may have nothing to do with the clock that timers go by.
pub(super) fn lately() -> Option<Instant> {
    if is_touched() { None } else { with_current(|driver| driver.lately) }
}

#[cfg(test)]
mod tests;
