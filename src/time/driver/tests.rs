//! Tests of a core's timers: this thread as a core with a clock of its own, other threads as strangers.
#![forbid(unsafe_code)]

mod stopped;
mod two_cores;

use super::super::{Instant, interval, sleep, sleep_until, timeout, timeout_at};
use super::*;
use crate::base::message::Message;
use crate::base::reach;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Wake};
use std::thread;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn wakes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn next_deadline() -> Option<std::time::Instant> {
    with_current(|driver| driver.next_deadline()).flatten()
}

fn poll<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(count));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// This thread as a core.
struct Home {
    inbox: Arc<Inbox>,
    start: std::time::Instant,
    _guard: Guard,
}

impl Home {
    fn new() -> Self {
        Self::since(std::time::Instant::now())
    }

    /// Its first turn began at `start`.
    fn since(start: std::time::Instant) -> Self {
        let inbox = Arc::new(Inbox::new(Box::new(|| ())));
        Self { _guard: enter(Driver::new(start, Arc::clone(&inbox))), inbox, start }
    }

    /// Whose clock stands.
    fn stopped() -> (Self, Arc<Clock>) {
        let inbox = Arc::new(Inbox::new(Box::new(|| ())));
        let clock = Clock::new(Arc::clone(&inbox), true);
        let driver = Driver::new(clock.origin(), Arc::clone(&inbox)).going_by(Some(Arc::clone(&clock)));
        (Self { _guard: enter(driver), inbox, start: clock.origin() }, clock)
    }

    /// Lets other threads reach this core and only it.
    fn reached(&self) -> reach::Entered {
        reach::enter(Arc::new(reach::Cores::new(Box::new([Arc::clone(&self.inbox)]))))
    }

    /// One turn of the loop, `later` after the start.
    fn turn(&self, later: Duration) -> usize {
        turns(self.start + later);
        self.inbox.take_pinned().for_each(Message::deliver);
        let mut wakers = Vec::new();
        let fired = fire(self.start + later, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        fired
    }

    fn timers(&self) -> usize {
        with_current(|driver| driver.wheel.len()).expect("a core")
    }
}

/// Runs `away` on a thread that is no core but reaches `home`.
fn elsewhere<R: Send>(home: &Home, away: impl FnOnce() -> R + Send) -> R {
    let inbox = Arc::clone(&home.inbox);
    thread::scope(|scope| {
        let away = scope.spawn(move || {
            let _entered = reach::enter(Arc::new(reach::Cores::new(Box::new([inbox]))));
            away()
        });
        away.join().expect("no panic")
    })
}

/// Runs `away` on a thread that is no core and reaches none.
fn apart<R: Send>(away: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(away).join().expect("no panic"))
}

#[test]
fn a_timer_wakes_its_task_once_at_its_deadline_and_not_before() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = sleep_until(Instant::from_std(home.start + HOUR));
    assert!(poll(&mut sleep, &count).is_pending());
    assert!(poll(&mut sleep, &count).is_pending());
    assert_eq!(next_deadline(), Some(home.start + HOUR));
    assert_eq!(home.turn(HOUR - Duration::from_nanos(1)), 0);
    assert_eq!((home.turn(HOUR), home.turn(HOUR)), (1, 0));
    assert_eq!(count.wakes(), 1);
    assert!(sleep.is_elapsed());
    assert!(poll(&mut sleep, &count).is_ready());
    assert!(poll(&mut sleep, &count).is_ready(), "it stays ready");
    assert_eq!(next_deadline(), None);
}

#[test]
fn a_deadline_that_has_passed_is_ready_at_once_without_a_runtime() {
    let count = Arc::new(Count::default());
    assert!(poll(&mut sleep(Duration::ZERO), &count).is_ready());
    assert!(poll(&mut timeout(Duration::ZERO, std::future::ready(1)), &count).is_ready());
}

#[test]
fn a_duration_without_end_is_a_timer_like_any_other() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = sleep(Duration::MAX);
    assert!(poll(&mut sleep, &count).is_pending());
    assert_eq!(home.turn(1_000_000 * HOUR / 10), 0);
    assert!(next_deadline().is_some());
}

