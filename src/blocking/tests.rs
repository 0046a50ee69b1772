//! Tests of the blocking pool: real threads, and jobs that block on channels the test holds.
#![forbid(unsafe_code)]

mod model;

use super::pool::{Around, Counts};
use super::{Config, Pool};
use crate::task::{JoinHandle, coop, try_id};
use futures_executor::block_on;
use std::io::ErrorKind;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

fn config(short_max: usize) -> Config {
    // Threads look before they sleep, as soon as that pays.
    Config { short_max, spin_window: Duration::from_micros(50), ..Config::new(1, Arc::new(|work| work())) }
}

fn queued(pool: &Pool) -> u64 {
    pool.counts().short.queued + pool.counts().heavy.queued
}

/// Threads, idle threads, jobs that wait, jobs that were run.
fn in_short(counts: &Counts) -> (usize, usize, u64, u64) {
    let (short, heavy) = (&counts.short, &counts.heavy);
    let ran = short.taken + heavy.taken - short.running - heavy.running;
    (counts.threads, counts.idle, short.queued + heavy.queued, ran)
}

fn spawn<T: Send + 'static>(pool: &Pool, call: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    pool.spawn(call, Location::caller()).unwrap()
}

/// A job that has begun when this returns, and ends when the sender is dropped.
fn occupy(pool: &Pool) -> (JoinHandle<()>, Sender<()>) {
    let (begun, begins) = channel();
    let (end, ends): (_, Receiver<()>) = channel();
    let handle = spawn(pool, move || {
        begun.send(()).unwrap();
        let _ = ends.recv();
    });
    begins.recv().unwrap();
    (handle, end)
}

/// Waits until `condition` holds, for what no handle tells.
fn wait_for(condition: impl Fn() -> bool) {
    let until = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < until, "nothing happened");
        thread::yield_now();
    }
}

#[test]
fn a_job_gives_its_output_or_its_panic_and_has_an_id() {
    let pool = Pool::new(config(4));
    let handle = spawn(&pool, || (try_id(), thread::current().name().map(String::from)));
    let id = handle.id();
    let (inside, name) = block_on(handle).unwrap();
    assert_eq!(inside, Some(id));
    assert!(name.unwrap().starts_with("rw-pool-"));
    let error = block_on(spawn(&pool, || panic!("out of paper"))).unwrap_err();
    assert!(error.is_panic());
    assert_eq!(pool.shutdown(Instant::now() + SOON), 0);
}

#[test]
fn a_job_has_no_cooperative_budget() {
    let pool = Pool::new(config(1));
    let call = || {
        block_on(async {
            for _ in 0..1_000 {
                coop::consume_budget().await;
            }
            coop::has_budget_remaining()
        })
    };
    assert!(block_on(spawn(&pool, call)).unwrap());
}

#[test]
fn jobs_one_after_another_use_one_thread() {
    let pool = Pool::new(config(4));
    for _ in 0..100 {
        let before = block_on(spawn(&pool, || thread::current().id())).unwrap();
        wait_for(|| pool.counts().idle == 1);
        assert_eq!(block_on(spawn(&pool, || thread::current().id())).unwrap(), before);
        wait_for(|| pool.counts().idle == 1);
    }
    assert_eq!(in_short(&pool.counts()), (1, 1, 0, 200));
}

#[test]
fn jobs_at_once_get_a_thread_each_up_to_the_bound_and_then_wait() {
    let pool = Pool::new(config(3));
    let busy: Vec<_> = (0..3).map(|_| occupy(&pool)).collect();
    let waiting: Vec<_> = (0..5).map(|n| spawn(&pool, move || n)).collect();
    assert_eq!(in_short(&pool.counts()), (3, 0, 5, 0));
    for (handle, end) in busy {
        drop(end);
        block_on(handle).unwrap();
    }
    let sum: i32 = waiting.into_iter().map(|handle| block_on(handle).unwrap()).sum();
    assert_eq!(sum, 10);
    wait_for(|| in_short(&pool.counts()) == (3, 3, 0, 8));
}

