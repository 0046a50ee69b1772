//! What becomes of tasks when their runtime ends: each future is dropped, once, on its own core.

use crate::kit::{Event, OnDrop, bounded, runtime, wait_for};
use futures_executor::block_on;
use ringwork::runtime::{Builder, Handle, PanicPolicy, Pin};
use ringwork::time::{Duration, sleep};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;

#[test]
fn all_outstanding_tasks_are_dropped() {
    bounded(|| {
        let runtime = runtime(2);
        let held = Arc::new(());
        for n in 0..1_000 {
            let held = Arc::clone(&held);
            drop(runtime.handle().spawn_on(n % 2, move || async move {
                let _held = held;
                match n % 3 {
                    0 => pending::<()>().await,
                    1 => sleep(Duration::from_secs(3600)).await,
                    _ => loop {
                        ringwork::task::yield_now().await;
                    },
                }
            }));
        }
        drop(runtime);
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn futures_are_dropped_on_their_own_core() {
    bounded(|| {
        let runtime = runtime(2);
        let (sender, receiver) = mpsc::channel();
        let born = Arc::new(AtomicUsize::new(0));
        for core in [0, 1] {
            for local in [false, true] {
                let (sender, born) = (sender.clone(), Arc::clone(&born));
                drop(runtime.handle().spawn_on(core, move || async move {
                    let home = thread::current().id();
                    let guard = OnDrop(move || {
                        let here = (thread::current().id(), ringwork::core::current());
                        sender.send((home, core, here)).unwrap();
                    });
                    let task = async move {
                        let _guard = guard;
                        born.fetch_add(1, Ordering::SeqCst);
                        pending::<()>().await;
                    };
                    match local {
                        true => drop(ringwork::spawn_local(task)),
                        false => drop(ringwork::spawn(task)),
                    }
                    pending::<()>().await;
                }));
            }
        }
        drop(sender);
        wait_for("all to be born", || born.load(Ordering::SeqCst) == 4);
        drop(runtime);
        let dropped: Vec<_> = receiver.iter().collect();
        assert_eq!(dropped.len(), 4);
        for (home, core, here) in dropped {
            assert_eq!(here, (home, Some(core)));
        }
    });
}

#[test]
fn destructors_see_their_runtime_and_may_spawn() {
    bounded(|| {
        let runtime = runtime(2);
        let (sender, receiver) = mpsc::channel();
        let spawned = Arc::new(());
        let inner = Arc::clone(&spawned);
        let guard = OnDrop(move || {
            let late = |held: Arc<()>| async move {
                drop(held);
                unreachable!("nothing runs any more");
            };
            let handle = Handle::current();
            drop(ringwork::spawn(late(Arc::clone(&inner))));
            drop(ringwork::spawn_local(late(Arc::clone(&inner))));
            let held = Arc::clone(&inner);
            drop(handle.spawn_on(1, move || late(held)));
            let held = Arc::clone(&inner);
            drop(handle.spawn_blocking(move || drop(held)));
            drop(ringwork::net::TcpStream::connect("127.0.0.1:1"));
            sender.send(handle.cores()).unwrap();
        });
        let started = Event::default();
        let start = started.clone();
        drop(runtime.spawn(async move {
            let _guard = guard;
            start.set();
            pending::<()>().await;
        }));
        runtime.block_on(started.wait());
        drop(runtime);
        assert_eq!(receiver.recv().unwrap(), 2);
        assert_eq!(Arc::strong_count(&spawned), 1);
    });
}

#[test]
fn a_destructor_that_panics_stops_neither_the_others_nor_the_end() {
    bounded(|| {
        let runtime = runtime(1);
        let dropped = Arc::new(AtomicUsize::new(0));
        for n in 0..10 {
            let dropped = Arc::clone(&dropped);
            let guard = OnDrop(move || {
                dropped.fetch_add(1, Ordering::SeqCst);
                assert!(n % 2 == 0, "odd");
            });
            drop(runtime.spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            }));
        }
        runtime.block_on(runtime.spawn(async {})).unwrap();
        drop(runtime);
        assert_eq!(dropped.load(Ordering::SeqCst), 10);
    });
}

/// A task that wakes another one from its destructor, on another core and on its own.
#[test]
fn wakes_out_of_destructors_do_no_harm() {
    bounded(|| {
        for _ in 0..50 {
            let runtime = runtime(2);
            let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
            let ready = Arc::new(AtomicUsize::new(0));
            for n in 0..20 {
                let (list, count) = (Arc::clone(&wakers), Arc::clone(&ready));
                let all = Arc::clone(&wakers);
                drop(runtime.handle().spawn_on(n % 2, move || {
                    let guard = OnDrop(move || {
                        let wakers = all.lock().unwrap().clone();
                        wakers.into_iter().for_each(Waker::wake);
                    });
                    poll_fn(move |cx| {
                        let _ = &guard;
                        list.lock().unwrap().push(cx.waker().clone());
                        count.fetch_add(1, Ordering::SeqCst);
                        Poll::<()>::Pending
                    })
                }));
            }
            wait_for("all to wait", || ready.load(Ordering::SeqCst) >= 20);
            drop(runtime);
        }
    });
}

/// Spawns tasks and jobs when it is dropped, and tells that it has come to the end of that.
struct Spawns(Arc<AtomicUsize>);

impl Drop for Spawns {
    fn drop(&mut self) {
        drop(ringwork::spawn(async {}));
        drop(ringwork::spawn_blocking(|| ()));
        drop(Handle::current().spawn_on(0, || async {}));
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn destructors_of_tasks_that_a_stuck_core_leaves_see_their_runtime_and_may_spawn() {
    bounded(|| {
        let (panics, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&panics);
        let policy = PanicPolicy::call(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let builder = Builder::new().cores(2).pin(Pin::Off).on_task_panic(policy);
        let runtime = builder.build().unwrap();
        let (guard, (begun, stuck)) = (Spawns(Arc::clone(&ends)), (Event::default(), Event::default()));
        let begin = begun.clone();
        let spawning = runtime.handle().call(0, || {
            ringwork::spawn(async move {
                let _guard = guard;
                begin.set();
                pending::<()>().await;
            })
        });
        let left = runtime.block_on(spawning).unwrap();
        runtime.block_on(begun.wait());
        let (release, gate) = mpsc::channel::<()>();
        let stick = stuck.clone();
        drop(runtime.handle().spawn_on(0, move || async move {
            stick.set();
            let _ = gate.recv();
        }));
        stuck.wait_blocking();
        let report = runtime.shutdown_timeout(Duration::from_millis(100));
        assert_eq!(report.stuck_cores, [0], "{report}");
        assert!(block_on(left).unwrap_err().is_cancelled());
        assert_eq!((ends.load(Ordering::SeqCst), panics.load(Ordering::SeqCst)), (1, 0));
        drop(release);
    });
}

#[test]
fn tasks_that_hold_each_others_handles_and_wakers_are_freed() {
    bounded(|| {
        let runtime = runtime(1);
        let held = Arc::new(());
        let cycle: Arc<Mutex<Vec<ringwork::task::JoinHandle<()>>>> = Arc::default();
        for _ in 0..10 {
            let (held, all) = (Arc::clone(&held), Arc::clone(&cycle));
            let task = runtime.spawn(async move {
                let _held = held;
                pending::<()>().await;
                drop(all);
            });
            cycle.lock().unwrap().push(task);
        }
        runtime.block_on(runtime.spawn(async {})).unwrap();
        drop(runtime);
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn a_task_that_holds_its_own_runtime_handle_is_dropped() {
    bounded(|| {
        let runtime = runtime(1);
        let held = Arc::new(());
        let (inner, handle) = (Arc::clone(&held), runtime.handle().clone());
        let started = Event::default();
        let start = started.clone();
        drop(runtime.spawn(async move {
            start.set();
            pending::<()>().await;
            drop((inner, handle));
        }));
        runtime.block_on(started.wait());
        drop(runtime);
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn local_values_are_dropped_on_their_thread_before_the_runtime_is_gone() {
    struct Local(Rc<()>, thread::ThreadId);
    impl Drop for Local {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1);
            assert_eq!(Rc::strong_count(&self.0), 1);
        }
    }
    bounded(|| {
        let runtime = runtime(2);
        let started = Arc::new(AtomicUsize::new(0));
        for core in [0, 1] {
            let started = Arc::clone(&started);
            drop(runtime.handle().spawn_on(core, move || async move {
                let _local = Local(Rc::new(()), thread::current().id());
                started.fetch_add(1, Ordering::SeqCst);
                pending::<()>().await;
            }));
        }
        wait_for("both", || started.load(Ordering::SeqCst) == 2);
        assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
    });
}

#[test]
fn jobs_that_wait_are_cancelled_and_their_closures_dropped() {
    bounded(|| {
        let builder = Builder::new().cores(1).max_blocking_threads(1);
        let runtime = builder.build().unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let begun = Event::default();
        let begin = begun.clone();
        let running = runtime.handle().spawn_blocking(move || {
            begin.set();
            gate.recv().is_err()
        });
        begun.wait_blocking();
        let held = Arc::new(());
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let held = Arc::clone(&held);
                runtime.handle().spawn_blocking(move || drop(held))
            })
            .collect();
        let report = thread::scope(|scope| {
            let ending = scope.spawn(|| runtime.shutdown_timeout(Duration::from_secs(20)));
            for job in waiting {
                assert!(block_on(job).unwrap_err().is_cancelled());
            }
            assert_eq!(Arc::strong_count(&held), 1);
            drop(release);
            ending.join().unwrap()
        });
        assert!(report.is_clean(), "{report}");
        assert!(block_on(running).unwrap());
    });
}
