//! What goes on beside the core keeps the clock from jumping: jobs, threads in `block_on`, completions.

use crate::kit::{Event, bounded, poll_once, wait_for};
use crate::{HOUR, MS, SECOND, builder, let_real_time_pass, on_the_core, paused};
use ringwork::net::{TcpListener, TcpStream};
use ringwork::runtime::Handle;
use ringwork::time::{Duration, Instant, advance, interval, sleep, timeout};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;

#[test]
fn a_job_of_the_pool_keeps_the_clock_where_it_is() {
    on_the_core(|| async {
        let start = Instant::now();
        let nap = ringwork::spawn(sleep(MS));
        let job = ringwork::spawn_blocking(move || {
            let_real_time_pass();
            (start.elapsed(), nap.is_finished(), nap)
        });
        let (elapsed, finished, nap) = job.await.unwrap();
        assert_eq!((elapsed, finished), (Duration::ZERO, false));
        nap.await.unwrap();
        assert_eq!(start.elapsed(), MS);
    });
}

#[test]
fn the_end_of_a_job_that_nobody_awaits_wakes_a_core_whose_clock_stands() {
    on_the_core(|| async {
        for _ in 0..200 {
            let start = Instant::now();
            drop(ringwork::spawn_blocking(thread::yield_now));
            drop(ringwork::spawn_heavy(thread::yield_now));
            sleep(SECOND).await;
            assert_eq!(start.elapsed(), SECOND);
        }
    });
}

#[test]
fn whoever_awaits_a_job_gets_its_output_before_the_clock_jumps() {
    on_the_core(|| async {
        for n in 0..2_000 {
            let job = ringwork::spawn_blocking(move || n);
            assert_eq!(timeout(MS, job).await.expect("in no time").unwrap(), n);
        }
        // A chain: each job is there before the one that spawned it is gone.
        for _ in 0..200 {
            let outer = ringwork::spawn_blocking(|| ringwork::spawn_blocking(|| 7));
            let chain = async { outer.await.unwrap().await.unwrap() };
            assert_eq!(timeout(MS, chain).await.expect("in no time"), 7);
        }
    });
}

#[test]
fn jobs_that_wait_count_and_those_that_are_aborted_do_not() {
    bounded(|| {
        builder().max_blocking_threads(1).build().unwrap().run_main(|| async {
            let (end, ends) = channel::<()>();
            let running = ringwork::spawn_blocking(move || ends.recv());
            let waits = ringwork::spawn_blocking(|| ());
            let (nap, start) = (ringwork::spawn(sleep(SECOND)), Instant::now());
            waits.abort();
            assert!(waits.await.unwrap_err().is_cancelled());
            // The last hold is gone only with this one.
            let ender = thread::spawn(move || {
                let_real_time_pass();
                assert!(!nap.is_finished());
                drop(end);
                nap
            });
            let _ = running.await.unwrap();
            ender.join().unwrap().await.unwrap();
            assert_eq!(start.elapsed(), SECOND);
        });
    });
}

#[test]
fn a_thread_in_block_on_keeps_the_clock_while_it_is_awake() {
    bounded(|| {
        let runtime = paused();
        runtime.block_on(async {
            let ticks = Arc::new(AtomicU32::new(0));
            let counts = Arc::clone(&ticks);
            let start = Instant::now();
            drop(ringwork::spawn(async move {
                let mut period = interval(SECOND);
                loop {
                    period.tick().await;
                    counts.fetch_add(1, Ordering::SeqCst);
                }
            }));
            let_real_time_pass();
            // The first tick is due at once.
            assert!(ticks.load(Ordering::SeqCst) <= 1);
            assert_eq!(start.elapsed(), Duration::ZERO);
            for n in 1..=100 {
                sleep(SECOND).await;
                assert_eq!(start.elapsed(), n * SECOND);
                assert!((n..=n + 1).contains(&ticks.load(Ordering::SeqCst)), "{n}: {ticks:?}");
            }
        });
    });
}