#[test]
fn a_deadline_that_came_during_a_long_turn_is_found_by_the_next_one() {
    let start = std::time::Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
    let (home, count) = (Home::since(start), Arc::new(Count::default()));
    let mut passed = sleep(Duration::from_millis(20));
    thread::sleep(passed.deadline() - Instant::now());
    assert!(poll(&mut passed, &count).is_pending(), "the clock is not read for it");
    let next = passed.deadline().into_std() - start + Duration::from_millis(1);
    assert_eq!((home.turn(next), count.wakes()), (1, 1));
    assert!(poll(&mut passed, &count).is_ready());
    let mut near = sleep(Duration::from_millis(1));
    thread::sleep(near.deadline() - Instant::now());
    assert!(poll(&mut near, &count).is_ready(), "for one that was near it is");
    let mut unknown = sleep_until(Instant::from_std(start + Duration::from_secs(2)));
    assert!(poll(&mut unknown, &count).is_ready(), "and for one that may have been");
}

#[test]
fn what_is_due_when_it_is_set_is_ready_at_once_however_long_the_turn_has_lasted() {
    let start = std::time::Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
    let (home, count) = (Home::since(start), Arc::new(Count::default()));
    let never = std::future::pending::<()>;
    assert!(poll(&mut sleep(Duration::ZERO), &count).is_ready());
    assert!(poll(&mut sleep_until(Instant::now()), &count).is_ready());
    assert!(poll(&mut timeout(Duration::ZERO, never()), &count).is_ready());
    assert!(poll(&mut timeout_at(Instant::now(), never()), &count).is_ready());
    let mut ticks = interval(HOUR);
    assert!(poll(&mut pin!(ticks.tick()), &count).is_ready(), "the first at once");
    assert!(poll(&mut pin!(ticks.tick()), &count).is_pending(), "the second is an hour away");
    drop(ticks);
    let mut again = sleep(Duration::ZERO);
    assert!(poll(&mut again, &count).is_ready());
    Pin::new(&mut again).reset(Instant::now());
    assert!(poll(&mut again, &count).is_ready());
    assert_eq!(home.timers(), 0);
}

#[test]
fn a_timer_dropped_at_home_leaves_the_wheel_and_its_memory_is_used_again() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let spare = || {
        with_current(|driver| driver.spare.iter().map(|[one, _]| Arc::as_ptr(one)).collect::<Vec<_>>())
            .expect("a core")
    };
    for round in 0..3 {
        let mut sleep = sleep(HOUR);
        assert!(poll(&mut sleep, &count).is_pending());
        assert_eq!((home.timers(), spare().len()), (1, 0));
        if round == 1 {
            home.turn(2 * HOUR);
        }
        drop(sleep);
        assert_eq!((home.timers(), spare().len()), (0, 1));
    }
    assert_eq!((Arc::strong_count(&count), count.wakes()), (1, 1));
}

#[test]
fn the_wheel_gives_the_memory_of_a_burst_back_and_keeps_the_timers_that_are_left() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut burst: Vec<_> = (0..10_000).map(|_| Box::pin(sleep(HOUR))).collect();
    assert!(burst.iter_mut().all(|sleep| poll(sleep, &count).is_pending()));
    let mut left = sleep_until(Instant::from_std(home.start + HOUR));
    assert!(poll(&mut left, &count).is_pending());
    // Not at home, where their own memory would be kept for the next ones.
    elsewhere(&home, move || drop(burst));
    home.turn(Duration::ZERO);
    let has_surplus = || with_current(|driver| driver.wheel.has_surplus()).expect("a core");
    assert!(has_surplus() && home.timers() == 1);
    assert_eq!(time_left(|| home.start), Some(UNNEEDED), "a core that sleeps looks again");
    home.turn(Duration::ZERO);
    assert_eq!(time_left(|| home.start + UNNEEDED / 4), Some(UNNEEDED * 3 / 4));
    home.turn(UNNEEDED);
    assert!(!has_surplus() && home.timers() == 1);
    assert_eq!(time_left(|| home.start), Some(HOUR));
    Pin::new(&mut left).reset(Instant::from_std(home.start + 2 * HOUR));
    assert_eq!((home.turn(HOUR), home.turn(2 * HOUR), count.wakes()), (0, 1, 1));
    assert!(poll(&mut left, &count).is_ready());
}

#[test]
fn a_timer_first_polled_on_another_thread_goes_to_a_core() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = sleep(HOUR);
    elsewhere(&home, || assert!(poll(&mut sleep, &count).is_pending()));
    assert_eq!(home.timers(), 0);
    home.turn(Duration::ZERO);
    assert_eq!(home.timers(), 1);
    home.turn(2 * HOUR);
    assert_eq!(count.wakes(), 1);
    elsewhere(&home, || assert!(poll(&mut sleep, &count).is_ready()));
}

#[test]
#[should_panic(expected = "Handle::enter")]
fn a_timer_with_no_runtime_in_reach_says_what_to_call() {
    let _ = poll(&mut sleep(HOUR), &Arc::new(Count::default()));
}

