//! Models of the task room (`src/task`): real cells, real wakers, a scheduler of a few lines.
//!
//! What is owned by a future or its output is a loom `Arc`, and so is what the scheduler in the cell holds: a
//! future dropped twice or never, an output left over and a cell that is not freed show as a broken or leaked
//! `Arc`. Each model lets the core run while the others are at it, then waits for them and runs what is
//! queued: a task that is then not over has lost a wake.

use super::bench::{Bell, Core, Shelf, flag, join, output, raise, sleeping, until};
use super::explore;
use crate::task;
use loom::sync::atomic::Ordering;
use loom::sync::{Arc, Notify};
use loom::thread;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Waker};

/// A sleeping task is woken while its core polls it for another reason.
pub fn a_wake_beside_a_poll_is_not_lost() {
    for by_value in [true, false] {
        explore(3, move || {
            let up = flag();
            let (core, shelf, handle) = sleeping(&[&up]);
            let waker = shelf.take();
            waker.wake_by_ref();
            let waking = raise(&up, waker, by_value);
            assert!(core.turn());
            core.settle([waking]);
            assert_eq!(*output(handle).unwrap(), 7);
        });
    }
}

/// Two cores wake one task, each for a reason of its own.
pub fn two_remote_wakers_make_the_task_run_for_both() {
    explore(2, || two_wakers(false));
}

fn two_wakers(scheduled: bool) {
    let (one, two) = (flag(), flag());
    let (core, shelf, handle) = sleeping(&[&one, &two]);
    let waker = shelf.take();
    if scheduled {
        waker.wake_by_ref();
    }
    let first = raise(&one, waker.clone(), false);
    let second = raise(&two, waker, true);
    core.turn();
    core.settle([first, second]);
    assert_eq!(*output(handle).unwrap(), 7);
}

/// A wake meets the task's last poll and its end.
pub fn a_wake_beside_the_end_is_harmless() {
    for by_value in [true, false] {
        explore(3, move || {
            let up = flag();
            let (core, shelf, handle) = sleeping(&[&up]);
            let waker = shelf.take();
            up.store(true, Ordering::Relaxed);
            waker.wake_by_ref();
            let waking = raise(&up, waker, by_value);
            assert!(core.turn());
            assert!(handle.is_finished());
            waking.join().unwrap();
            assert!(!core.turn(), "a task that is over is not scheduled");
            assert_eq!(*output(handle).unwrap(), 7);
        });
    }
}

