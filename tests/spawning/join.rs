//! Join handles: awaited anywhere, dropped anywhere, polled by anybody.

use crate::kit::process::alone;
use crate::kit::{Event, OnDrop, bounded, poll_once, runtime};
use ringwork::task::JoinHandle;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

#[test]
fn a_handle_is_awaited_on_another_core() {
    bounded(|| {
        let runtime = runtime(2);
        for _ in 0..100 {
            let go = Event::default();
            let gate = go.clone();
            let task = runtime.handle().spawn_on(0, move || async move {
                gate.wait().await;
                11
            });
            let joiner = runtime.handle().spawn_on(1, move || async move {
                let mut task = task;
                // Registered before the task ends, most of the time.
                let first = poll_once(&mut task).await;
                go.set();
                match first {
                    Poll::Ready(output) => output.unwrap(),
                    Poll::Pending => task.await.unwrap(),
                }
            });
            assert_eq!(runtime.block_on(joiner).unwrap(), 11);
        }
    });
}

#[test]
fn a_handle_is_awaited_on_a_thread_without_any_runtime() {
    bounded(|| {
        let runtime = runtime(1);
        for _ in 0..100 {
            let task = runtime.spawn(async { 4 });
            let thread = thread::spawn(move || futures_executor::block_on(task).unwrap());
            assert_eq!(thread.join().unwrap(), 4);
        }
    });
}

#[test]
fn the_handle_of_a_local_task_is_awaited_elsewhere_and_the_task_stays() {
    bounded(|| {
        let runtime = runtime(2);
        let (sender, receiver) = mpsc::channel::<JoinHandle<Vec<usize>>>();
        let parent = runtime.handle().spawn_on(0, move || async move {
            let not_send = Rc::new(());
            let local = ringwork::spawn_local(async move {
                let mut seen = Vec::new();
                for _ in 0..50 {
                    ringwork::task::yield_now().await;
                    seen.push(ringwork::core::current().unwrap());
                }
                drop(not_send);
                seen
            });
            sender.send(local).unwrap();
        });
        runtime.block_on(parent).unwrap();
        let local = receiver.recv().unwrap();
        let joiner = runtime.handle().spawn_on(1, move || local);
        assert_eq!(runtime.block_on(joiner).unwrap().unwrap(), vec![0; 50]);
    });
}

#[test]
fn a_finished_task_says_so_before_it_is_joined() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async { 1 });
        let abort = task.abort_handle();
        crate::kit::wait_for("the task to end", || task.is_finished());
        assert!(abort.is_finished());
        assert_eq!(runtime.block_on(task).unwrap(), 1);
    });
}

#[test]
fn an_output_nobody_takes_is_dropped_on_the_core() {
    bounded(|| {
        let runtime = runtime(1);
        let (sender, receiver) = mpsc::channel();
        let detached = Event::default();
        let gate = detached.clone();
        let task = runtime.spawn(async move {
            gate.wait().await;
            OnDrop(move || sender.send(ringwork::core::current()).unwrap())
        });
        drop(task);
        detached.set();
        assert_eq!(receiver.recv().unwrap(), Some(0));
    });
}

#[test]
fn an_output_of_a_handle_dropped_later_is_dropped_with_it() {
    bounded(|| {
        let runtime = runtime(1);
        let held = Arc::new(());
        let output = Arc::clone(&held);
        let task = runtime.spawn(async move { output });
        crate::kit::wait_for("the task to end", || task.is_finished());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(task);
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_woken() {
    bounded(|| {
        let runtime = runtime(2);
        let go = Event::default();
        let gate = go.clone();
        let task = runtime.spawn(async move { gate.wait().await });
        // Polled once in a task that then gives the handle away.
        let (sender, receiver) = mpsc::channel();
        let first = runtime.spawn(async move {
            let mut task = task;
            assert!(poll_once(&mut task).await.is_pending());
            sender.send(task).unwrap();
        });
        runtime.block_on(first).unwrap();
        let task = receiver.recv().unwrap();
        let second = runtime.spawn(task);
        go.set();
        runtime.block_on(second).unwrap().unwrap();
    });
}

#[test]
fn a_task_may_await_a_thousand_others_at_once() {
    bounded(|| {
        let runtime = runtime(2);
        let all = runtime.spawn(async {
            let tasks = (0..1_000).map(|n| {
                ringwork::spawn(async move {
                    ringwork::task::yield_now().await;
                    n
                })
            });
            futures_util::future::join_all(tasks).await
        });
        let outputs = runtime.block_on(all).unwrap();
        assert!(outputs.into_iter().map(Result::unwrap).eq(0..1_000));
    });
}

/// As a waker of this task or any other, which is kept alive by it.
struct Sleeper;

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_handle_that_waited_at_home_and_is_dropped_elsewhere_leaves_no_waker() {
    bounded(|| {
        let runtime = runtime(2);
        for ends_first in [false, true] {
            let (sleeper, done) = (Arc::new(Sleeper), Event::default());
            let (waker, gate) = (Waker::from(Arc::clone(&sleeper)), done.clone());
            let parent = runtime.handle().spawn_on(0, move || async move {
                let mut task = ringwork::spawn_local(async move { gate.wait().await });
                let polled = std::pin::Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
                polled.is_pending().then_some(task)
            });
            let task = runtime.block_on(parent).unwrap().expect("nothing has set the event");
            let abort = task.abort_handle();
            if ends_first {
                done.set();
                crate::kit::wait_for("the task to end", || abort.is_finished());
            }
            drop(task);
            done.set();
            crate::kit::wait_for("the task to end", || abort.is_finished());
            drop(abort);
            crate::kit::wait_for("the waker to be dropped", || Arc::strong_count(&sleeper) == 1);
        }
    });
}

#[test]
fn a_handle_that_waited_elsewhere_and_is_dropped_at_home_leaves_no_waker() {
    bounded(|| {
        let runtime = runtime(1);
        for has_arrived in [false, true] {
            let (sleeper, end) = (Arc::new(Sleeper), Event::default());
            let (waker, gate) = (Waker::from(Arc::clone(&sleeper)), end.clone());
            let mut task = runtime.handle().spawn_on(0, move || async move { gate.wait().await });
            let polled = std::pin::Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending(), "nothing has set the event");
            drop(waker);
            if has_arrived {
                // Pinned messages are delivered in order.
                runtime.block_on(runtime.handle().spawn_on(0, || async {})).unwrap();
            }
            runtime.block_on(runtime.handle().spawn_on(0, move || async move { drop(task) })).unwrap();
            crate::kit::wait_for("the waker to be dropped", || Arc::strong_count(&sleeper) == 1);
            end.set();
        }
    });
}

/// Says that it is dropped, and panics.
struct Bomb(Event);

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.set();
        panic!("in the drop of a waker");
    }
}

#[test]
fn a_waker_that_a_handle_has_left_elsewhere_may_panic_when_it_is_dropped() {
    alone(|| {
        let runtime = runtime(1);
        let (dropped, end) = (Event::default(), Event::default());
        let (waker, gate) = (Waker::from(Arc::new(Bomb(dropped.clone()))), end.clone());
        let mut task = runtime.handle().spawn_on(0, move || async move { gate.wait().await });
        let polled = std::pin::Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "nothing has set the event");
        drop(waker);
        let dropping = runtime.handle().spawn_on(0, move || async move {
            let _end = OnDrop(move || end.set());
            drop(task);
        });
        // Whose panic it is depends on who drops the waker.
        let _ = runtime.block_on(dropping);
        dropped.wait_blocking();
        runtime.block_on(runtime.handle().spawn_on(0, || async {})).unwrap();
    });
}