#[test]
fn a_timer_dropped_elsewhere_leaves_the_wheel_with_the_next_turn() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = sleep(HOUR);
    assert!(poll(&mut sleep, &count).is_pending());
    elsewhere(&home, move || drop(sleep));
    assert_eq!((home.timers(), Arc::strong_count(&count)), (1, 1));
    home.turn(Duration::ZERO);
    assert_eq!(home.timers(), 0);
}

#[test]
fn a_cancel_may_cross_the_firing_and_the_registering() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut fired = sleep(HOUR);
    assert!(poll(&mut fired, &count).is_pending());
    let mut unregistered = sleep(HOUR);
    elsewhere(&home, || assert!(poll(&mut unregistered, &count).is_pending()));
    drop(unregistered);
    let mut wakers = Vec::new();
    fire(home.start + 2 * HOUR, &mut wakers);
    elsewhere(&home, move || drop(fired));
    assert_eq!(wakers.len(), 1);
    home.turn(2 * HOUR);
    assert_eq!(home.timers(), 0);
}

#[test]
fn a_reset_moves_the_deadline_of_a_task_that_does_not_poll_again() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = pin!(sleep(HOUR));
    assert!(poll(&mut sleep, &count).is_pending());
    sleep.as_mut().reset(Instant::from_std(home.start + 3 * HOUR));
    assert_eq!(home.turn(2 * HOUR), 0);
    elsewhere(&home, || sleep.as_mut().reset(Instant::from_std(home.start + 5 * HOUR)));
    assert_eq!(home.turn(4 * HOUR), 0);
    assert_eq!(home.turn(5 * HOUR), 1);
    assert_eq!(count.wakes(), 1);
    sleep.as_mut().reset(Instant::now());
    assert!(poll(&mut sleep, &count).is_ready());
}

#[test]
fn a_reset_that_crosses_the_firing_is_not_taken_for_the_new_deadline() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = pin!(sleep_until(Instant::from_std(home.start + HOUR)));
    assert!(poll(&mut sleep, &count).is_pending());
    elsewhere(&home, || sleep.as_mut().reset(Instant::from_std(home.start + 3 * HOUR)));
    // The clock is looked at before the inbox: the timer fires at its old deadline.
    let mut wakers = Vec::new();
    assert_eq!(fire(home.start + HOUR, &mut wakers), 1);
    assert!(!sleep.is_elapsed());
    home.turn(Duration::ZERO);
    assert!(poll(&mut sleep, &count).is_pending());
    assert_eq!((home.timers(), next_deadline()), (1, Some(home.start + 3 * HOUR)));
}

#[test]
fn a_reset_that_crosses_the_firing_is_waited_for_on_a_thread_without_a_runtime() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = pin!(sleep_until(Instant::from_std(home.start + HOUR)));
    assert!(poll(&mut sleep, &count).is_pending());
    apart(|| sleep.as_mut().reset(Instant::from_std(home.start + 3 * HOUR)));
    assert_eq!(fire(home.start + HOUR, &mut Vec::new()), 1);
    apart(|| assert!(poll(&mut sleep, &count).is_pending()));
    home.turn(HOUR);
    assert_eq!((home.timers(), next_deadline()), (1, Some(home.start + 3 * HOUR)));
    assert_eq!((home.turn(3 * HOUR), count.wakes()), (1, 1));
    apart(|| assert!(poll(&mut sleep, &count).is_ready()));
}

#[test]
fn a_sleep_that_is_reset_after_its_end_goes_back_to_its_core_from_a_thread_without_a_runtime() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let at = |hours: u32| Instant::from_std(home.start + hours * HOUR);
    let mut sleep = pin!(sleep_until(at(1)));
    assert!(poll(&mut sleep, &count).is_pending());
    home.turn(HOUR);
    apart(|| {
        assert!(poll(&mut sleep, &count).is_ready());
        sleep.as_mut().reset(at(2));
        assert!(poll(&mut sleep, &count).is_pending());
    });
    home.turn(HOUR);
    assert_eq!((home.timers(), home.turn(2 * HOUR), count.wakes()), (1, 1, 2));
    // Reset at home, and only polled there.
    sleep.as_mut().reset(at(3));
    apart(|| assert!(poll(&mut sleep, &count).is_pending()));
    home.turn(2 * HOUR);
    assert_eq!((home.timers(), home.turn(3 * HOUR), count.wakes()), (1, 1, 3));
    // And once nobody is there any more.
    sleep.as_mut().reset(at(4));
    drop(home.inbox.close());
    let polled =
        apart(|| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut sleep, &count))));
    let message = *polled.expect_err("nobody would wake it").downcast::<String>().expect("a message");
    assert!(message.contains("has shut down"), "{message}");
}

