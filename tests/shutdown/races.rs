//! Ends that race with everything else: spawns, wakes, aborts, drops, ops from plain threads.

use crate::kit::{Event, OnDrop, bounded, echo_server, runtime, talk};
use futures_executor::block_on;
use ringwork::net::TcpStream;
use ringwork::time::{Duration, sleep};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Poll, Waker};
use std::thread;

#[test]
fn ten_thousand_spawns_against_the_end() {
    bounded(|| {
        for round in 0..5 {
            let runtime = runtime(2);
            let alive = Arc::new(AtomicUsize::new(0));
            let ready = Arc::new(Barrier::new(3));
            let spawners: Vec<_> = (0..2)
                .map(|side| {
                    let (handle, alive, ready) =
                        (runtime.handle().clone(), Arc::clone(&alive), Arc::clone(&ready));
                    thread::spawn(move || {
                        ready.wait();
                        let task = |n: usize| {
                            let alive = Arc::clone(&alive);
                            alive.fetch_add(1, Ordering::SeqCst);
                            let guard = OnDrop(move || {
                                alive.fetch_sub(1, Ordering::SeqCst);
                            });
                            let future = async move {
                                let _guard = guard;
                                if n.is_multiple_of(2) {
                                    sleep(Duration::from_secs(3600)).await;
                                }
                            };
                            match n % 3 {
                                0 => handle.spawn_on(side, move || future),
                                _ => handle.spawn(future),
                            }
                        };
                        (0..5_000).map(task).collect::<Vec<_>>()
                    })
                })
                .collect();
            ready.wait();
            block_on(async { thread::sleep(Duration::from_micros(round * 700)) });
            let report = runtime.shutdown_timeout(Duration::from_secs(20));
            assert!(report.is_clean(), "{report}");
            for spawner in spawners {
                for (n, task) in spawner.join().unwrap().into_iter().enumerate() {
                    match block_on(task) {
                        Ok(()) => assert!(!n.is_multiple_of(2), "slept an hour"),
                        Err(error) => assert!(error.is_cancelled(), "{error}"),
                    }
                }
            }
            crate::kit::wait_for("the last future to be dropped", || alive.load(Ordering::SeqCst) == 0);
        }
    });
}

#[test]
fn wakes_from_all_sides_against_the_end() {
    bounded(|| {
        for _ in 0..20 {
            let runtime = runtime(2);
            let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
            let over = Arc::new(AtomicBool::new(false));
            for n in 0..100 {
                let list = Arc::clone(&wakers);
                let mut first = true;
                let task = poll_fn(move |cx| {
                    if std::mem::take(&mut first) {
                        list.lock().unwrap().push(cx.waker().clone());
                    }
                    Poll::<()>::Pending
                });
                match n % 2 {
                    0 => drop(runtime.spawn(task)),
                    _ => drop(runtime.handle().spawn_on(n % 4 / 2, move || task)),
                }
            }
            let noise: Vec<_> = (0..2)
                .map(|_| {
                    let (wakers, over) = (Arc::clone(&wakers), Arc::clone(&over));
                    thread::spawn(move || {
                        while !over.load(Ordering::SeqCst) {
                            let all = wakers.lock().unwrap().clone();
                            all.iter().for_each(Waker::wake_by_ref);
                        }
                    })
                })
                .collect();
            runtime.block_on(sleep(Duration::from_millis(2)));
            let report = runtime.shutdown_timeout(Duration::from_secs(20));
            assert!(report.is_clean(), "{report}");
            over.store(true, Ordering::SeqCst);
            noise.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn ops_and_timers_of_plain_threads_against_the_end() {
    bounded(|| {
        let echo = echo_server();
        for round in 0..20 {
            let runtime = runtime(2);
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let handle = runtime.handle().clone();
                    thread::spawn(move || while handle.block_on(talk(echo, "hello")).is_ok() {})
                })
                .collect();
            thread::sleep(Duration::from_micros(round * 300));
            let report = runtime.shutdown_timeout(Duration::from_secs(20));
            assert!(report.is_clean(), "{report}");
            // Each gets its error, and none waits for ever.
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn joins_on_plain_threads_against_the_end() {
    bounded(|| {
        for _ in 0..20 {
            let runtime = runtime(2);
            let joiners: Vec<_> = (0..50)
                .map(|n| {
                    let task = runtime.handle().spawn_on(n % 2, move || async move {
                        sleep(Duration::from_millis(n as u64 % 4)).await;
                        n
                    });
                    thread::spawn(move || match block_on(task) {
                        Ok(output) => assert_eq!(output, n),
                        Err(error) => assert!(error.is_cancelled(), "{error}"),
                    })
                })
                .collect();
            runtime.block_on(sleep(Duration::from_millis(1)));
            drop(runtime);
            joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
        }
    });
}

#[test]
fn aborts_and_dropped_streams_against_the_end() {
    bounded(|| {
        let echo = echo_server();
        for round in 0..20 {
            let runtime = runtime(2);
            let streams: Vec<_> =
                (0..10).map(|_| Arc::new(runtime.block_on(TcpStream::connect(echo)).unwrap())).collect();
            let tasks: Vec<_> = streams
                .iter()
                .map(|stream| {
                    let stream = Arc::clone(stream);
                    runtime.spawn(async move {
                        loop {
                            stream.send_all("hello").await.0.unwrap();
                            stream.recv_pooled().await.unwrap();
                        }
                    })
                })
                .collect();
            let aborts: Vec<_> = tasks.iter().map(|task| task.abort_handle()).collect();
            let start = Arc::new(Barrier::new(2));
            let gate = Arc::clone(&start);
            let aborter = thread::spawn(move || {
                gate.wait();
                aborts.iter().for_each(|abort| abort.abort());
                drop(streams);
            });
            start.wait();
            for _ in 0..round * 20 {
                std::hint::spin_loop();
            }
            let report = runtime.shutdown_timeout(Duration::from_secs(20));
            assert!(report.is_clean(), "{report}");
            aborter.join().unwrap();
            for task in tasks {
                assert!(block_on(task).unwrap_err().is_cancelled());
            }
        }
    });
}

#[test]
fn two_runtimes_that_wake_each_other_end_in_either_order() {
    bounded(|| {
        for round in 0..20 {
            let (one, two) = (runtime(1), runtime(1));
            let event = Event::default();
            let waiting = one.spawn(event.wait());
            let (handle, setter) = (one.handle().clone(), event.clone());
            let setting = two.spawn(async move {
                setter.set();
                handle.spawn(async { 1 }).await.ok()
            });
            match round % 2 {
                0 => drop((one, two)),
                _ => drop((two, one)),
            }
            let _ = (block_on(waiting), block_on(setting));
        }
    });
}

#[test]
fn blocking_jobs_against_the_end() {
    bounded(|| {
        for _ in 0..20 {
            let runtime = runtime(1);
            let handle = runtime.handle().clone();
            let ran = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&ran);
            let spawner = thread::spawn(move || {
                let job = |_| {
                    let ran = Arc::clone(&count);
                    handle.spawn_blocking(move || ran.fetch_add(1, Ordering::SeqCst))
                };
                let jobs: Vec<_> = (0..200).map(job).collect();
                jobs.into_iter().map(block_on).filter(Result::is_ok).count()
            });
            runtime.block_on(sleep(Duration::from_millis(1)));
            let report = runtime.shutdown_timeout(Duration::from_secs(20));
            assert!(report.is_clean(), "{report}");
            assert_eq!(spawner.join().unwrap(), ran.load(Ordering::SeqCst));
        }
    });
}
