//! Whose turn it is: one direction of a stream is one ordered lane.
//!
//! Owns the order of callers. Whoever has the turn may put an op into a ring, or send on the spot; with an op
//! it passes on only when that has had its final CQE (also if its future is long gone). It is not a mutex for
//! users: a turn can outlive the future that took it.
//!
//! Callers without a future (poll_read.rs, poll_write.rs) have no place in the order, because nobody would
//! give it up if they were never polled again. They take the turn if the lane is free, and stand by if it is
//! not: they are woken when the last of those with a place has gone. One of them per direction is remembered,
//! the last to ask. A relay (relay.rs) takes the turn if the lane is free, and leaves it to its forwarding to
//! wait if it is not.
//!
//! # The word and the list
//! | word | the turn | the list | left by |
//! |---|---|---|---|
//! | `FREE` | nobody has it | empty | whoever takes it: to `TAKEN` |
//! | `TAKEN` | somebody has it | empty | a pass: to `FREE`; who enters the list: to `LISTED` |
//! | `LISTED` | somebody's, or granted | to be looked into | a pass that finds it empty: to `FREE` |
//! | | | | the last in the list, when it comes for its turn: to `TAKEN` |
//!
//! `LISTED` is entered and left under the list's lock only, so a pass that finds it finds the list, which is
//! made when somebody first has to wait, and finds it complete.
//! Whoever has the turn and meets nobody pays one read-modify-write to take it and one to pass it on.
#![forbid(unsafe_code)]

use super::shared::Shared;
use crate::base::guard;
use crate::base::rarely::Rarely;
use crate::sys::fork;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

const FREE: u8 = 0;
const TAKEN: u8 = 1;
const LISTED: u8 = 2;

/// Who waits. Under its lock.
#[derive(Debug, Default)]
struct List {
    /// The place of the waiter to whom the turn was passed and who has not come for it yet.
    granted: Option<Place>,
    /// The place that was given last.
    last: Place,
    waiting: VecDeque<(Place, Waker)>,
    /// Who is to be told when the lane is free.
    standby: Option<Waker>,
}

/// Whose turn it is in one lane. A byte, because every stream has two; beside whatever its owner has.
///
/// SeqCst throughout: `Shared::close_write` stores a wish and then looks here, and who passes the turn on
/// looks for the wish afterwards.
#[derive(Debug, Default)]
pub(crate) struct Word(AtomicU8);

/// Who waits in the lanes of one owner. Made when somebody has to wait for either: most streams never need
/// them.
#[derive(Debug, Default)]
pub(crate) struct Lists(Rarely<[Mutex<List>; 2]>);

impl Lists {
    /// The order of senders.
    #[inline]
    pub(super) fn of_senders<'a>(&'a self, word: &'a Word) -> Senders<'a> {
        Turnstile { word: &word.0, lists: &self.0 }
    }

    /// The order of receivers.
    #[inline]
    pub(crate) fn of_receivers<'a>(&'a self, word: &'a Word) -> Receivers<'a> {
        Turnstile { word: &word.0, lists: &self.0 }
    }
}

/// A lane's order; `LIST` is which of the lists is its own. That is a constant so that this is two words, in
/// registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turnstile<'a, const LIST: usize> {
    word: &'a AtomicU8,
    lists: &'a Rarely<[Mutex<List>; 2]>,
}

/// The order of senders.
pub(crate) type Senders<'a> = Turnstile<'a, 0>;
/// The order of receivers.
pub(crate) type Receivers<'a> = Turnstile<'a, 1>;

/// A caller's place in the order: outside, through, or a number among those who wait. One small word, because
/// every future of a stream has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// Has not asked yet.
    pub(crate) const OUTSIDE: Self = Self(0);
    /// It is this caller's turn.
    pub(crate) const THROUGH: Self = Self(1);
    /// The first number.
    const FIRST: u32 = 2;

    /// The number behind this one. They begin again after four billion, of which not two wait at once.
    fn next(self) -> Self {
        Self(self.0.wrapping_add(1).max(Self::FIRST))
    }
}

/// The turn of a caller without a place; it passes on when this is dropped.
#[must_use = "the turn passes on at once"]
pub(crate) struct Visit<'a, const LIST: usize>(Turnstile<'a, LIST>);

impl<const LIST: usize> Drop for Visit<'_, LIST> {
    fn drop(&mut self) {
        self.0.pass();
    }
}

