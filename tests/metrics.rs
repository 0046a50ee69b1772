//! The counters behind `Handle::metrics`: each moves when it should, and levels come back down.

mod kit;

use kit::{Event, bounded, echo_server, process, talk, wait_for};
use ringwork::runtime::{Builder, Pin, Runtime};
use ringwork::time::{Duration, sleep};
use ringwork::{CoreMetrics, Metrics};
use std::fs;
use std::ops::Deref;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// A runtime whose cores' threads can be looked at.
struct Watched {
    runtime: Runtime,
    /// Where the kernel tells of each core's thread.
    threads: Arc<Mutex<Vec<String>>>,
}

impl Deref for Watched {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.runtime
    }
}

fn runtime(cores: usize) -> Watched {
    watched(Builder::new().cores(cores))
}

fn watched(builder: Builder) -> Watched {
    let threads: Arc<Mutex<Vec<String>>> = Arc::default();
    let list = Arc::clone(&threads);
    let note = move |_| {
        let own = fs::read_link("/proc/thread-self").expect("/proc is mounted");
        list.lock().unwrap().push(format!("/proc/{}/status", own.display()));
    };
    let runtime = builder.pin(Pin::Off).on_core_start(note).build().expect("a runtime starts");
    Watched { runtime, threads }
}

fn metrics(runtime: &Runtime) -> Metrics {
    runtime.handle().metrics()
}

fn core(runtime: &Runtime, core: usize) -> CoreMetrics {
    metrics(runtime).cores[core].clone()
}

/// Waits until the runtime has nothing to do: its cores sleep, and have not turned for a while. (One that has
/// to wait for a CPU does not turn either.)
fn settle(runtime: &Watched) {
    let mut before = metrics(runtime);
    wait_for("a runtime at rest", || {
        thread::sleep(Duration::from_millis(5));
        let sleeps =
            |path: &String| process::status(path, "State").is_some_and(|state| state.starts_with('S'));
        let all_sleep = runtime.threads.lock().unwrap().iter().all(sleeps);
        let now = metrics(runtime);
        std::mem::replace(&mut before, now.clone()) == now && all_sleep
    });
}

#[test]
fn there_is_an_entry_for_each_core() {
    bounded(|| {
        let runtime = runtime(3);
        assert_eq!(metrics(&runtime).cores.len(), 3);
    });
}

#[test]
fn polls_and_spawns_are_counted_where_they_happen() {
    bounded(|| {
        let runtime = runtime(2);
        settle(&runtime);
        let before = core(&runtime, 1);
        let polled = runtime.handle().spawn_on(1, || async {
            for _ in 0..10 {
                ringwork::spawn_local(async {}).await.unwrap();
            }
            for _ in 0..50 {
                ringwork::task::yield_now().await;
            }
        });
        runtime.block_on(polled).unwrap();
        let after = core(&runtime, 1);
        assert!(after.polls >= before.polls + 60, "{before:?} {after:?}");
        assert!(after.spawns >= before.spawns + 11, "{before:?} {after:?}");
        assert!(after.wakes_local >= before.wakes_local + 60, "{before:?} {after:?}");
    });
}

#[test]
fn an_op_is_a_submission_a_completion_and_an_enter() {
    bounded(|| {
        let runtime = runtime(1);
        let echo = echo_server();
        settle(&runtime);
        let before = core(&runtime, 0);
        runtime.block_on(runtime.spawn(talk(echo, "hello"))).unwrap().unwrap();
        settle(&runtime);
        let after = core(&runtime, 0);
        // Connect, send and receive at least; the send may have left on the spot.
        let by_op = 3 - (after.sends_on_the_spot - before.sends_on_the_spot);
        assert!(after.sqes >= before.sqes + by_op, "{before:?} {after:?}");
        assert!(after.cqes >= before.cqes + by_op, "{before:?} {after:?}");
        assert!(after.enters > before.enters, "{before:?} {after:?}");
    });
}