#[test]
fn a_clock_jumps_while_a_block_on_inside_of_block_on_is_parked() {
    bounded(|| {
        let runtime = paused();
        runtime.block_on(async {
            let start = Instant::now();
            runtime.block_on(async {
                sleep(HOUR).await;
                runtime.block_on(sleep(HOUR));
                sleep(HOUR).await;
            });
            sleep(HOUR).await;
            assert_eq!(start.elapsed(), 4 * HOUR);
            // The thread holds the clock again.
            let nap = runtime.spawn(sleep(MS));
            let_real_time_pass();
            assert!(!nap.is_finished());
            nap.await.unwrap();
        });
    });
}

#[test]
fn a_thread_in_block_on_of_two_runtimes_holds_both_clocks_as_soon_as_it_is_woken() {
    bounded(|| {
        let (outer, inner) = (paused(), paused());
        outer.block_on(async {
            for n in 0..500 {
                let start = Instant::now();
                let (first, second) = (outer.spawn(sleep(MS)), outer.spawn(sleep(2 * MS)));
                inner.block_on(first).unwrap();
                assert_eq!(start.elapsed(), MS, "{n}");
                inner.block_on(second).unwrap();
                assert_eq!(start.elapsed(), 2 * MS, "{n}");
                inner.block_on(async {
                    let start = Instant::now();
                    sleep(HOUR).await;
                    assert_eq!(start.elapsed(), HOUR, "{n}");
                });
            }
        });
    });
}

#[test]
fn two_threads_in_block_on_see_the_same_time() {
    bounded(|| {
        let runtime = paused();
        let begun = std::sync::Barrier::new(2);
        let slept = |naps: u32, nap: Duration| {
            runtime.block_on(async {
                // Both are here before either sleeps.
                begun.wait();
                let start = Instant::now();
                for _ in 0..naps {
                    sleep(nap).await;
                }
                start.elapsed()
            })
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| slept(100, 30 * MS));
            assert_eq!(slept(30, 100 * MS), 3 * SECOND);
            assert_eq!(other.join().unwrap(), 3 * SECOND);
        });
    });
}

#[test]
fn bytes_between_two_tasks_arrive_before_the_clock_jumps() {
    on_the_core(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = ringwork::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            loop {
                let buf = stream.recv_pooled().await.unwrap();
                if buf.is_empty() {
                    return;
                }
                stream.send_all(buf).await.0.unwrap();
            }
        });
        let stream = timeout(SECOND, TcpStream::connect(address)).await.expect("in no time").unwrap();
        let start = Instant::now();
        for n in 0..500_u32 {
            let talk = async {
                stream.send_all(n.to_le_bytes()).await.0.unwrap();
                stream.recv_exact(Vec::with_capacity(4)).await.1
            };
            assert_eq!(timeout(MS, talk).await.expect("in no time"), n.to_le_bytes());
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        // A peer that says nothing is worth no wait.
        assert!(timeout(HOUR, stream.recv_pooled()).await.is_err());
        assert_eq!(start.elapsed(), HOUR);
        drop(stream);
        echo.await.unwrap();
    });
}

#[test]
fn files_can_be_read_while_the_clock_stands() {
    on_the_core(|| async {
        let folder = crate::kit::Folder::new();
        let file = folder.file("words", "out of paper");
        let file = ringwork::fs::File::open(&file).await.unwrap();
        // By an op.
        file.cached_reads(false);
        let (read, words) = file.read_at(Vec::with_capacity(64), 0).await;
        assert_eq!((read.unwrap(), &words[..]), (12, &b"out of paper"[..]));
    });
}

