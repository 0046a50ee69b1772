//! Jobs and threads that come and go at the same moment: no job is lost, and none has two ends.

use crate::kit::{bounded, wait_for};
use crate::{bounds, short};
use ringwork::runtime::Runtime;
use ringwork::time::Duration;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

/// A pool whose threads end as soon as they find nothing to do.
fn restless(short: usize, keep_alive: Duration) -> Runtime {
    bounds(short, 1).thread_keep_alive(keep_alive).build().unwrap()
}

#[test]
fn no_job_is_lost_between_threads_that_end_and_jobs_that_come() {
    for (limit, keep_alive) in [(1, 0), (1, 20), (3, 0), (3, 20)] {
        bounded(move || {
            let runtime = restless(limit, Duration::from_micros(keep_alive));
            thread::scope(|scope| {
                for side in 0..4 {
                    let runtime = &runtime;
                    scope.spawn(move || {
                        let _guard = runtime.handle().enter();
                        for index in 0..250_u32 {
                            let heavy = (side + index) % 5 == 0;
                            let job = if heavy {
                                ringwork::spawn_heavy(move || index)
                            } else {
                                ringwork::spawn_blocking(move || index)
                            };
                            // Some are awaited, so that the pool runs dry, some are left behind.
                            if index % 3 != 0 {
                                assert_eq!(runtime.block_on(job).unwrap(), index);
                            }
                        }
                    });
                }
            });
            wait_for("the threads to end", || {
                let now = runtime.handle().metrics();
                let ran = now.blocking_short.taken + now.blocking_heavy.taken;
                (now.blocking_threads, now.blocking_queued, ran) == (0, 0, 1_000)
            });
        });
    }
}

/// One job after another, each spawned just when the pool's only thread may be on its way out.
#[test]
fn a_job_spawned_while_the_only_thread_leaves_is_run() {
    bounded(|| {
        let runtime = restless(1, Duration::ZERO);
        for n in 0..2_000 {
            let job = runtime.handle().spawn_blocking(move || n);
            assert_eq!(runtime.block_on(job).unwrap(), n);
        }
        assert_eq!(short(&runtime).taken, 2_000);
    });
}

#[test]
fn a_job_aborted_just_when_a_thread_takes_it_either_runs_or_is_cancelled() {
    bounded(|| {
        let runtime = restless(2, Duration::from_secs(10));
        let (mut ran, mut cancelled) = (0, 0);
        let held = Arc::new(());
        for round in 0..3_000 {
            let (inside, began) = (Arc::clone(&held), Arc::new(AtomicBool::new(false)));
            let begins = Arc::clone(&began);
            let start = Arc::new(Barrier::new(2));
            let job = runtime.handle().spawn_blocking(move || {
                begins.store(true, Ordering::SeqCst);
                drop(inside);
            });
            let (abort, meet) = (job.abort_handle(), Arc::clone(&start));
            let aborter = thread::spawn(move || {
                meet.wait();
                for _ in 0..round % 64 {
                    std::hint::spin_loop();
                }
                abort.abort();
            });
            start.wait();
            match runtime.block_on(job) {
                Ok(()) => {
                    assert!(began.load(Ordering::SeqCst));
                    ran += 1;
                }
                Err(error) => {
                    assert!(error.is_cancelled(), "{error}");
                    assert!(!began.load(Ordering::SeqCst), "a job ran and was cancelled");
                    cancelled += 1;
                }
            }
            aborter.join().unwrap();
        }
        assert_eq!((ran + cancelled, Arc::strong_count(&held)), (3_000, 1));
        let now = short(&runtime);
        assert_eq!((now.queued, now.taken + now.cancelled), (0, 3_000));
    });
}

#[test]
fn every_job_spawned_while_the_runtime_goes_has_an_end() {
    for _ in 0..30 {
        bounded(|| {
            let runtime = restless(2, Duration::ZERO);
            let handle = runtime.handle().clone();
            let count = Arc::new(AtomicUsize::new(0));
            let counting = Arc::clone(&count);
            let spawner = thread::spawn(move || {
                let jobs: Vec<_> = (0..100)
                    .map(|_| {
                        let count = Arc::clone(&counting);
                        handle.spawn_blocking(move || count.fetch_add(1, Ordering::SeqCst))
                    })
                    .collect();
                jobs.into_iter().map(futures_executor::block_on).filter(Result::is_ok).count()
            });
            drop(runtime);
            assert_eq!(spawner.join().unwrap(), count.load(Ordering::SeqCst));
        });
    }
}
