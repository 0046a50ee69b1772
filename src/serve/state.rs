//! What the cores of one server share: the counts, the word to stop, the mailboxes.
//!
//! Owns who is alive where and who waits for a change. A connection counts on the core where it was placed,
//! for as long as its future (or its place in a mailbox) lives, wherever its task runs. All it holds of the
//! server is that core's [`Place`], one pointer, and with it the [`Course`] of the server: whether it is to
//! stop, and how many connections there are. It accepts nothing.
#![forbid(unsafe_code)]

use super::balance::{Balance, Load, comes_in_one_sided, is_surely_one_sided, least_loaded};
use super::mailbox::Mailbox;
use crate::base::apart::Apart;
use crate::base::guard;
use crate::runtime::Handle;
use pin_project_lite::pin_project;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// What is counted all the time, away from what others read.
type Count = Apart<AtomicUsize>;

/// Arrivals at one core after which all counts of arrivals are halved, so that the last few thousand decide.
const FORGOTTEN_AT: usize = 4096;

/// What the accept loops, the connections and the server share.
pub(super) struct State {
    runtime: Handle,
    balance: Balance,
    course: Arc<Course>,
    places: Box<[Arc<Place>]>,
    /// Connections that came to each core lately, wherever they were placed.
    arrived: Box<[Count]>,
    /// Loops on [`Duty::Accept`].
    accepting: AtomicUsize,
    /// Loops that may place connections: those, and those on [`Duty::Help`].
    placing: AtomicUsize,
    turn: AtomicUsize,
    /// One per core if handlers live on cores and connections are handed over; else none.
    mailboxes: Box<[Mailbox]>,
}

/// How far the server is, and who waits for it to get on.
#[derive(Default)]
struct Course {
    stopping: AtomicBool,
    /// Connections alive, on all cores.
    live: Count,
    waiting: Mutex<Vec<Waker>>,
}

impl Course {
    fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(guard::wake);
    }
}

/// Where connections are placed: a core.
struct Place {
    /// Connections alive that were placed here.
    live: Count,
    course: Arc<Course>,
}

impl State {
    /// Nobody is on duty yet, and no connection is alive.
    pub(super) fn new(runtime: Handle, balance: Balance, by_mail: bool) -> Self {
        let cores = runtime.cores();
        let course = Arc::<Course>::default();
        let place = |_| Arc::new(Place { live: Count::default(), course: Arc::clone(&course) });
        Self {
            balance,
            places: (0..cores).map(place).collect(),
            arrived: (0..cores).map(|_| Count::default()).collect(),
            accepting: AtomicUsize::new(0),
            placing: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            mailboxes: (0..if by_mail { cores } else { 0 }).map(|_| Mailbox::default()).collect(),
            course,
            runtime,
        }
    }

    /// The runtime that the server is in.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The mailbox of `core`, if connections go by mail.
    pub(super) fn mailbox(&self, core: usize) -> Option<&Mailbox> {
        self.mailboxes.get(core)
    }