/// Handle, runner and a waker elsewhere give up their references at once.
pub fn the_last_waker_frees_an_ended_task() {
    explore(2, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        up.store(true, Ordering::Relaxed);
        let waker = shelf.take();
        waker.wake_by_ref();
        let dropping = thread::spawn(move || drop(waker));
        let leaving = thread::spawn(move || drop(handle));
        assert!(core.turn());
        drop(shelf);
        core.settle([dropping, leaving]);
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}

/// An abort from elsewhere meets a task that is about to run to its end, or to sleep.
pub fn an_abort_beside_a_run_ends_the_task_once() {
    for ready in [true, false] {
        explore(3, move || {
            let (core, shelf, up) = (Core::new(), Shelf::new(), flag());
            up.store(ready, Ordering::Relaxed);
            let handle = core.spawn(until(vec![up], &shelf, Arc::new(7)));
            let abort = handle.abort_handle();
            let aborting = thread::spawn(move || abort.abort());
            core.turn();
            core.settle([aborting]);
            match output(handle) {
                Ok(value) => assert!(ready && *value == 7),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
            drop(shelf);
        });
    }
}

/// Abort and wake come to a sleeping task at once.
pub fn an_abort_beside_a_wake_ends_the_task_once() {
    explore(2, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        let abort = handle.abort_handle();
        let aborting = thread::spawn(move || abort.abort());
        let waking = raise(&up, shelf.take(), true);
        core.turn();
        core.settle([aborting, waking]);
        match output(handle) {
            Ok(value) => assert_eq!(*value, 7),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    });
}

/// A joiner on another core waits while the task ends.
pub fn a_joiner_on_another_core_gets_the_output() {
    explore(4, || {
        let core = Core::new();
        let value = Arc::new(7);
        let handle = core.spawn(async move { value });
        let joiner = thread::spawn(move || join(handle, false));
        core.run();
        assert_eq!(*joiner.join().unwrap().unwrap(), 7);
        core.run();
        assert_eq!(core.0.owned.len(), 0);
    });
}

/// As above, with a second waker that takes the place of the first.
pub fn a_joiner_that_changes_its_waker_gets_the_output() {
    explore(3, || {
        let core = Core::new();
        let value = Arc::new(7);
        let handle = core.spawn(async move { value });
        let joiner = thread::spawn(move || join(handle, true));
        core.run();
        assert_eq!(*joiner.join().unwrap().unwrap(), 7);
        core.run();
    });
}

/// The handle goes while the task ends: one of the two drops the output.
pub fn a_handle_dropped_beside_the_end_drops_the_output_once() {
    explore(4, || {
        let core = Core::new();
        let value = Arc::new(7);
        let kept = Arc::clone(&value);
        let handle = core.spawn(async move { value });
        let leaving = thread::spawn(move || drop(handle));
        core.run();
        core.settle([leaving]);
        assert_eq!((Arc::strong_count(&kept), Arc::strong_count(&core.0)), (1, 1));
    });
}

/// As above, with a waker stored: whoever has it, it is dropped once.
pub fn a_joiner_that_goes_takes_its_waker_along() {
    explore(4, || {
        let core = Core::new();
        let mut handle = core.spawn(async {});
        let bell = std::sync::Arc::new(Bell::new());
        let theirs = std::sync::Arc::clone(&bell);
        let leaving = thread::spawn(move || {
            let waker = Waker::from(theirs);
            let _ = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        });
        core.run();
        core.settle([leaving]);
        assert_eq!((std::sync::Arc::strong_count(&bell), Arc::strong_count(&core.0)), (1, 1));
    });
}

/// The owner shuts down while a thief runs the task.
pub fn a_shutdown_beside_a_run_drops_the_future_once() {
    explore(3, || {
        let (core, shelf, up) = (Core::new(), Shelf::new(), flag());
        let value = Arc::new(7);
        let handle = core.spawn(until(vec![up], &shelf, value));
        let stolen = core.next().unwrap();
        let thief = thread::spawn(move || stolen.run());
        core.0.owned.close_and_shutdown();
        thief.join().unwrap();
        drop(shelf);
        assert!(output(handle).unwrap_err().is_cancelled());
        assert!(!core.turn());
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}

/// The owner shuts down while the task is woken from elsewhere.
pub fn a_shutdown_beside_a_wake_drops_the_future_once() {
    explore(3, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        let waking = raise(&up, shelf.take(), true);
        core.0.owned.close_and_shutdown();
        waking.join().unwrap();
        assert!(output(handle).unwrap_err().is_cancelled());
        core.run();
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}

/// Nobody but a waker knows the task: the wake's own reference carries it to its end on another core.
pub fn a_task_woken_by_its_last_reference_ends_well() {
    explore(3, || {
        let (core, shelf, up) = (Core::new(), Shelf::new(), flag());
        let value = Arc::new(7);
        let kept = Arc::clone(&value);
        let future = until(vec![Arc::clone(&up)], &shelf, value);
        let (notified, handle) = task::new_unowned(future, core.clone(), Location::caller());
        drop(handle);
        notified.run();
        let waking = raise(&up, shelf.take(), true);
        core.turn();
        drop(shelf.0.lock().unwrap().take());
        core.settle([waking]);
        drop(shelf.0.lock().unwrap().take());
        assert_eq!((Arc::strong_count(&kept), Arc::strong_count(&core.0)), (1, 1));
    });
}

/// Two wakers, and a poll that neither has caused.
pub fn two_remote_wakers_beside_a_run_deep() {
    explore(3, || two_wakers(true));
}

/// Everything a spawner and a waker can do, while the task runs.
pub fn abort_wake_and_join_beside_a_run_deep() {
    explore(2, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        let abort = handle.abort_handle();
        let aborting = thread::spawn(move || abort.abort());
        let waking = raise(&up, shelf.take(), true);
        let joiner = thread::spawn(move || join(handle, true));
        core.turn();
        core.settle([aborting, waking]);
        match joiner.join().unwrap() {
            Ok(value) => assert_eq!(*value, 7),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
        core.run();
    });
}

/// The owner shuts down while a thief runs the task, a waker wakes it and its handle goes.
pub fn shutdown_wake_and_handle_beside_a_run_deep() {
    explore(2, || {
        let up = flag();
        let (core, shelf, handle) = sleeping(&[&up]);
        let waker = shelf.take();
        waker.wake_by_ref();
        let stolen = core.next().unwrap();
        let thief = thread::spawn(move || stolen.run());
        let waking = raise(&up, waker, true);
        let leaving = thread::spawn(move || drop(handle));
        core.0.owned.close_and_shutdown();
        for thread in [thief, waking, leaving] {
            thread.join().unwrap();
        }
        drop(shelf);
        core.run();
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}
