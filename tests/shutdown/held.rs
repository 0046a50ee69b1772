//! What does not keep a future alive, or a runtime up: handles, wakers, threads that wait.

use crate::kit::{Event, OnDrop, bounded, runtime, wait_for};
use futures_executor::block_on;
use ringwork::runtime::Runtime;
use ringwork::time::{Duration, sleep};
use std::any::Any;
use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

#[test]
fn futures_are_dropped_with_the_runtime_although_handles_and_wakers_live_on() {
    bounded(|| {
        let runtime = runtime(2);
        let held = Arc::new(());
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let mut handles = Vec::new();
        for n in 0..20 {
            let (held, wakers) = (Arc::clone(&held), Arc::clone(&wakers));
            let mut is_new = true;
            let future = poll_fn(move |cx| {
                let _ = &held;
                if std::mem::take(&mut is_new) {
                    wakers.lock().unwrap().push(cx.waker().clone());
                }
                Poll::<()>::Pending
            });
            handles.push(match n % 2 {
                0 => runtime.spawn(future),
                _ => runtime.handle().spawn_on(n / 2 % 2, move || future),
            });
        }
        wait_for("all to wait", || wakers.lock().unwrap().len() == 20);
        let aborts: Vec<_> = handles.iter().map(|task| task.abort_handle()).collect();
        drop(runtime);
        assert_eq!(Arc::strong_count(&held), 1);
        for (task, abort) in handles.into_iter().zip(aborts) {
            assert!(task.is_finished() && abort.is_finished());
            assert!(block_on(task).unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn an_abort_of_a_task_of_a_dead_runtime_does_nothing() {
    bounded(|| {
        let runtime = runtime(2);
        let tasks = [runtime.spawn(pending::<()>()), runtime.handle().spawn_on(1, pending::<()>)];
        let done = runtime.spawn(async { 3 });
        wait_for("the end of one", || done.is_finished());
        drop(runtime);
        for task in tasks {
            task.abort();
            thread::scope(|scope| scope.spawn(|| task.abort()).join().unwrap());
            assert!(block_on(task).unwrap_err().is_cancelled());
        }
        done.abort();
        assert_eq!(block_on(done).unwrap(), 3);
    });
}

#[test]
fn a_job_that_waits_for_a_task_is_told_when_the_runtime_goes() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let (begun, dropped) = (Event::default(), Event::default());
        let (begin, tell) = (
            begun.clone(),
            OnDrop({
                let dropped = dropped.clone();
                move || dropped.set()
            }),
        );
        let job = runtime.handle().spawn_blocking(move || {
            let task = handle.spawn(async move {
                let _tell = tell;
                begin.set();
                pending::<()>().await;
            });
            handle.block_on(task).unwrap_err().is_cancelled()
        });
        begun.wait_blocking();
        let report = runtime.shutdown_timeout(Duration::from_secs(20));
        assert!(report.is_clean(), "{report}");
        assert!(dropped.is_set());
        assert!(block_on(job).unwrap());
    });
}

#[test]
fn no_thread_of_the_pool_is_counted_after_the_end() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let jobs: Vec<_> = (0..8).map(|n| handle.spawn_blocking(move || n)).collect();
        for (n, job) in jobs.into_iter().enumerate() {
            assert_eq!(runtime.block_on(job).unwrap(), n);
        }
        assert!(handle.metrics().blocking_threads > 0);
        drop(runtime);
        let after = handle.metrics();
        assert_eq!((after.blocking_threads, after.blocking_idle, after.blocking_queued), (0, 0, 0));
    });
}