#[test]
fn heavy_jobs_run_no_wider_than_their_lane_and_short_ones_pass_them() {
    let pool = Pool::new(Config { heavy_max: 2, ..config(8) });
    let (running, widest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Barrier::new(3));
    let handles: Vec<_> = (0..12)
        .map(|index| {
            let (running, widest, gate) = (Arc::clone(&running), Arc::clone(&widest), Arc::clone(&gate));
            let call = move || {
                widest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                if index < 2 {
                    gate.wait();
                }
                running.fetch_sub(1, Ordering::SeqCst);
            };
            pool.spawn_heavy(call, Location::caller()).unwrap()
        })
        .collect();
    // The lane is full with two jobs that wait for us.
    assert_eq!(block_on(spawn(&pool, || 7)).unwrap(), 7);
    wait_for(|| pool.counts().heavy.queued == 10);
    gate.wait();
    handles.into_iter().for_each(|handle| block_on(handle).unwrap());
    assert_eq!(widest.load(Ordering::SeqCst), 2);
}

/// A bound on one lane is none on the other.
#[test]
fn heavy_jobs_run_while_the_short_lane_is_full() {
    let pool = Pool::new(config(1));
    let (busy, end) = occupy(&pool);
    let waits = spawn(&pool, || 7);
    assert_eq!(block_on(pool.spawn_heavy(|| 8, Location::caller()).unwrap()).unwrap(), 8);
    assert_eq!(pool.counts().short.queued, 1);
    drop(end);
    block_on(busy).unwrap();
    assert_eq!(block_on(waits).unwrap(), 7);
}

/// Only where the system has no second thread does one thread serve both lanes.
#[test]
fn both_lanes_get_their_turn_when_one_thread_serves_them() {
    let pool = Pool::new(config(1));
    let (_, end) = occupy(&pool);
    pool.set_stack_bytes(IMPOSSIBLE_STACK);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = |name| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(name)
    };
    let handles: Vec<_> = (0..3)
        .map(|_| spawn(&pool, note("short")))
        .chain((0..3).map(|_| pool.spawn_heavy(note("heavy"), Location::caller()).unwrap()))
        .collect();
    drop(end);
    handles.into_iter().for_each(|handle| block_on(handle).unwrap());
    assert_eq!(*order.lock().unwrap(), ["heavy", "short", "heavy", "short", "heavy", "short"]);
}