#[test]
fn a_wake_from_outside_rings_a_parked_core_once() {
    bounded(|| {
        let runtime = runtime(1);
        settle(&runtime);
        for _ in 0..10 {
            let before = core(&runtime, 0);
            let event = Event::default();
            let task = runtime.spawn(event.wait());
            settle(&runtime);
            event.set();
            runtime.block_on(task).unwrap();
            settle(&runtime);
            let after = core(&runtime, 0);
            assert_eq!(after.doorbells, before.doorbells + 2, "one spawn, one wake");
            assert_eq!(after.wakes_remote, before.wakes_remote + 2);
            assert!(after.parks > before.parks);
        }
    });
}

#[test]
fn a_core_at_rest_does_nothing_at_all() {
    bounded(|| {
        let runtime = runtime(2);
        runtime.block_on(runtime.spawn(async {})).unwrap();
        drop(runtime.spawn(sleep(Duration::from_secs(3600))));
        settle(&runtime);
        let is_still = || {
            let before = metrics(&runtime);
            thread::sleep(Duration::from_millis(100));
            metrics(&runtime) == before
        };
        // The kernel may send a waiting thread round once for reasons of its own; not again and again.
        assert!((0..5).any(|_| is_still()), "{:?}", metrics(&runtime));
    });
}

#[test]
fn ops_in_flight_are_a_level() {
    bounded(|| {
        let runtime = runtime(1);
        let before = core(&runtime, 0).in_flight;
        let accepting: Vec<_> = (0..10)
            .map(|_| {
                runtime.spawn(async {
                    let listener = ringwork::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                    listener.accept().await.map(drop)
                })
            })
            .collect();
        wait_for("ten accepts", || core(&runtime, 0).in_flight == before + 10);
        for task in accepting {
            task.abort();
            assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        }
        wait_for("none", || core(&runtime, 0).in_flight == before);
    });
}

#[test]
fn tasks_are_a_level() {
    bounded(|| {
        let runtime = runtime(2);
        let event = Event::default();
        let alive = || metrics(&runtime).cores.iter().map(|core| core.tasks).sum::<u64>();
        let tasks: Vec<_> = (0..100).map(|_| runtime.spawn(event.wait())).collect();
        assert_eq!(alive(), 100);
        event.set();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        assert_eq!(alive(), 0);
    });
}

#[test]
fn timers_are_a_level() {
    bounded(|| {
        let runtime = runtime(1);
        let tasks: Vec<_> = (0..50).map(|_| runtime.spawn(sleep(Duration::from_secs(3600)))).collect();
        wait_for("fifty timers", || core(&runtime, 0).timers == 50);
        for task in tasks {
            task.abort();
            assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        }
        wait_for("none", || core(&runtime, 0).timers == 0);
    });
}

#[test]
fn queues_are_levels_that_return_to_zero() {
    bounded(|| {
        let runtime = runtime(1);
        let burst = runtime.spawn(async {
            let send: Vec<_> = (0..1_000).map(|_| ringwork::spawn(async {})).collect();
            let local: Vec<_> = (0..1_000).map(|_| ringwork::spawn_local(async {})).collect();
            for task in send.into_iter().chain(local) {
                task.await.unwrap();
            }
        });
        runtime.block_on(burst).unwrap();
        settle(&runtime);
        let after = metrics(&runtime);
        assert_eq!((after.cores[0].local_depth, after.cores[0].steal_depth), (0, 0));
        assert_eq!((after.injector_depth, after.cores[0].tasks), (0, 0));
        assert!(after.cores[0].overflows > 0, "a thousand do not fit the queue");
    });
}

