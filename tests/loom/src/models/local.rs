//! Models of local tasks (`src/task/remote.rs`): the model's first thread is their home, all others are far.
//!
//! The models of tasks in general hold for local ones too, and run again; the others are of what only local
//! tasks have: two counts, requests that travel, a home that goes. Each future and output has a loom `Arc`,
//! and so has the cell: what is freed twice or never shows.

use super::bench::{
    Bell, Core, Shelf, as_local, flag, join, output, raise, sleeping, sleeping_behind_a_door, until,
};
use super::explore;
use crate::task::{self, Mark};
use loom::sync::Arc;
use loom::sync::atomic::Ordering;
use loom::thread;
use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

macro_rules! again {
    ($($name:ident)*) => {
        $(
            /// The same with a local task.
            pub fn $name() {
                as_local(super::task::$name);
            }
        )*
    };
}

again!(
    a_wake_beside_a_poll_is_not_lost
    two_remote_wakers_make_the_task_run_for_both
    a_wake_beside_the_end_is_harmless
    the_last_waker_frees_an_ended_task
    an_abort_beside_a_run_ends_the_task_once
    an_abort_beside_a_wake_ends_the_task_once
    a_joiner_on_another_core_gets_the_output
    a_joiner_that_changes_its_waker_gets_the_output
    a_handle_dropped_beside_the_end_drops_the_output_once
    a_joiner_that_goes_takes_its_waker_along
    a_shutdown_beside_a_wake_drops_the_future_once
    two_remote_wakers_beside_a_run_deep
);

/// References are made and given up on both sides, in both directions; the home frees the task once.
pub fn references_that_cross_are_counted_right() {
    as_local(|| {
        explore(3, || {
            let up = flag();
            let (core, shelf, handle) = sleeping(&[&up]);
            let (waker, other) = (shelf.take(), handle.abort_handle());
            let far = thread::spawn(move || {
                // One made at home ends here, one made here goes home.
                drop(other);
                waker.clone()
            });
            drop(handle);
            core.turn();
            let back = far.join().unwrap();
            up.store(true, Ordering::Relaxed);
            back.wake();
            core.run();
            drop(shelf);
            core.run();
            assert_eq!((core.0.owned.len(), Arc::strong_count(&core.0)), (0, 1));
        });
    });
}

/// The home ends its tasks, retires and closes while far threads wake, drop and wait.
pub fn a_home_that_closes_leaves_nothing_behind() {
    as_local(|| closing(2));
}

/// The same with more preemptions.
pub fn a_home_that_closes_leaves_nothing_behind_deep() {
    as_local(|| closing(3));
}

