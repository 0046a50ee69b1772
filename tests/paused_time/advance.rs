//! Moving the clock by hand: exactly, past any number of timers, from wherever the runtime is in reach.

use crate::kit::{bounded, poll_once};
use crate::{HOUR, MS, SECOND, on_the_core, paused};
use ringwork::time::{Duration, Instant, advance, pause, resume, sleep, sleep_until};
use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_clock_moves_by_exactly_what_was_asked() {
    on_the_core(|| async {
        for micros in [51_592, 1, 999, 1_000, 0, 3_000_000, 7] {
            let (start, by) = (Instant::now(), Duration::from_micros(micros));
            advance(by).await;
            assert_eq!(start.elapsed(), by);
        }
        let start = Instant::now();
        advance(Duration::from_nanos(1)).await;
        assert_eq!(start.elapsed(), Duration::from_nanos(1));
    });
}

#[test]
fn a_timer_is_not_early_by_parts_of_a_millisecond() {
    on_the_core(|| async {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut nap = pin!(sleep(MS));
        assert!(nap.as_mut().poll(&mut cx).is_pending());
        for _ in 0..3 {
            advance(Duration::from_micros(250)).await;
            assert!(nap.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        advance(Duration::from_micros(250)).await;
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "it fires before `advance` returns");
        assert!(nap.as_mut().poll(&mut cx).is_ready());
    });
}

#[test]
fn a_timer_far_ahead_stays_there_when_the_clock_moves_a_little() {
    on_the_core(|| async {
        let start = Instant::now();
        advance(MS).await;
        let mut nap = pin!(sleep_until(start + 60 * SECOND));
        assert!(poll_once(&mut nap).await.is_pending());
        let before = Instant::now();
        advance(Duration::from_micros(51_592)).await;
        assert_eq!(before.elapsed(), Duration::from_micros(51_592));
        assert!(poll_once(&mut nap).await.is_pending());
        nap.await;
        assert_eq!(start.elapsed(), 60 * SECOND);
    });
}

#[test]
fn a_jump_goes_to_the_first_whole_millisecond_that_is_not_early() {
    on_the_core(|| async {
        let start = Instant::now();
        advance(Duration::from_micros(300)).await;
        sleep(MS).await;
        assert_eq!(start.elapsed(), 2 * MS);
        sleep(Duration::from_micros(1)).await;
        assert_eq!(start.elapsed(), 3 * MS);
    });
}

#[test]
fn all_timers_that_are_due_have_fired_when_advance_returns() {
    on_the_core(|| async {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        // More than a core fires in one turn.
        let mut naps: Vec<_> = (1..=5_000).map(|n| Box::pin(sleep(n * MS))).collect();
        assert!(naps.iter_mut().all(|nap| nap.as_mut().poll(&mut cx).is_pending()));
        advance(4_000 * MS).await;
        assert_eq!(count.0.load(Ordering::SeqCst), 4_000);
        advance(Duration::from_micros(999_999)).await;
        assert_eq!(count.0.load(Ordering::SeqCst), 4_999);
    });
}

#[test]
fn all_timers_that_are_due_have_fired_although_the_jump_before_has_sorted_a_part_of_them_only() {
    on_the_core(|| async {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut first = pin!(sleep(64 * MS));
        assert!(poll_once(&mut first).await.is_pending());
        // More than a core touches in one turn.
        let mut naps: Vec<_> = (0..4_000).map(|_| Box::pin(sleep(100 * MS))).collect();
        assert!(naps.iter_mut().all(|nap| nap.as_mut().poll(&mut cx).is_pending()));
        first.await;
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        advance(36 * MS).await;
        assert_eq!(count.0.load(Ordering::SeqCst), 4_000);
    });
}

#[test]
fn tasks_wake_in_the_order_of_their_deadlines_when_the_clock_passes_them() {
    on_the_core(|| async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let naps: Vec<_> = (0..5_000_u32)
            .map(|n| {
                let order = Rc::clone(&order);
                ringwork::spawn_local(async move {
                    sleep(Duration::from_millis(u64::from(n * 7 % 5_000))).await;
                    order.borrow_mut().push(n * 7 % 5_000);
                })
            })
            .collect();
        // Behind them all in the queue: each has been polled then.
        ringwork::task::yield_now().await;
        advance(2_499 * MS).await;
        ringwork::task::yield_now().await;
        assert_eq!(*order.borrow(), (0..2_500).collect::<Vec<_>>());
        advance(HOUR).await;
        for nap in naps {
            nap.await.unwrap();
        }
        assert!(order.borrow().is_sorted());
    });
}

#[test]
fn the_clock_can_be_moved_from_block_on_and_from_a_job() {
    bounded(|| {
        let runtime = paused();
        runtime.block_on(async {
            let start = Instant::now();
            let nap = ringwork::spawn(sleep(HOUR));
            advance(HOUR - MS).await;
            assert!(!nap.is_finished());
            // While this thread is awake the clock does not jump, however close the next timer is.
            crate::let_real_time_pass();
            assert!(!nap.is_finished());
            advance(MS).await;
            nap.await.unwrap();
            assert_eq!(start.elapsed(), HOUR);
        });
        let handle = runtime.handle().clone();
        let job = runtime.handle().spawn_blocking(move || {
            let start = Instant::now();
            let nap = handle.spawn(sleep(SECOND));
            handle.block_on(async {
                // The job itself keeps the clock from jumping.
                advance(SECOND).await;
                nap.await.unwrap();
            });
            start.elapsed()
        });
        assert_eq!(runtime.block_on(job).unwrap(), SECOND);
    });
}

#[test]
fn a_clock_that_goes_on_goes_at_its_usual_speed_from_where_it_stood() {
    bounded(|| {
        paused().run_main(|| async {
            let (start, outside) = (Instant::now(), std::time::Instant::now());
            advance(HOUR).await;
            resume();
            let (resumed, real) = (Instant::now(), std::time::Instant::now());
            assert!(resumed - start >= HOUR);
            assert!(resumed.into_std() > real, "it is ahead of the system's clock by what it jumped");
            sleep(5 * MS).await;
            assert!(resumed.elapsed() >= 5 * MS && real.elapsed() >= 5 * MS);
            assert!(start.elapsed() <= HOUR + outside.elapsed());
            // And again.
            pause();
            let stands = Instant::now();
            assert!(stands >= resumed);
            sleep(HOUR).await;
            assert_eq!(stands.elapsed(), HOUR);
        });
    });
}

#[test]
fn a_timer_set_before_the_pause_fires_at_its_deadline() {
    bounded(|| {
        let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
        runtime.run_main(|| async {
            let mut nap = pin!(sleep(HOUR));
            assert!(poll_once(&mut nap).await.is_pending());
            pause();
            let deadline = nap.deadline();
            nap.await;
            let late = Instant::now() - deadline;
            assert!(Instant::now() >= deadline && late <= MS, "{late:?} late");
        });
    });
}