impl<'a, const LIST: usize> Turnstile<'a, LIST> {
    fn list(self) -> MutexGuard<'a, List> {
        // Nothing in here panics half-way; a poisoned lock still holds a whole state.
        self.lists.get_or_make()[LIST].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps everybody else from looking into the list.
    #[cfg(all(test, feature = "tls"))]
    pub(super) fn hold_list(self) -> impl Sized + 'a {
        self.list()
    }

    /// Takes the turn if nobody has it.
    pub(super) fn take(self) -> bool {
        self.word.compare_exchange(FREE, TAKEN, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Under the list's lock: takes the turn, or makes sure that whoever has it looks into the list.
    fn take_or_list(self) -> bool {
        loop {
            if self.take() {
                return true;
            }
            let before = self.word.compare_exchange(TAKEN, LISTED, Ordering::SeqCst, Ordering::SeqCst);
            if before.is_ok() || before == Err(LISTED) {
                return false;
            }
        }
    }

    /// Takes the turn, or waits for it.
    #[inline]
    pub(crate) fn poll_enter(self, place: &mut Place, cx: &mut Context<'_>) -> Poll<()> {
        match *place {
            Place::THROUGH => return Poll::Ready(()),
            Place::OUTSIDE if self.take() => {
                *place = Place::THROUGH;
                return Poll::Ready(());
            }
            _ => {}
        }
        self.poll_in_line(place, cx)
    }

    /// [`poll_enter`](Self::poll_enter) for who does not have the turn, and was not first.
    #[cold]
    #[inline(never)]
    fn poll_in_line(self, place: &mut Place, cx: &mut Context<'_>) -> Poll<()> {
        let mut list = self.list();
        match *place {
            Place::OUTSIDE if self.take_or_list() => {
                *place = Place::THROUGH;
                Poll::Ready(())
            }
            Place::OUTSIDE => {
                // Foreign code, which may panic: before the place counts.
                let waker = cx.waker().clone();
                list.last = list.last.next();
                *place = list.last;
                list.waiting.push_back((*place, waker));
                Poll::Pending
            }
            waits if list.granted == Some(waits) => {
                list.granted = None;
                if list.waiting.is_empty() && list.standby.is_none() {
                    self.word.store(TAKEN, Ordering::SeqCst);
                }
                *place = Place::THROUGH;
                Poll::Ready(())
            }
            waits => {
                let mut waiting = list.waiting.iter_mut();
                if let Some((_, waker)) = waiting.find(|(waiting, _)| *waiting == waits) {
                    let before = std::mem::replace(waker, cx.waker().clone());
                    // Foreign code: not under the lock.
                    drop(list);
                    drop(before);
                }
                Poll::Pending
            }
        }
    }

    /// Takes the turn if the lane is free; if not, wakes `waker` once it is.
    ///
    /// # Errors
    /// The waker that stood by until now, if it is another one: dropping it is foreign code, which is not
    /// for under a lock.
    pub(super) fn try_enter(self, waker: &Waker) -> Result<(), Option<Waker>> {
        if self.take() {
            return Ok(());
        }
        let mut list = self.list();
        if self.take_or_list() {
            return Ok(());
        }
        let same = list.standby.as_ref().is_some_and(|standby| standby.will_wake(waker));
        Err(if same { None } else { list.standby.replace(waker.clone()) })
    }

    /// As [`try_enter`](Self::try_enter), for as long as the value lives.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn visit(self, waker: &Waker) -> Result<Visit<'a, LIST>, Option<Waker>> {
        self.try_enter(waker).map(|()| Visit(self))
    }

    /// Has `waker` woken when the lane is next free; false if it is now.
    pub(super) fn stand_by(self, waker: &Waker) -> bool {
        let entered = self.try_enter(waker);
        if entered.is_ok() {
            self.pass();
        }
        entered.is_err()
    }

    /// Whether callers with a place wait for the turn.
    pub(super) fn has_waiting(self) -> bool {
        self.word.load(Ordering::SeqCst) == LISTED && {
            let list = self.list();
            list.granted.is_some() || !list.waiting.is_empty()
        }
    }

    /// Whether somebody waits for the turn, or stands by. Who comes after this look is seen by the next one.
    #[inline]
    pub(super) fn is_wanted(self) -> bool {
        self.word.load(Ordering::SeqCst) == LISTED
    }

    /// Passes the turn to the next in line. Called once by whoever had it.
    #[inline]
    pub(crate) fn pass(self) {
        if self.word.compare_exchange(TAKEN, FREE, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            self.pass_in_line();
        }
    }

    /// As [`pass`](Self::pass), for who has a lock; gives back who is to be woken without it.
    #[must_use = "who is next must be woken"]
    pub(super) fn hand_on(self) -> Option<Waker> {
        let handed = self.word.compare_exchange(TAKEN, FREE, Ordering::SeqCst, Ordering::SeqCst);
        if handed.is_ok() { None } else { self.hand_on_in_line() }
    }

    /// [`pass`](Self::pass) when there are others.
    #[cold]
    #[inline(never)]
    fn pass_in_line(self) {
        if let Some(next) = self.hand_on_in_line() {
            guard::wake(next);
        }
    }

    fn hand_on_in_line(self) -> Option<Waker> {
        debug_assert!(self.lists.get().is_some(), "who waits has made the lists");
        let mut list = self.list();
        debug_assert!(self.word.load(Ordering::SeqCst) == LISTED, "only who has the turn passes it");
        debug_assert!(list.granted.is_none(), "who was granted the turn passes it after it came for it");
        match list.waiting.pop_front() {
            Some((next, waker)) => {
                list.granted = Some(next);
                Some(waker)
            }
            None => {
                self.word.store(FREE, Ordering::SeqCst);
                list.standby.take()
            }
        }
    }

    /// A caller goes away. If it had the turn and nothing in flight, the turn passes on.
    #[inline]
    pub(crate) fn leave(self, place: Place) {
        match place {
            Place::OUTSIDE => {}
            Place::THROUGH => self.pass(),
            waits => self.leave_line(waits),
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_line(self, place: Place) {
        debug_assert!(self.lists.get().is_some(), "who waits has made the lists");
        let mut list = self.list();
        if list.granted == Some(place) {
            // The word still says `LISTED`, so the pass looks into the list.
            list.granted = None;
            drop(list);
            self.pass();
        } else {
            let at = list.waiting.iter().position(|(waiting, _)| *waiting == place);
            let left = at.and_then(|at| list.waiting.remove(at));
            // A waker's drop is foreign code: not under the lock.
            drop(list);
            drop(left);
        }
    }

    /// Whether nobody has the turn.
    pub(crate) fn is_free(self) -> bool {
        self.word.load(Ordering::SeqCst) == FREE
    }
}

/// The send turn of a stream in the hands of a call that is more than one op; passed on when dropped.
pub(super) struct SendTurn<'a> {
    shared: &'a Arc<Shared>,
    place: Place,
}

impl<'a> SendTurn<'a> {
    /// Nobody's turn yet.
    pub(super) fn new(shared: &'a Arc<Shared>) -> Self {
        Self { shared, place: Place::OUTSIDE }
    }

    /// Waits for the turn.
    ///
    /// # Errors
    /// If it would wait in a child of fork, where the turn of an op that the parent has never passes.
    pub(super) async fn take(shared: &'a Arc<Shared>) -> io::Result<Self> {
        let mut turn = Self::new(shared);
        poll_fn(|cx| match turn.poll(cx) {
            Poll::Pending if fork::is_child() => Poll::Ready(Err(fork::error())),
            polled => polled.map(Ok),
        })
        .await?;
        Ok(turn)
    }

    /// Takes the turn, or waits for it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.send_turn().poll_enter(&mut self.place, cx)
    }

    /// The stream whose turn this is.
    pub(super) fn shared(&self) -> &'a Arc<Shared> {
        self.shared
    }

    /// Leaves the turn to an op in flight, which passes it on with its final completion.
    pub(super) fn leave_to_op(&mut self) {
        self.place = Place::OUTSIDE;
    }

    /// Passes it on, or gives the place in front of it up.
    pub(super) fn leave(&mut self) {
        self.shared.leave_send(std::mem::take(&mut self.place));
    }
}

impl Drop for SendTurn<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[test]
    fn who_stands_by_is_woken_when_the_last_with_a_place_has_gone_and_blocks_nobody() {
        let woken = Arc::new(Count::default());
        let (word, lists) = (Word::default(), Lists::default());
        let lane = lists.of_receivers(&word);
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

    #[test]
    fn numbers_begin_again_without_being_taken_for_who_is_outside_or_through() {
        assert_eq!(Place::OUTSIDE.next(), Place(Place::FIRST));
        assert_eq!(Place(u32::MAX).next(), Place(Place::FIRST));
        assert_eq!(Place(7).next(), Place(8));
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
        let (word, lists) = (Word::default(), Lists::default());
        let lane = lists.of_receivers(&word);
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