#[test]
fn pooled_buffers_are_a_level() {
    bounded(|| {
        let runtime = runtime(1);
        let echo = echo_server();
        let stream = runtime.block_on(async { ringwork::net::TcpStream::connect(echo).await.unwrap() });
        settle(&runtime);
        let before = core(&runtime, 0);
        assert!(before.pool_buffers > 0);
        assert_eq!(before.pool_available, before.pool_buffers, "{before:?}");
        let hold = runtime.spawn(async move {
            let mut held = Vec::new();
            for _ in 0..5 {
                stream.send_all("hello").await.0.unwrap();
                held.push(stream.recv_pooled().await.unwrap());
            }
            (stream, held)
        });
        let (stream, held) = runtime.block_on(hold).unwrap();
        assert!(held.iter().all(|buf| buf.is_from_pool()));
        wait_for("five to be out", || {
            core(&runtime, 0).pool_available == before.pool_available - held.len() as u64
        });
        drop((stream, held));
        // The core takes them back when it next turns.
        wait_for("all to be home", || {
            runtime.block_on(runtime.spawn(async {})).unwrap();
            core(&runtime, 0).pool_available == before.pool_available
        });
    });
}

#[test]
fn the_blocking_pool_is_counted() {
    bounded(|| {
        let runtime = watched(Builder::new().cores(1).max_blocking_threads(2));
        assert_eq!(metrics(&runtime).blocking_threads, 0);
        let (release, gate) = mpsc::channel::<()>();
        let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
        let jobs: Vec<_> = (0..5)
            .map(|_| {
                let gate = std::sync::Arc::clone(&gate);
                runtime.handle().spawn_blocking(move || gate.lock().unwrap().recv().is_err())
            })
            .collect();
        wait_for("two at work", || {
            let now = metrics(&runtime);
            (now.blocking_threads, now.blocking_idle, now.blocking_queued) == (2, 0, 3)
        });
        drop(release);
        for job in jobs {
            runtime.block_on(job).unwrap();
        }
        wait_for("two idle", || {
            let now = metrics(&runtime);
            (now.blocking_threads, now.blocking_idle, now.blocking_queued) == (2, 2, 0)
        });
    });
}

#[test]
fn all_levels_are_zero_after_the_end() {
    bounded(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        for core in [0, 1] {
            for _ in 0..10 {
                drop(runtime.handle().spawn_on(core, || async {
                    let listener = ringwork::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                    let pause = sleep(Duration::from_secs(3600));
                    let _ = futures_util::future::join(pause, listener.accept()).await;
                }));
            }
        }
        wait_for("all accepts", || {
            handle.metrics().cores.iter().map(|core| core.in_flight).sum::<u64>() >= 20
        });
        drop(runtime);
        let after = handle.metrics();
        assert_eq!((after.injector_depth, after.blocking_threads, after.blocking_queued), (0, 0, 0));
        for core in after.cores {
            assert_eq!((core.tasks, core.in_flight, core.timers), (0, 0, 0), "{core:?}");
            assert_eq!((core.local_depth, core.steal_depth), (0, 0), "{core:?}");
        }
    });
}

#[test]
fn a_read_of_what_the_page_cache_holds_is_no_op_unless_it_is_to_be_one() {
    bounded(|| {
        let runtime = runtime(1);
        let reads = runtime.handle().spawn_on(0, || async {
            let file = ringwork::fs::File::open("Cargo.toml").await.unwrap();
            let counts = || {
                let core = &ringwork::runtime::Handle::current().metrics().cores[0];
                (core.cached_reads, core.sqes)
            };
            // The first one may have to bring it in.
            file.cached_reads(false);
            drop(file.read_at(Vec::with_capacity(64), 0).await);
            let (before, after) = (counts(), {
                file.cached_reads(true);
                let (read, bytes) = file.read_at(Vec::with_capacity(9), 0).await;
                assert_eq!((read.unwrap(), &bytes[..]), (9, &b"[package]"[..]));
                counts()
            });
            file.cached_reads(false);
            assert_eq!(file.read_at(Vec::with_capacity(9), 0).await.0.unwrap(), 9);
            (before, after, counts())
        });
        let (before, after, last) = runtime.block_on(reads).unwrap();
        assert_eq!((after.0 - before.0, last.0 - after.0), (1, 0));
        assert!(last.1 > after.1, "the last one was an op");
    });
}