#[test]
fn a_timer_that_is_over_on_another_core_leaves_its_own_and_can_go_back_there() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = pin!(sleep(HOUR));
    assert!(poll(&mut sleep, &count).is_pending());
    apart(|| {
        let other = Home::new();
        sleep.as_mut().reset(Instant::now());
        assert!(poll(&mut sleep, &count).is_ready());
        assert_eq!(other.timers(), 0);
    });
    assert_eq!(Arc::strong_count(&count), 1, "nobody waits");
    home.turn(Duration::ZERO);
    assert_eq!(home.timers(), 0);
    sleep.as_mut().reset(Instant::from_std(home.start + HOUR));
    apart(|| assert!(poll(&mut sleep, &count).is_pending()));
    home.turn(Duration::ZERO);
    assert_eq!((home.timers(), home.turn(HOUR), count.wakes()), (1, 1, 1));
}

#[test]
fn a_timer_that_is_reset_follows_its_task_to_another_core() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = pin!(sleep(HOUR));
    assert!(poll(&mut sleep, &count).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| {
            let other = Home::new();
            assert!(poll(&mut sleep, &count).is_pending());
            assert_eq!(other.timers(), 0, "a poll alone moves nothing");
            sleep.as_mut().reset(Instant::from_std(home.start + 2 * HOUR));
            assert!(poll(&mut sleep, &count).is_pending());
            assert_eq!(other.timers(), 1);
            other.turn(3 * HOUR);
            assert!(poll(&mut sleep, &count).is_ready());
        });
    });
    home.turn(Duration::ZERO);
    assert_eq!((home.timers(), count.wakes()), (0, 1));
}

#[test]
fn timers_of_a_core_that_goes_wake_their_tasks_and_say_so() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let (mut here, mut away, mut late) = (sleep(HOUR), sleep(HOUR), sleep(HOUR));
    assert!(poll(&mut here, &count).is_pending());
    elsewhere(&home, || assert!(poll(&mut away, &count).is_pending()));
    let _reached = home.reached();
    let mut wakers = Vec::new();
    assert_eq!((shut_down(&mut wakers), wakers.len()), (1, 1));
    home.inbox.take_pinned().for_each(Message::deliver);
    assert_eq!(count.wakes(), 1, "a message that comes after the end of the driver is answered");
    drop(home.inbox.close());
    for sleep in [&mut here, &mut away, &mut late] {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(sleep, &count)));
        let message =
            *polled.expect_err("nobody is left to wake it").downcast::<String>().expect("a message");
        assert!(message.contains("has shut down"), "{message}");
    }
    drop((here, away, late, wakers));
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn a_reset_on_its_way_to_a_core_that_goes_does_not_end_the_timer_twice() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let mut sleep = pin!(sleep(HOUR));
    assert!(poll(&mut sleep, &count).is_pending());
    elsewhere(&home, || sleep.as_mut().reset(Instant::from_std(home.start + 2 * HOUR)));
    drop(home.inbox.close());
    let mut wakers = Vec::new();
    assert_eq!((shut_down(&mut wakers), wakers.len()), (1, 1));
    elsewhere(&home, || sleep.as_mut().reset(Instant::now()));
    assert!(poll(&mut sleep, &count).is_ready(), "its deadline has passed: nobody need wake it");
}

/// A waker that owns a timer: dropping it comes back into the driver.
struct Owning {
    _timer: Mutex<Option<super::super::Sleep>>,
}

impl Wake for Owning {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_that_drops_a_timer_may_be_dropped_by_a_timer() {
    let (home, count) = (Home::new(), Arc::new(Count::default()));
    let owning = || {
        let mut inner = sleep(HOUR);
        assert!(poll(&mut inner, &count).is_pending());
        let waker = Waker::from(Arc::new(Owning { _timer: Mutex::new(Some(inner)) }));
        let mut outer = sleep(HOUR);
        assert!(Pin::new(&mut outer).poll(&mut Context::from_waker(&waker)).is_pending());
        outer
    };
    drop(owning());
    assert_eq!(home.timers(), 0);
    let (fired, left) = (owning(), owning());
    elsewhere(&home, move || drop(fired));
    home.turn(Duration::ZERO);
    assert_eq!(home.timers(), 2);
    home.turn(2 * HOUR);
    drop(left);
    drop(owning());
    assert_eq!((home.timers(), Arc::strong_count(&count)), (0, 1));
}
