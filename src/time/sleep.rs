//! Waiting for a point in time.
//!
//! Owns [`Sleep`], the future between a task and its timer. Promises that it is not ready before its deadline
//! and that the waker of its last poll is woken after it, also if the deadline was changed in between, before
//! the timer fired. It does not know how timers are kept: that is the wheel's and the driver's.
#![forbid(unsafe_code)]

use super::driver::{self, Outcome, Ticket};
#[cfg(feature = "tracing")]
use super::trace::Traced;
use super::{Duration, Instant};
use crate::base::coop;
use crate::sys::fork;
use crate::sys::sqe::gone;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What to tell a task whose timer's core has gone.
const GONE: &str = "the ringwork runtime that this timer belonged to has shut down: a `Sleep`, `Timeout` \
     or `Interval` must not be polled after the runtime in which it was first polled";

/// A deadline that was further away than this when it was set, and is so from when the turn began, is taken
/// for one that has not come, and the clock not read for it. If it has, because the turn has lasted for so
/// long, the next one finds it.
const FAR: Duration = Duration::from_millis(10);

/// Whether that is further away than [`FAR`], which is less than a second.
#[inline]
fn is_far(left: Duration) -> bool {
    (left.as_secs() > 0) | (left.subsec_nanos() > FAR.subsec_nanos())
}

/// Waits until `duration` has passed.
///
/// Nothing happens until the future is polled; the time counts from this call, not from the first poll. The
/// timer has a resolution of one millisecond and is never early. A duration of more than thirty years counts
/// as thirty years, which is as good as for ever.
///
/// To cancel, drop the future.
///
/// ```
/// use ringwork::time::{sleep, Duration, Instant};
///
/// #[ringwork::main]
/// async fn main() {
///     let start = Instant::now();
///     sleep(Duration::from_millis(10)).await;
///     assert!(start.elapsed() >= Duration::from_millis(10));
/// }
/// ```
///
/// # Panics
/// When first polled on a thread that is neither part of a runtime nor has entered one, and when polled
/// before its deadline after the runtime has shut down; see [`Sleep`].
#[cfg_attr(feature = "tracing", track_caller)]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::new(Instant::now().saturating_add(duration), is_far(duration))
}

/// Waits until `deadline`. See [`sleep`].
///
/// ```
/// use ringwork::time::{sleep_until, Duration, Instant};
///
/// #[ringwork::main]
/// async fn main() {
///     let deadline = Instant::now() + Duration::from_millis(10);
///     sleep_until(deadline).await;
///     assert!(Instant::now() >= deadline);
/// }
/// ```
///
/// # Panics
/// As [`sleep`].
#[cfg_attr(feature = "tracing", track_caller)]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(deadline, false)
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It may be made anywhere, also before there is a runtime. Its first poll puts a timer on the core that
/// polls it, or on a core of the runtime that the thread has entered (a core may have entered another one,
/// with a clock that a test [has stopped](super::pause)); from then on the future may be polled,
/// [`reset`](Self::reset) and dropped on any thread. One `Sleep` can be waited for again after each
/// `reset`, which costs less than a new one. If that takes a new timer, it goes where the first one would; on
/// a thread that is no core and has entered no runtime, to the core of the last one, if no test has stopped a
/// clock in this process.
///
/// ```
/// use ringwork::time::{sleep, Duration, Instant};
/// use std::pin::pin;
///
/// #[ringwork::main]
/// async fn main() {
///     let mut idle = pin!(sleep(Duration::from_secs(3600)));
///     // Something happened: the time counts anew.
///     idle.as_mut().reset(Instant::now() + Duration::from_millis(5));
///     idle.as_mut().await;
///     assert!(idle.is_elapsed());
/// }
/// ```
///
/// # Panics
/// When polled before its deadline after the runtime in which it was first polled has shut down: nobody is
/// left who could wake it. Dropping it then is fine.
#[must_use = "a sleep waits only while it is awaited or polled"]
#[derive(Debug)]
pub struct Sleep {
    deadline: Instant,
    state: State,
    /// The timer of one that is armed. Else the last one, if there was any: it is over or withdrawn, and kept
    /// because it knows a core.
    ticket: Ticket,
    #[cfg(feature = "tracing")]
    traced: Option<Box<Traced>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No timer: never polled, or reset after it had elapsed.
    Idle {
        /// The deadline was [`FAR`] away when it was set. False where nobody has read the clock for that: it
        /// may have passed then already.
        is_far: bool,
    },
    Armed {
        /// The home core has been asked to change the deadline, so the timer may fire at an older one.
        asked: bool,
    },
    Elapsed,
    /// Nobody is left who would wake the task.
    Gone,
}

impl Sleep {
    #[cfg_attr(feature = "tracing", track_caller)]
    fn new(deadline: Instant, is_far: bool) -> Self {
        Self {
            deadline,
            state: State::Idle { is_far },
            ticket: Ticket::none(),
            #[cfg(feature = "tracing")]
            traced: Traced::new(deadline, std::panic::Location::caller()),
        }
    }

