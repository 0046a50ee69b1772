//! Whose turn it is: one direction of a stream is one ordered lane.
//!
//! Owns the order of callers. Whoever has the turn may put an op into a ring; it passes on only when that op
//! has had its final CQE (also if its future is long gone). It is not a mutex for users: a turn can outlive
//! the future that took it.
//!
//! Callers without a future (poll_read.rs, poll_write.rs) have no place in the order, because nobody would
//! give it up if they were never polled again. They take the turn if the lane is free, and stand by if it is
//! not: they are woken when the last of those with a place has gone. One of them per direction is remembered,
//! the last to ask.
#![forbid(unsafe_code)]

use super::shared::Shared;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
struct Turns {
    taken: bool,
    /// The waiter to whom the turn was passed and who has not come for it yet.
    granted: Option<u64>,
    next_ticket: u64,
    waiting: VecDeque<(u64, Waker)>,
    /// Who is to be told when the lane is free.
    standby: Option<Waker>,
}

/// A lane's order.
#[derive(Debug, Default)]
pub(crate) struct Turnstile(Mutex<Turns>);

/// A caller's place in the order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Has not asked yet.
    #[default]
    Outside,
    /// Waits behind others.
    Waiting(u64),
    /// It is this caller's turn.
    Through,
}

impl Turnstile {
    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        // Nothing in here panics half-way; a poisoned lock still holds a whole state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turn, or waits for it.
    pub(crate) fn poll_enter(&self, place: &mut Place, cx: &mut Context<'_>) -> Poll<()> {
        if *place == Place::Through {
            return Poll::Ready(());
        }
        let mut turns = self.turns();
        match *place {
            Place::Outside if !turns.taken => {
                turns.taken = true;
                *place = Place::Through;
                Poll::Ready(())
            }
            Place::Waiting(ticket) if turns.granted == Some(ticket) => {
                turns.granted = None;
                *place = Place::Through;
                Poll::Ready(())
            }
            Place::Waiting(ticket) => {
                let mut waiting = turns.waiting.iter_mut();
                if let Some((_, waker)) = waiting.find(|(waiting, _)| *waiting == ticket) {
                    let before = std::mem::replace(waker, cx.waker().clone());
                    // Foreign code: not under the lock.
                    drop(turns);
                    drop(before);
                }
                Poll::Pending
            }
            _ => {
                let ticket = turns.next_ticket;
                turns.next_ticket += 1;
                turns.waiting.push_back((ticket, cx.waker().clone()));
                *place = Place::Waiting(ticket);
                Poll::Pending
            }
        }
    }

    /// Takes the turn if the lane is free; if not, wakes `waker` once it is.
    ///
    /// # Errors
    /// The waker that stood by until now, if it is another one: dropping it is foreign code, which is not
    /// for under a lock.
    pub(super) fn try_enter(&self, waker: &Waker) -> Result<(), Option<Waker>> {
        let mut turns = self.turns();
        if !turns.taken {
            turns.taken = true;
            return Ok(());
        }
        let same = turns.standby.as_ref().is_some_and(|standby| standby.will_wake(waker));
        Err(if same { None } else { turns.standby.replace(waker.clone()) })
    }

    /// Whether callers with a place wait for the turn.
    pub(super) fn has_waiting(&self) -> bool {
        let turns = self.turns();
        turns.granted.is_some() || !turns.waiting.is_empty()
    }

    /// Passes the turn to the next in line. Called once by whoever had it.
    pub(crate) fn pass(&self) {
        let mut turns = self.turns();
        debug_assert!(turns.taken && turns.granted.is_none(), "only who has the turn passes it");
        match turns.waiting.pop_front() {
            Some((ticket, waker)) => {
                turns.granted = Some(ticket);
                drop(turns);
                waker.wake();
            }
            None => {
                turns.taken = false;
                if let Some(standby) = turns.standby.take() {
                    drop(turns);
                    standby.wake();
                }
            }
        }
    }

    /// A caller goes away. If it had the turn and nothing in flight, the turn passes on.
    pub(crate) fn leave(&self, place: Place) {
        let Place::Waiting(ticket) = place else {
            if place == Place::Through {
                self.pass();
            }
            return;
        };
        let mut turns = self.turns();
        if turns.granted == Some(ticket) {
            turns.granted = None;
            drop(turns);
            self.pass();
        } else {
            let at = turns.waiting.iter().position(|(waiting, _)| *waiting == ticket);
            let left = at.and_then(|at| turns.waiting.remove(at));
            // A waker's drop is foreign code: not under the lock.
            drop(turns);
            drop(left);
        }
    }

    /// Whether nobody has the turn.
    pub(crate) fn is_free(&self) -> bool {
        !self.turns().taken
    }
}

/// The send turn of a stream in the hands of a call that is more than one op; passed on when dropped.
pub(super) struct SendTurn<'a> {
    shared: &'a Arc<Shared>,
    place: Place,
}

impl<'a> SendTurn<'a> {
    /// Waits for the turn.
    pub(super) async fn take(shared: &'a Arc<Shared>) -> Self {
        let mut turn = Self { shared, place: Place::Outside };
        poll_fn(|cx| shared.send_turn.poll_enter(&mut turn.place, cx)).await;
        turn
    }

    /// The stream whose turn this is.
    pub(super) fn shared(&self) -> &'a Arc<Shared> {
        self.shared
    }

    /// Leaves the turn to an op in flight, which passes it on with its final completion.
    pub(super) fn leave_to_op(&mut self) {
        self.place = Place::Outside;
    }
}

impl Drop for SendTurn<'_> {
    fn drop(&mut self) {
        self.shared.leave_send(std::mem::take(&mut self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[test]
    fn who_stands_by_is_woken_when_the_last_with_a_place_has_gone_and_blocks_nobody() {
        let woken = Arc::new(Count::default());
        let lane = Turnstile::default();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (Place::default(), Place::default());
        assert!(lane.poll_enter(&mut first, &mut cx).is_ready());
        assert!(lane.try_enter(&Waker::from(Arc::clone(&woken))).is_err());
        assert!(lane.poll_enter(&mut second, &mut cx).is_pending());
        assert!(lane.has_waiting());
        lane.leave(std::mem::take(&mut first));
        assert_eq!(woken.0.load(Ordering::SeqCst), 0, "one with a place comes first");
        assert!(lane.poll_enter(&mut second, &mut cx).is_ready());
        lane.leave(std::mem::take(&mut second));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        // It does not come. The lane is free all the same.
        assert!(lane.is_free());
        assert!(lane.try_enter(Waker::noop()).is_ok());
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn callers_pass_in_the_order_they_came_and_a_leaver_is_skipped() {
        let lane = Turnstile::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut places: Vec<Place> = (0..4).map(|_| Place::default()).collect();
        assert!(lane.poll_enter(&mut places[0], &mut cx).is_ready());
        for place in &mut places[1..] {
            assert!(lane.poll_enter(place, &mut cx).is_pending());
        }
        lane.leave(std::mem::take(&mut places[1]));
        lane.leave(std::mem::take(&mut places[0]));
        assert!(lane.poll_enter(&mut places[3], &mut cx).is_pending());
        // The one whose turn it became leaves without having come for it.
        lane.leave(std::mem::take(&mut places[2]));
        assert!(lane.poll_enter(&mut places[3], &mut cx).is_ready());
        lane.leave(std::mem::take(&mut places[3]));
        assert!(lane.is_free());
    }
}
