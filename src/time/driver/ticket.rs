//! What a sleep holds of its timer: arming, moving and cancelling it, from whatever thread.
//!
//! Owns [`arm`], [`Ticket`] and the requests that they send to the timer's home. What one timer goes through,
//! and who may touch what, is prose at the top of driver.rs.
//!
//! # Where a timer goes
//! To this core; from a thread that is none, to a core of the runtime it has entered, and so from a core that
//! has entered a runtime with another clock, because its deadline is by that one; from a thread that has
//! entered none, to the home of the future's last timer, if it had one. For a future may be on such a thread
//! once it has a timer, and need another after that: it was reset after it had fired, or while it fired. That
//! home is sent the message whatever has become of it, as it would be sent one about the last timer: stuck,
//! it takes it late; gone, it refuses it. Not once a test has stopped a clock: the deadline is by the
//! system's, and that core may go by another.
#![forbid(unsafe_code)]

use super::{CANCEL, MOVE, Outcome, REGISTER, Timer, is_away, is_touched, with_current};
use crate::base::inbox::Inbox;
use crate::base::parcel::Parcel;
use crate::base::reach;
use crate::sys::fork;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Puts a timer into this core's wheel, or sends it to another one if this thread is none or goes by another
/// clock. `now` is any time that is not after the deadline, `last` the timer that this one follows.
///
/// The waker is woken at `deadline`, or after `FAR_FUTURE` if that is further away, unless the ticket is
/// dropped before.
///
/// # Panics
/// If this thread is no core and has entered no runtime, and there was no timer before or a clock has been
/// stopped; in a forked child.
pub(in crate::time) fn arm(deadline: Instant, now: Instant, last: &Ticket, cx: &mut Context<'_>) -> Ticket {
    // Nobody is left in a forked child who could fire it.
    assert!(!fork::is_child(), "{}", fork::error());
    if !is_away()
        && let Some(parcel) = with_current(|driver| driver.arm(deadline))
    {
        let mut ticket = Ticket { parcel: Some(parcel) };
        // On this thread nobody sets it meanwhile. (A waker's clone is foreign code: if it panics, the ticket
        // takes the timer back.)
        let waits = ticket.poll(cx).is_pending();
        debug_assert!(waits, "a fresh timer has no outcome");
        return ticket;
    }
    let home = reach::pick().or_else(|| last.home().filter(|_| !is_touched()));
    let Some(home) = home else { panic!("{}", reach::NO_RUNTIME) };
    let mut parcel = Parcel::new(Timer::new(home, now));
    parcel.value.set_deadline(deadline);
    // Before it can be fired.
    let waker = cx.waker().clone();
    Arc::get_mut(&mut parcel).expect("only we know this timer").value.slot.arm(waker);
    parcel.request(&parcel.value.home, REGISTER);
    Ticket { parcel: Some(parcel) }
}

/// The future's end of a timer. Dropping it cancels the timer.
#[derive(Debug)]
pub(in crate::time) struct Ticket {
    parcel: Option<Arc<Parcel<Timer>>>,
}

impl Ticket {
    /// That of no timer: only to be followed by one, and to be dropped.
    pub(in crate::time) fn none() -> Self {
        Self { parcel: None }
    }

    fn home(&self) -> Option<Arc<Inbox>> {
        self.parcel.as_ref().map(|parcel| Arc::clone(&parcel.value.home))
    }

    /// What became of the timer, or `Pending` with the task's waker stored.
    #[inline]
    pub(in crate::time) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.timer().slot.poll(cx)
    }

    /// What became of the timer.
    #[inline]
    pub(in crate::time) fn outcome(&self) -> Option<Outcome> {
        self.timer().slot.get()
    }

    /// Whether this thread is a core, but not the timer's home, or goes by another clock than that.
    pub(in crate::time) fn is_on_another_core(&self) -> bool {
        with_current(|driver| !driver.is_home_of(self.parcel())).unwrap_or(false) || is_away()
    }

    /// Changes the deadline and keeps the waker. True if that is done, false if the home core has been
    /// asked to: then the timer may still fire at the old deadline.
    ///
    /// Only for a timer that has no outcome yet, as far as this thread knows.
    pub(in crate::time) fn postpone(&mut self, deadline: Instant) -> bool {
        let parcel = self.parcel();
        parcel.value.set_deadline(deadline);
        let is_away = is_away();
        let moved = with_current(|driver| {
            if is_away || !driver.is_home_of(parcel) {
                return None;
            }
            let removed = driver.remove(parcel)?;
            driver.insert(removed, &parcel.value, deadline);
            Some(())
        });
        // Not in the wheel of this core: in another one, on its way to one, or fired meanwhile. Or in it with
        // a deadline of another clock, of which its firing says nothing.
        let done = moved.flatten().is_some();
        if !done {
            parcel.request(&parcel.value.home, MOVE);
        }
        done
    }

    /// Gives the timer up: its waker is dropped, nobody is woken any more. The ticket still knows its home.
    pub(in crate::time) fn withdraw(&self) {
        let parcel = self.parcel();
        parcel.value.slot.clear();
        if !parcel.value.slot.is_done() {
            parcel.request(&parcel.value.home, CANCEL);
        }
    }

    fn parcel(&self) -> &Arc<Parcel<Timer>> {
        self.parcel.as_ref().expect("there was a timer")
    }

    fn timer(&self) -> &Timer {
        &self.parcel().value
    }
}

impl Drop for Ticket {
    #[inline]
    fn drop(&mut self) {
        if let Some(parcel) = self.parcel.take() {
            give_up(parcel);
        }
    }
}

fn give_up(parcel: Arc<Parcel<Timer>>) {
    // The waker goes first, while nothing is borrowed: from here on the timer holds no foreign code.
    parcel.value.slot.clear();
    let mut parcel = Some(parcel);
    let back = with_current(|driver| driver.take_back(parcel.take().expect("taken once")));
    if let Some(parcel) = back.unwrap_or(parcel)
        && !parcel.value.slot.is_done()
    {
        parcel.request(&parcel.value.home, CANCEL);
    }
}