    /// When it is or was due. If that was more than thirty years away when it was polled, its timer is set
    /// for thirty years; only a clock that a test has [stopped](super::pause) gets that far.
    ///
    /// ```
    /// use ringwork::time::{sleep_until, Instant};
    ///
    /// let deadline = Instant::now();
    /// assert_eq!(sleep_until(deadline).deadline(), deadline);
    /// ```
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether its timer has fired since it was made or last [`reset`](Self::reset).
    ///
    /// One that was never polled has no timer, and has not elapsed however late it is.
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        match self.state {
            State::Idle { .. } | State::Gone => false,
            State::Armed { asked } => {
                self.ticket.outcome() == Some(Outcome::Fired) && self.proves_the_deadline(asked)
            }
            State::Elapsed => true,
        }
    }

    /// Changes the deadline, whether it has elapsed or not.
    ///
    /// A task that waits keeps waiting, for the new deadline, and need not poll again, unless the timer had
    /// fired: then it has woken its task, and waits for the new deadline once that polls it. So a task that
    /// resets a sleep whose deadline may have passed polls it afterwards. The call never fails and never
    /// waits; on a core that is not the timer's home it costs a message.
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.get_mut().set_deadline(deadline);
    }

    /// [`Sleep::reset`] for those who own the future.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.set(deadline, false);
    }

    /// As [`Self::set_deadline`], by a caller who has just read the clock: it is `now`.
    pub(super) fn set_deadline_from(&mut self, deadline: Instant, now: Instant) {
        self.set(deadline, is_far(deadline - now));
    }

    fn set(&mut self, deadline: Instant, is_far: bool) {
        self.deadline = deadline;
        #[cfg(feature = "tracing")]
        self.traced.iter().for_each(|traced| traced.deadline(deadline));
        self.state = match self.state {
            State::Armed { .. } if self.ticket.outcome().is_none() => {
                State::Armed { asked: !self.ticket.postpone(deadline.into_std()) }
            }
            // It has fired and its task is being woken, or the core has gone: the next poll arms a new timer.
            State::Armed { .. } | State::Elapsed | State::Idle { .. } | State::Gone => State::Idle { is_far },
        };
    }

    /// Whether firing means that the deadline has passed. Not so if the home core was asked to change it
    /// and the firing may have come first; then the clock decides.
    fn proves_the_deadline(&self, asked: bool) -> bool {
        !asked || Instant::now() >= self.deadline
    }

    /// Ready once it is `Elapsed`, or `Gone`.
    // Always: as calls of their own this and `poll_told` take some thirty instructions of a poll.
    #[inline(always)]
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Armed { asked } = self.state {
            if asked && self.ticket.is_on_another_core() {
                // The task lives here now, and so shall its timer: further resets cost no message.
                self.ticket.withdraw();
                self.state = State::Idle { is_far: false };
            } else {
                match ready!(self.ticket.poll(cx)) {
                    Outcome::Fired if self.proves_the_deadline(asked) => self.state = State::Elapsed,
                    Outcome::Fired => self.state = State::Idle { is_far: false },
                    // Nobody is needed any more who would wake the task.
                    Outcome::Gone if Instant::now() >= self.deadline => self.state = State::Elapsed,
                    Outcome::Gone => self.state = State::Gone,
                }
            }
        }
        if let State::Idle { is_far } = self.state {
            let deadline = self.deadline.into_std();
            let lately = if is_far { driver::lately() } else { None };
            let far_from = lately.filter(|lately| deadline > *lately + FAR);
            let now = far_from.unwrap_or_else(|| Instant::now().into_std());
            if deadline > now {
                self.ticket = driver::arm(deadline, now, &self.ticket, cx);
                self.state = State::Armed { asked: false };
                if self.ticket.outcome() != Some(Outcome::Gone) {
                    return Poll::Pending;
                }
                self.state = State::Gone;
                return Poll::Ready(());
            }
            self.state = State::Elapsed;
        }
        Poll::Ready(())
    }

    #[inline(always)]
    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let unit = ready!(coop::poll_proceed(cx));
        #[cfg(not(feature = "tracing"))]
        let polled = self.poll_timer(cx);
        #[cfg(feature = "tracing")]
        let polled = self.poll_traced(cx);
        ready!(polled);
        unit.made_progress();
        Poll::Ready(())
    }

    /// Whether nobody is left who would wake the task, and the deadline has not come.
    fn is_gone(&mut self) -> bool {
        let is_gone = matches!(self.state, State::Gone);
        if is_gone && Instant::now() >= self.deadline {
            self.state = State::Elapsed;
            return false;
        }
        is_gone
    }

    /// For an op that waits for a while: it fails as ops do, and who waits for it has set no timer.
    ///
    /// # Errors
    /// If the runtime has shut down; in a forked child.
    pub(crate) fn poll_within_op(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        fork::check()?;
        ready!(self.poll_told(cx));
        Poll::Ready(if self.is_gone() { Err(gone()) } else { Ok(()) })
    }
}

/// Waits within an op. See [`Sleep::poll_within_op`].
pub(crate) async fn nap(duration: Duration) -> io::Result<()> {
    let mut sleep = sleep(duration);
    poll_fn(|cx| sleep.poll_within_op(cx)).await
}

#[cfg(feature = "tracing")]
impl Sleep {
    fn poll_traced(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Out, so that it can be used around a poll of the rest.
        let Some(traced) = self.traced.take() else { return self.poll_timer(cx) };
        let polled = traced.poll(|| self.poll_timer(cx));
        self.traced = Some(traced);
        polled
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_told(cx));
        assert!(!self.is_gone(), "{GONE}");
        Poll::Ready(())
    }
}