#[test]
fn a_core_that_waits_for_a_job_sleeps() {
    bounded(|| {
        let runtime = paused();
        let (end, ends) = channel::<()>();
        let begun = Event::default();
        let begins = begun.clone();
        let job = runtime.handle().spawn_blocking(move || {
            begins.set();
            let _ = ends.recv();
        });
        begun.wait_blocking();
        let nap = runtime.spawn(sleep(SECOND));
        let enters = || runtime.handle().metrics().cores[0].enters;
        wait_for("a core at rest", || {
            let before = enters();
            let_real_time_pass();
            enters() == before
        });
        drop(end);
        runtime.block_on(job).unwrap();
        runtime.block_on(nap).unwrap();
    });
}

#[test]
fn the_clock_of_one_runtime_is_nobody_elses() {
    bounded(|| {
        let (stands, goes) = (paused(), crate::kit::runtime(1));
        let stood = stands.block_on(async { Instant::now() });
        let (outside, inside) = (Instant::now(), goes.block_on(async { Instant::now() }));
        let_real_time_pass();
        assert!(outside.elapsed() > Duration::ZERO);
        assert!(goes.block_on(async { inside.elapsed() }) > Duration::ZERO);
        goes.block_on(sleep(MS));
        assert_eq!(stands.block_on(async { Instant::now() }), stood);
        // A thread that enters one inside of the other goes by the inner one.
        let _outer = goes.handle().enter();
        let inner = stands.handle().enter();
        assert_eq!(Instant::now(), stood);
        drop(inner);
        assert!(Instant::now() > outside);
    });
}

/// Runs `body` on a core of a runtime whose clock goes; it gets the handle of one whose clock stands, and is
/// behind.
fn on_a_core_beside<F: Future<Output = ()> + 'static>(body: impl FnOnce(Handle) -> F + Send + 'static) {
    bounded(|| {
        let (stands, goes) = (paused(), crate::kit::runtime(1));
        let_real_time_pass();
        let other = stands.handle().clone();
        goes.block_on(goes.handle().spawn_on(0, move || body(other))).unwrap();
    });
}

#[test]
fn what_a_core_sleeps_in_another_runtime_goes_by_that_ones_clock() {
    on_a_core_beside(|other| async move {
        let entered = other.enter();
        let start = Instant::now();
        sleep(5 * MS).await;
        assert_eq!(start.elapsed(), 5 * MS);
        assert!(timeout(5 * MS, pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), 10 * MS);
        advance(HOUR).await;
        assert_eq!(start.elapsed(), HOUR + 10 * MS);
        drop(entered);
        let start = Instant::now();
        sleep(5 * MS).await;
        assert!(start.elapsed() >= 5 * MS);
    });
}

#[test]
fn a_sleep_that_a_core_resets_in_another_runtime_goes_by_that_ones_clock() {
    on_a_core_beside(|other| async move {
        let mut nap = pin!(sleep(HOUR));
        assert!(poll_once(&mut nap).await.is_pending());
        let entered = other.enter();
        let start = Instant::now();
        for n in 1..=3 {
            nap.as_mut().reset(start + n * SECOND);
            nap.as_mut().await;
            assert_eq!(start.elapsed(), n * SECOND);
        }
        nap.as_mut().reset(start + HOUR);
        assert!(poll_once(&mut nap).await.is_pending());
        drop(entered);
        let soon = Instant::now() + 5 * MS;
        nap.as_mut().reset(soon);
        nap.await;
        assert!(Instant::now() >= soon);
    });
}

#[test]
fn a_future_dropped_in_the_middle_holds_nothing() {
    bounded(|| {
        let runtime = paused();
        // A panic in `block_on` gives the hold up, and so does a wake that comes too late.
        let event = Event::default();
        let wait = event.wait();
        let panics = std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                let mut wait = wait;
                assert!(poll_once(&mut wait).await.is_pending());
                panic!("in block_on");
            })
        });
        assert!(std::panic::catch_unwind(panics).map(|never: ()| never).is_err());
        event.set();
        drop(runtime.spawn(pending::<()>()));
        let nap = runtime.spawn(sleep(HOUR));
        wait_for("the jump", || nap.is_finished());
    });
}