thread_local! {
    static LEFT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Has a job of the pool leave a value with its thread, which calls `when_dropped` at the end of that.
fn leave_with_a_thread(runtime: &Runtime, when_dropped: impl FnMut() + Send + 'static) {
    let value = OnDrop(when_dropped);
    let job = runtime.handle().spawn_blocking(|| LEFT.set(Some(Box::new(value))));
    runtime.block_on(job).unwrap();
}

#[test]
fn what_a_job_left_with_its_thread_is_dropped_before_the_end_is_told() {
    bounded(|| {
        let runtime = runtime(1);
        let dropped = Event::default();
        let tell = dropped.clone();
        leave_with_a_thread(&runtime, move || {
            // Some work.
            thread::sleep(Duration::from_millis(30));
            tell.set();
        });
        assert!(runtime.shutdown_timeout(Duration::from_secs(50)).is_clean());
        assert!(dropped.is_set());
    });
}

#[test]
fn a_thread_of_the_pool_that_does_not_come_to_its_end_is_left_behind_and_reported() {
    bounded(|| {
        let runtime = runtime(1);
        let (begun, gate) = (Event::default(), Event::default());
        let (begin, wait) = (begun.clone(), gate.clone());
        leave_with_a_thread(&runtime, move || {
            begin.set();
            wait.wait_blocking();
        });
        let report = runtime.shutdown_timeout(Duration::from_millis(1));
        assert_eq!(report.busy_blocking_threads, 1);
        gate.set();
        begun.wait_blocking();
    });
}

#[test]
fn a_runtime_ends_while_its_handles_are_used_by_threads_that_never_stop() {
    bounded(|| {
        for _ in 0..10 {
            let runtime = runtime(2);
            let tries = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (handle, tries) = (runtime.handle().clone(), Arc::clone(&tries));
                    // Until the first refusal, which must come.
                    thread::spawn(move || {
                        while block_on(handle.spawn(async {})).is_ok() {
                            tries.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            wait_for("some to run", || tries.load(Ordering::Relaxed) > 10);
            let report = runtime.shutdown_timeout(Duration::from_secs(20));
            assert!(report.is_clean(), "{report}");
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

/// A task that is queued behind others at the end is dropped like one that waits.
#[test]
fn tasks_that_never_had_their_turn_are_dropped_unpolled() {
    bounded(|| {
        let runtime = runtime(1);
        let (polled, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (polls, drops) = (Arc::clone(&polled), Arc::clone(&dropped));
        let (begun, may_end) = (Event::default(), Event::default());
        let (begin, end) = (begun.clone(), may_end.clone());
        let task = runtime.handle().spawn_on(0, move || async move {
            for n in 0..1_000 {
                let (polls, drops) = (Arc::clone(&polls), Arc::clone(&drops));
                let guard = OnDrop(move || {
                    drops.fetch_add(1, Ordering::SeqCst);
                });
                let queued = async move {
                    polls.fetch_add(1, Ordering::SeqCst);
                    drop(guard);
                };
                match n % 2 {
                    0 => drop(ringwork::spawn(queued)),
                    _ => drop(ringwork::spawn_local(queued)),
                }
            }
            begin.set();
            // One poll that lasts until the runtime is closing: nothing of the above had its turn before.
            end.wait_blocking();
        });
        begun.wait_blocking();
        let handle = runtime.handle().clone();
        let ending = thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(20)));
        // The core polls nothing, so what is over was refused.
        wait_for("the end to begin", || handle.spawn(async {}).is_finished());
        may_end.set();
        let report = ending.join().unwrap();
        assert!(report.is_clean(), "{report}");
        let _ = block_on(task);
        assert_eq!(dropped.load(Ordering::SeqCst), 1_000);
        // The turn that was going on may come to its end; no other begins.
        assert!(polled.load(Ordering::SeqCst) <= 128, "{polled:?}");
    });
}

#[test]
fn a_sleeping_task_does_not_keep_its_runtime_from_ending() {
    bounded(|| {
        let runtime = runtime(2);
        let tasks: Vec<_> =
            (0..100).map(|n| runtime.handle().spawn_on(n % 2, || sleep(Duration::from_secs(3600)))).collect();
        runtime.block_on(runtime.spawn(async {})).unwrap();
        drop(runtime);
        for task in tasks {
            assert!(block_on(task).unwrap_err().is_cancelled());
        }
    });
}