#[test]
fn an_aborted_job_that_has_not_begun_is_cancelled_and_a_dropped_handle_detaches() {
    let pool = Pool::new(config(1));
    let (busy, end) = occupy(&pool);
    let ran = Arc::new(AtomicUsize::new(0));
    let count = |ran: &Arc<AtomicUsize>| {
        let ran = Arc::clone(ran);
        move || ran.fetch_add(1, Ordering::SeqCst)
    };
    let aborted = spawn(&pool, count(&ran));
    drop(spawn(&pool, count(&ran)));
    aborted.abort();
    assert!(block_on(aborted).unwrap_err().is_cancelled());
    busy.abort();
    drop(end);
    assert!(block_on(busy).is_ok(), "a job that has begun is not interrupted");
    wait_for(|| ran.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_closed_pool_cancels_what_waits_and_what_comes() {
    let pool = Pool::new(config(1));
    let held = Arc::new(());
    let hold = || {
        let held = Arc::clone(&held);
        move || drop(held)
    };
    let (busy, end) = occupy(&pool);
    let waits = spawn(&pool, hold());
    pool.close();
    assert!(block_on(waits).unwrap_err().is_cancelled());
    assert!(block_on(spawn(&pool, hold())).unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&held), 1);
    drop(end);
    assert!(block_on(busy).is_ok());
    assert_eq!(pool.shutdown(Instant::now() + SOON), 0);
}

#[test]
fn shutdown_waits_for_idle_threads_and_leaves_busy_ones_behind_at_the_deadline() {
    let pool = Pool::new(Config { keep_alive: Duration::MAX, ..config(4) });
    block_on(spawn(&pool, || ())).unwrap();
    wait_for(|| pool.counts().idle == 1);
    let (_first, end_first) = occupy(&pool);
    let (_second, end_second) = occupy(&pool);
    assert_eq!(pool.shutdown(Instant::now()), 2);
    drop(end_first);
    wait_for(|| pool.shutdown(Instant::now()) == 1);
    drop(end_second);
    assert_eq!(pool.shutdown(Instant::now() + SOON), 0);
    assert_eq!(pool.counts().threads, 0);
}

#[test]
fn a_pool_shut_down_by_its_own_job_does_not_wait_for_itself() {
    let pool = Arc::new(Pool::new(config(4)));
    block_on(spawn(&pool, || ())).unwrap();
    wait_for(|| pool.counts().idle == 1);
    let inside = Arc::clone(&pool);
    let begun = Instant::now();
    let busy = block_on(spawn(&pool, move || inside.shutdown(Instant::now() + SOON))).unwrap();
    assert_eq!(busy, 1);
    assert!(begun.elapsed() < SOON);
}

#[test]
fn each_thread_works_inside_of_what_is_around_it() {
    struct Guard(Arc<AtomicUsize>, thread::ThreadId);
    impl Drop for Guard {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1);
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let live = Arc::new(AtomicUsize::new(0));
    let inside = Arc::clone(&live);
    let around: Around = Arc::new(move |work| {
        inside.fetch_add(1, Ordering::SeqCst);
        let _guard = Guard(Arc::clone(&inside), thread::current().id());
        work();
    });
    let pool = Pool::new(Config { around, ..config(4) });
    let (one, two) = (occupy(&pool), occupy(&pool));
    assert_eq!(live.load(Ordering::SeqCst), 2);
    drop((one, two));
    assert_eq!(pool.shutdown(Instant::now() + SOON), 0);
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[test]
fn what_is_around_a_thread_costs_no_job_if_it_panics_or_does_nothing() {
    let pool = Pool::new(Config { around: Arc::new(|_| panic!("around")), ..config(1) });
    assert_eq!(block_on(spawn(&pool, || 7)).unwrap(), 7);
    let pool = Pool::new(Config { around: Arc::new(|_| ()), ..config(1) });
    assert_eq!(block_on(spawn(&pool, || 7)).unwrap(), 7);
}

/// More than the address space holds, so that the system refuses the thread.
const IMPOSSIBLE_STACK: usize = 1 << 50;

#[test]
fn a_refused_thread_is_an_error_if_there_is_none_at_all() {
    let pool = Pool::new(Config { stack_bytes: Some(IMPOSSIBLE_STACK), ..config(4) });
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let error = pool.spawn(move || drop(inside), Location::caller()).unwrap_err();
    assert!(error.kind() == ErrorKind::Other && error.to_string().contains("ulimit -u"), "{error}");
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(in_short(&pool.counts()), (0, 0, 0, 0));
    assert_eq!(pool.shutdown(Instant::now() + SOON), 0);
}

#[test]
fn a_refused_thread_leaves_the_job_to_the_threads_there_are() {
    let pool = Pool::new(config(4));
    let (busy, end) = occupy(&pool);
    pool.set_stack_bytes(IMPOSSIBLE_STACK);
    let waits = spawn(&pool, || 7);
    assert_eq!((pool.counts().threads, queued(&pool)), (1, 1));
    drop(end);
    block_on(busy).unwrap();
    assert_eq!(block_on(waits).unwrap(), 7);
}

/// Threads that end as soon as they are idle, while jobs come from four sides: none is left in the line.
#[test]
fn no_job_is_stranded_by_threads_that_time_out() {
    for keep_alive in [Duration::ZERO, Duration::from_micros(50)] {
        let pool = Arc::new(Pool::new(Config { keep_alive, heavy_max: 2, ..config(3) }));
        thread::scope(|scope| {
            for side in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    for index in 0..400_u32 {
                        let handle = if (side + index) % 3 == 0 {
                            pool.spawn_heavy(move || index, Location::caller()).unwrap()
                        } else {
                            spawn(pool, move || index)
                        };
                        if index % 2 == 0 {
                            assert_eq!(block_on(handle).unwrap(), index);
                        }
                    }
                });
            }
        });
        wait_for(|| in_short(&pool.counts()) == (0, 0, 0, 1_600));
    }
}

/// Jobs come while the pool closes: each runs or is cancelled, and its handle says which.
#[test]
fn a_close_amid_spawns_answers_every_handle() {
    for _ in 0..50 {
        let pool = Arc::new(Pool::new(config(2)));
        let ran = Arc::new(AtomicUsize::new(0));
        let (pool_there, ran_there) = (Arc::clone(&pool), Arc::clone(&ran));
        let spawner = thread::spawn(move || {
            let job = || {
                let ran = Arc::clone(&ran_there);
                spawn(&pool_there, move || ran.fetch_add(1, Ordering::SeqCst))
            };
            let handles: Vec<_> = (0..50).map(|_| job()).collect();
            handles.into_iter().map(block_on).filter(Result::is_ok).count()
        });
        assert_eq!(pool.shutdown(Instant::now() + SOON), 0);
        assert_eq!(spawner.join().unwrap(), ran.load(Ordering::SeqCst));
        assert_eq!(queued(&pool), 0);
    }
}