fn closing(preemptions: usize) {
    explore(preemptions, || {
        let up = flag();
        let (core, shelf, handle) = sleeping_behind_a_door(&[&up]);
        let waking = raise(&up, shelf.take(), true);
        let joiner = thread::spawn(move || join(handle, false).map(|_| ()));
        core.turn();
        core.close();
        waking.join().unwrap();
        if let Err(error) = joiner.join().unwrap() {
            assert!(error.is_cancelled(), "{error}");
        }
        drop(shelf);
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}

/// The same with two far threads that only give up references, while the home gives up one after it has
/// closed.
pub fn references_that_outlive_their_home_are_counted_by_all() {
    as_local(|| {
        explore(2, || {
            let up = flag();
            let (core, shelf, handle) = sleeping_behind_a_door(&[&up]);
            let waker = shelf.take();
            let (one, two) = (waker.clone(), handle);
            let one = thread::spawn(move || drop(one));
            let two = thread::spawn(move || drop(two));
            core.close();
            drop((waker, shelf));
            one.join().unwrap();
            two.join().unwrap();
            assert_eq!(Arc::strong_count(&core.0), 1);
        });
    });
}

/// A handle that has waited at home and goes elsewhere: its waker is not kept, whoever is the last to know
/// the task.
pub fn a_handle_that_waited_at_home_and_goes_elsewhere_takes_its_waker_along() {
    as_local(|| {
        explore(3, || {
            let up = flag();
            let (core, shelf, mut handle) = sleeping(&[&up]);
            let bell = std::sync::Arc::new(Bell::new());
            let waker = Waker::from(std::sync::Arc::clone(&bell));
            assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            let leaving = thread::spawn(move || drop(handle));
            up.store(true, Ordering::Relaxed);
            shelf.take().wake();
            drop(shelf);
            core.turn();
            core.settle([leaving]);
            assert_eq!((std::sync::Arc::strong_count(&bell), Arc::strong_count(&core.0)), (1, 1));
        });
    });
}

/// The same, while the task sleeps: the waker goes with the handle and not with the task.
pub fn a_handle_that_goes_leaves_no_waker_with_a_task_that_sleeps() {
    as_local(|| {
        explore(2, || {
            let up = flag();
            let (core, shelf, mut handle) = sleeping(&[&up]);
            let (near, far) = (std::sync::Arc::new(Bell::new()), std::sync::Arc::new(Bell::new()));
            let waker = Waker::from(std::sync::Arc::clone(&near));
            assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            let waker = Waker::from(std::sync::Arc::clone(&far));
            let leaving = thread::spawn(move || {
                assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
            });
            core.turn();
            core.settle([leaving]);
            assert_eq!((std::sync::Arc::strong_count(&near), std::sync::Arc::strong_count(&far)), (1, 1));
            core.close();
            drop(shelf);
        });
    });
}

/// A task that is made on a thread that has closed its door is refused, and then counted by all threads
/// alike.
pub fn a_task_refused_behind_a_closed_door_is_counted_by_all() {
    explore(3, || {
        let core = Core::new();
        core.close();
        let value = Arc::new(7);
        let future = async move { value };
        let (owned, notified, handle) = task::new_local(future, core.clone(), Location::caller());
        notified.refuse();
        drop(owned);
        let abort = handle.abort_handle();
        let far = thread::spawn(move || drop(handle));
        let other = abort.clone();
        drop(abort);
        drop(other);
        far.join().unwrap();
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}

/// A task that is made for a thread and cancelled, because the thread goes, while its handle waits elsewhere.
pub fn an_unborn_task_that_is_cancelled_answers_its_handle() {
    explore(1, unborn_cancelled);
}

/// The same with more preemptions.
pub fn an_unborn_task_that_is_cancelled_answers_its_handle_deep() {
    explore(2, unborn_cancelled);
}

fn unborn_cancelled() {
    let core = Core::behind_a_door();
    let value = Arc::new(7);
    let make = move || async move { value };
    let (unborn, handle) = task::new_elsewhere(make, core.clone(), Mark::here(), Location::caller());
    let abort = handle.abort_handle();
    let joiner = thread::spawn(move || join(handle, false));
    let other = thread::spawn(move || abort.abort());
    core.close();
    unborn.cancel();
    assert!(joiner.join().unwrap().unwrap_err().is_cancelled());
    other.join().unwrap();
    assert_eq!(Arc::strong_count(&core.0), 1);
}

/// A task that is made elsewhere, born at home and awaited where it was made.
pub fn a_task_made_elsewhere_is_born_and_joined() {
    explore(1, || {
        let core = Core::new();
        let shelf = Shelf::new();
        let (home, there, wakes) = (Mark::here(), core.clone(), shelf.clone());
        let maker = thread::spawn(move || {
            let make = move || until(vec![], &wakes, Arc::new(7));
            task::new_elsewhere(make, there, home, Location::caller())
        });
        let (unborn, handle) = maker.join().unwrap();
        let joiner = thread::spawn(move || join(handle, false));
        core.adopt(unborn);
        core.run();
        assert_eq!(*joiner.join().unwrap().unwrap(), 7);
        drop(shelf);
        core.run();
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}

/// All that can be wanted of a task from afar, at once, while its home runs and closes.
pub fn everything_from_afar_beside_a_home_that_closes_deep() {
    as_local(|| {
        explore(2, || {
            let up = flag();
            let (core, shelf, handle) = sleeping_behind_a_door(&[&up]);
            let abort = handle.abort_handle();
            let aborting = thread::spawn(move || abort.abort());
            let waking = raise(&up, shelf.take(), false);
            let joiner = thread::spawn(move || join(handle, true).map(|_| ()));
            core.turn();
            core.close();
            aborting.join().unwrap();
            waking.join().unwrap();
            drop(joiner.join().unwrap());
            drop(shelf);
            assert_eq!(Arc::strong_count(&core.0), 1);
        });
    });
}

/// Joined at home, with nobody else: the task that no far thread ever knew.
pub fn a_task_that_stays_at_home_needs_nobody() {
    as_local(|| {
        explore(1, || {
            let core = Core::new();
            let value = Arc::new(7);
            let handle = core.spawn(async move { value });
            core.run();
            assert_eq!(*output(handle).unwrap(), 7);
            assert_eq!(Arc::strong_count(&core.0), 1);
        });
    });
}

/// A task that is polled where it is made, and whose first poll gives its waker to another thread: it ends in
/// that poll, while the waker is woken there.
pub fn a_newborn_that_ends_beside_a_wake_is_freed_once() {
    newborn(3, true);
}

/// The same where it ends only once it has been woken.
pub fn a_newborn_that_is_woken_in_its_first_poll_goes_on() {
    newborn(3, false);
}

fn newborn(preemptions: usize, ends_at_once: bool) {
    explore(preemptions, move || {
        let core = Core::new();
        let (up, far) = (flag(), Rc::new(RefCell::new(None)));
        let (mut first, waking) = (true, Rc::clone(&far));
        let mut value = Some(Arc::new(7));
        let future = poll_fn(move |cx| {
            if std::mem::take(&mut first) {
                *waking.borrow_mut() = Some(raise(&up, cx.waker().clone(), true));
            }
            if ends_at_once || up.load(Ordering::Relaxed) {
                return Poll::Ready(value.take().expect("it ends once"));
            }
            Poll::Pending
        });
        let (newborn, handle) = task::new_local_eager(future, core.clone(), Location::caller());
        newborn.run_within(|owned| core.0.owned.insert(owned));
        assert!(handle.is_finished() || !ends_at_once);
        let far = far.take().expect("the first poll has made it");
        core.settle([far]);
        assert_eq!(*output(handle).unwrap(), 7);
        core.run();
        assert_eq!((core.0.owned.len(), Arc::strong_count(&core.0)), (0, 1));
    });
}

/// A task whose first poll finds that no more are listed: it is cancelled, whoever has its waker.
pub fn a_newborn_that_is_refused_behind_its_first_poll_is_counted_by_all() {
    explore(3, || {
        let core = Core::behind_a_door();
        let far = Rc::new(RefCell::new(None));
        let (waking, value) = (Rc::clone(&far), Arc::new(7));
        let future = poll_fn(move |cx| {
            let (waker, value) = (cx.waker().clone(), &value);
            assert_eq!(**value, 7);
            *waking.borrow_mut() = Some(thread::spawn(move || waker.wake()));
            Poll::<()>::Pending
        });
        let (newborn, handle) = task::new_local_eager(future, core.clone(), Location::caller());
        newborn.run_within(|owned| {
            drop(owned);
            false
        });
        assert!(output(handle).unwrap_err().is_cancelled());
        core.close();
        far.take().expect("the first poll has made it").join().unwrap();
        assert_eq!(Arc::strong_count(&core.0), 1);
    });
}