    /// The core for a connection that came to core `came_to` and that core `here` has accepted; `waiting`
    /// says how many have come to a core and are not counted yet.
    pub(super) fn place(&self, here: usize, came_to: usize, waiting: impl Fn(usize) -> usize) -> usize {
        match self.balance {
            Balance::Kernel => here,
            // It is accepted for a core that is stuck.
            Balance::Nearest if came_to != here => here,
            Balance::Nearest if !self.comes_in_one_sided(here, waiting) => here,
            Balance::Nearest if !self.is_above_the_mean(here) => here,
            Balance::Nearest => least_loaded(self.places.len(), here, |core| self.load(core)),
            Balance::LeastLoaded => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                least_loaded(self.places.len(), turn, |core| self.load(core))
            }
        }
    }

    /// Counts a connection that came to a core, and says whether far more come to it than to others. To ask
    /// who waits is a system call for each core: only if it decides.
    fn comes_in_one_sided(&self, core: usize, waiting: impl Fn(usize) -> usize) -> bool {
        let arrived = |count: &Count| count.load(Ordering::Relaxed);
        if self.arrived[core].fetch_add(1, Ordering::Relaxed) + 1 >= FORGOTTEN_AT {
            // What others count meanwhile may be lost.
            for count in &self.arrived {
                count.store(arrived(count) / 2, Ordering::Relaxed);
            }
        }
        let (cores, own) = (self.arrived.len(), arrived(&self.arrived[core]));
        let total = self.arrived.iter().map(arrived).sum();
        if is_surely_one_sided(own, total, cores) {
            return true;
        }
        comes_in_one_sided(own, total, cores) && {
            let total = total + (0..cores).map(&waiting).sum::<usize>();
            comes_in_one_sided(own + waiting(core), total, cores)
        }
    }

    /// Whether a core has as many connections as others, or more.
    fn is_above_the_mean(&self, core: usize) -> bool {
        let live = self.places[core].live.load(Ordering::Relaxed);
        live * self.places.len() >= self.course.live.load(Ordering::Relaxed)
    }

    fn load(&self, core: usize) -> Load {
        Load {
            unfit: self.runtime.is_stuck(core) || self.mailbox(core).is_some_and(Mailbox::is_closed),
            connections: self.places[core].live.load(Ordering::Relaxed),
            queued: self.runtime.queued(core),
        }
    }

    /// Connections alive, per core.
    pub(super) fn connections(&self) -> Vec<usize> {
        self.places.iter().map(|place| place.live.load(Ordering::SeqCst)).collect()
    }

    /// Connections alive.
    pub(super) fn total(&self) -> usize {
        self.course.live.load(Ordering::SeqCst)
    }

    /// Tells the accept loops to end.
    pub(super) fn stop(&self) {
        self.course.stopping.store(true, Ordering::SeqCst);
        self.course.wake();
    }

    /// Somebody is on `duty` for as long as the result lives.
    pub(super) fn take_on(self: &Arc<Self>, duty: Duty) -> OnDuty {
        match duty {
            Duty::Accept => {
                self.accepting.fetch_add(1, Ordering::SeqCst);
                self.placing.fetch_add(1, Ordering::SeqCst);
            }
            Duty::Help => drop(self.placing.fetch_add(1, Ordering::SeqCst)),
            Duty::Mail(_) => {}
        }
        OnDuty { state: Arc::clone(self), duty }
    }

    /// Whether the server was told to stop; if not, the task of `cx` is woken then.
    pub(super) fn poll_stopping(&self, cx: &Context<'_>) -> bool {
        self.course.wait(cx.waker());
        self.is_stopping()
    }

    /// Whether the server was told to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.course.stopping.load(Ordering::SeqCst)
    }

    /// Whether all accept loops have ended; if not, the task of `cx` is woken then, and when the server is
    /// told to stop.
    pub(super) fn poll_accepted_all(&self, cx: &Context<'_>) -> bool {
        self.course.wait(cx.waker());
        self.accepting.load(Ordering::SeqCst) == 0
    }

    /// Whether nobody places connections any more; if not, the task of `cx` is woken then.
    pub(super) fn poll_placed_all(&self, cx: &Context<'_>) -> bool {
        self.course.wait(cx.waker());
        self.placing.load(Ordering::SeqCst) == 0
    }

    /// Waits until no connection is live.
    pub(super) async fn idle(&self) {
        poll_fn(|cx| {
            self.course.wait(cx.waker());
            if self.total() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// What a loop of a server does. Taken on before any of them starts, and ended also by one that never ran.
#[derive(Clone, Copy, Debug)]
pub(super) enum Duty {
    /// Accepts from a listener of its own.
    Accept,
    /// Accepts for stuck cores.
    Help,
    /// Serves the mailbox of this core.
    Mail(usize),
}

/// Somebody is on duty.
pub(super) struct OnDuty {
    state: Arc<State>,
    duty: Duty,
}

impl Drop for OnDuty {
    fn drop(&mut self) {
        let State { accepting, placing, .. } = &*self.state;
        let last_of = |loops: &AtomicUsize| loops.fetch_sub(1, Ordering::SeqCst) == 1;
        let last = match self.duty {
            // Both: neither count may be skipped.
            Duty::Accept => last_of(accepting) | last_of(placing),
            Duty::Help => last_of(placing),
            Duty::Mail(core) => {
                self.state.mailbox(core).into_iter().for_each(Mailbox::close);
                false
            }
        };
        if last {
            self.state.course.wake();
        }
    }
}

/// Counts one connection, on one core, for as long as its future lives.
pub(super) struct Live {
    place: Arc<Place>,
}

impl Live {
    pub(super) fn new(state: &State, core: usize) -> Self {
        let place = Arc::clone(&state.places[core]);
        // The place first, here and at the end: who knows that there are so many in all, or none, finds as
        // many at the places.
        place.live.fetch_add(1, Ordering::SeqCst);
        place.course.live.fetch_add(1, Ordering::SeqCst);
        Self { place }
    }

    /// The same connection, counted on another core.
    pub(super) fn moved_to(mut self, state: &State, core: usize) -> Self {
        let place = Arc::clone(&state.places[core]);
        debug_assert!(Arc::ptr_eq(&place.course, &self.place.course), "broken invariant: another server's");
        place.live.fetch_add(1, Ordering::SeqCst);
        self.place.live.fetch_sub(1, Ordering::SeqCst);
        self.place = place;
        self
    }

    pub(super) fn guard<F: Future<Output = ()>>(self, connection: F) -> Counted<F> {
        Counted { connection, live: self }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let Place { live, course } = &*self.place;
        live.fetch_sub(1, Ordering::SeqCst);
        // Whoever is not woken here, because the word to stop has not been given, looks at the count after
        // it is.
        if course.live.fetch_sub(1, Ordering::SeqCst) == 1 && course.stopping.load(Ordering::SeqCst) {
            course.wake();
        }
    }
}

pin_project! {
    /// A connection's future and its place in the count, side by side: an `async fn` would keep room for the
    /// future twice, as its argument and as what it awaits.
    pub(super) struct Counted<F> {
        #[pin]
        connection: F,
        live: Live,
    }
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().connection.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_once_in_all_and_at_the_place_where_it_is() {
        let runtime = crate::runtime::Builder::new().cores(2).build().expect("a runtime starts");
        let state = State::new(runtime.handle().clone(), Balance::Kernel, false);
        let counted = || (state.total(), state.connections());
        let (first, second) = (Live::new(&state, 0), Live::new(&state, 0));
        assert_eq!(counted(), (2, vec![2, 0]));
        let second = second.moved_to(&state, 1);
        assert_eq!(counted(), (2, vec![1, 1]));
        drop(first);
        assert_eq!(counted(), (1, vec![0, 1]));
        drop(second);
        assert_eq!(counted(), (0, vec![0, 0]));
    }

    #[test]
    fn counting_a_connection_does_not_double_its_memory() {
        let connection = async {
            let bytes = [0u8; 1000];
            std::future::pending::<()>().await;
            std::hint::black_box(&bytes);
        };
        let alone = size_of_val(&connection);
        let runtime = crate::runtime::Builder::new().cores(1).build().expect("a runtime starts");
        let state = State::new(runtime.handle().clone(), Balance::Kernel, false);
        let counted = Live::new(&state, 0).guard(connection);
        assert!(size_of_val(&counted) <= alone.next_multiple_of(align_of::<usize>()) + size_of::<Live>());
        assert_eq!(size_of::<Live>(), size_of::<usize>());
    }
}
