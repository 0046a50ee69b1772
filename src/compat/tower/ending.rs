//! The word to end, for connections that are many and hear it once.
//!
//! Owns the stage a server is in and the wakers of its connections, each core's under a lock of its own. A
//! connection takes the lock when it comes, when it goes, and if its task's waker changes: a request takes
//! none. It ends nothing itself.
#![forbid(unsafe_code)]

use crate::base::apart::Apart;
use crate::base::guard;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// What connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// Serve.
    Serve = 0,
    /// End the requests in flight and take no others.
    End = 1,
    /// Go at once.
    Cut = 2,
}

/// The wakers of connections that came on one core.
#[derive(Default)]
struct Shard(Apart<Mutex<Seats>>);

#[derive(Default)]
struct Seats {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server and its connections share.
pub(super) struct Ending {
    stage: AtomicU8,
    cut: AtomicUsize,
    shards: Box<[Shard]>,
}

impl Ending {
    /// Nobody is told anything yet.
    pub(super) fn new(cores: usize) -> Self {
        let shards = (0..cores.max(1)).map(|_| Shard::default()).collect();
        Self { stage: AtomicU8::new(Stage::Serve as u8), cut: AtomicUsize::new(0), shards }
    }

    /// Tells all connections, also those that come from now on. A later stage is never taken back.
    pub(super) fn tell(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::SeqCst);
        for shard in &self.shards {
            let told: Vec<Waker> = shard.lock().wakers.iter().flatten().cloned().collect();
            told.into_iter().for_each(guard::wake);
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Serve,
            1 => Stage::End,
            _ => Stage::Cut,
        }
    }

    /// One connection went because it was told to go at once.
    pub(super) fn count_cut(&self) {
        self.cut.fetch_add(1, Ordering::SeqCst);
    }

    /// Connections that were cut so far.
    pub(super) fn cut(&self) -> usize {
        self.cut.load(Ordering::SeqCst)
    }
}

/// The place of one connection.
pub(super) struct Seat {
    ending: Arc<Ending>,
    /// Where its waker is, and the same waker, so that nobody need look there.
    taken: Option<(usize, usize, Waker)>,
}

impl Seat {
    /// A place that is taken at the first poll.
    pub(super) fn new(ending: Arc<Ending>) -> Self {
        Self { ending, taken: None }
    }

    /// The stage now; the task of `cx` is woken when it changes.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Stage {
        match &mut self.taken {
            Some((_, _, known)) if known.will_wake(cx.waker()) => {}
            Some((shard, seat, known)) => {
                known.clone_from(cx.waker());
                let waker = Some(cx.waker().clone());
                let replaced = std::mem::replace(&mut self.ending.shards[*shard].lock().wakers[*seat], waker);
                // Foreign code: not under the lock.
                drop(replaced);
            }
            None => self.taken = Some(self.take(cx.waker())),
        }
        // Behind the waker: who tells looks for wakers after the stage has changed.
        self.ending.stage()
    }

    fn take(&self, waker: &Waker) -> (usize, usize, Waker) {
        let shard = crate::core::current().unwrap_or(0) % self.ending.shards.len();
        let mut seats = self.ending.shards[shard].lock();
        let seat = seats.free.pop().unwrap_or_else(|| {
            seats.wakers.push(None);
            seats.wakers.len() - 1
        });
        seats.wakers[seat] = Some(waker.clone());
        (shard, seat, waker.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some((shard, seat, _)) = self.taken.take() {
            let mut seats = self.ending.shards[shard].lock();
            let waker = seats.wakers[seat].take();
            seats.free.push(seat);
            // A waker that is dropped may free a task, whose drop may come back here.
            drop(seats);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_has_a_place_is_woken_for_each_stage_and_who_left_is_not() {
        let ending = Arc::new(Ending::new(2));
        let counts: [Arc<Count>; 3] = Default::default();
        let mut seats: Vec<Seat> = counts.iter().map(|_| Seat::new(Arc::clone(&ending))).collect();
        for (seat, count) in seats.iter_mut().zip(&counts) {
            let waker = Waker::from(Arc::clone(count));
            assert_eq!(seat.poll(&Context::from_waker(&waker)), Stage::Serve);
            assert_eq!(seat.poll(&Context::from_waker(&waker)), Stage::Serve);
        }
        drop(seats.remove(0));
        ending.tell(Stage::End);
        ending.tell(Stage::Cut);
        let woken = counts.each_ref().map(|count| count.0.load(Ordering::SeqCst));
        assert_eq!(woken, [0, 2, 2]);
        ending.tell(Stage::End);
        assert_eq!(seats[0].poll(&Context::from_waker(Waker::noop())), Stage::Cut, "never taken back");
    }

    /// Whoever wakes it panics.
    struct Gone;

    impl Wake for Gone {
        fn wake(self: Arc<Self>) {
            panic!("nobody is left who would poll, on purpose");
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_behind_it_from_being_told() {
        let ending = Arc::new(Ending::new(1));
        let count = Arc::new(Count::default());
        let wakers = [Waker::from(Arc::new(Gone)), Waker::from(Arc::clone(&count))];
        let mut seats = wakers.each_ref().map(|_| Seat::new(Arc::clone(&ending)));
        for (seat, waker) in seats.iter_mut().zip(&wakers) {
            seat.poll(&Context::from_waker(waker));
        }
        ending.tell(Stage::End);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn another_waker_takes_the_place_of_the_first_and_places_are_used_again() {
        let ending = Arc::new(Ending::new(1));
        let counts: [Arc<Count>; 2] = Default::default();
        for _ in 0..10 {
            let mut seat = Seat::new(Arc::clone(&ending));
            for count in &counts {
                seat.poll(&Context::from_waker(&Waker::from(Arc::clone(count))));
            }
            ending.tell(Stage::End);
        }
        assert_eq!(counts.each_ref().map(|count| count.0.load(Ordering::SeqCst)), [0, 10]);
        assert_eq!(ending.shards[0].lock().wakers.len(), 1);
    }
}
