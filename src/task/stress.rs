//! Tests of the room with real threads: bounded storms, and what crosses from one thread to another.
//!
//! Owns no behaviour that one thread can show (`tests.rs`), and proves no interleaving (`tests/loom`).

use super::tests::{Bench, OnDrop, Spawn, waiting};
use super::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;

#[test]
fn handles_and_errors_cross_threads_as_their_outputs_allow() {
    fn send_and_sync<T: Send + Sync + Unpin>() {}
    send_and_sync::<JoinHandle<u8>>();
    send_and_sync::<AbortHandle>();
    send_and_sync::<JoinError>();
    send_and_sync::<Notified>();
    send_and_sync::<OwnedTasks>();
    // A handle to an output that is not `Send` stays here: this only compiles while `JoinHandle<Rc<_>>` has
    // exactly one of the two implementations.
    trait Stays<Why> {
        fn stays() {}
    }
    impl<T: ?Sized> Stays<()> for T {}
    impl<T: ?Sized + Send> Stays<u8> for T {}
    <JoinHandle<Rc<u8>> as Stays<_>>::stays();
}

#[test]
fn a_local_task_on_a_wrong_thread_panics_and_its_future_stays_where_it_was() {
    let bench = Arc::new(Bench::default());
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let handle = bench.spawn_local(async move { drop(inside) });
    let notified = bench.next().unwrap();
    assert!(notified.header().is_local());
    let panic = thread::spawn(move || notified.run()).join().unwrap_err();
    assert!(panic.downcast::<String>().unwrap().starts_with("broken invariant: Task { id: "));
    assert_eq!(Rc::strong_count(&held), 2);
    bench.owned.close_and_shutdown();
    assert!(handle.is_finished());
    assert_eq!(Rc::strong_count(&held), 1);
    // The request with which the wrong thread gave its reference up.
    bench.run();
}

#[test]
fn a_local_task_shut_down_elsewhere_is_only_marked() {
    let bench = Arc::new(Bench::default());
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let handle = bench.spawn_local(async move {
        let _inside = inside;
        pending::<()>().await;
    });
    bench.run();
    let elsewhere = Arc::clone(&bench);
    thread::spawn(move || elsewhere.owned.close_and_shutdown()).join().unwrap();
    assert!(!handle.is_finished());
    assert_eq!((Rc::strong_count(&held), bench.owned.len()), (2, 1));
    bench.owned.close_and_shutdown();
    assert!(handle.is_finished());
    assert_eq!(Rc::strong_count(&held), 1);
}

/// Names what is leaked on purpose, so that a leak checker does not.
static LEAKED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

#[test]
fn the_last_reference_of_a_local_task_dropped_elsewhere_leaks_its_future() {
    let dropped = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let inside = Arc::clone(&dropped);
    thread::spawn(move || {
        let bench = Arc::new(Bench::default());
        let on_drop = OnDrop(move || inside.store(true, Ordering::SeqCst));
        let (task, notified, handle) = new_local(
            async move {
                let _on_drop = on_drop;
                pending::<()>().await;
            },
            bench,
            Location::caller(),
        );
        sender.send((task, notified, handle)).unwrap();
    })
    .join()
    .unwrap();
    let (task, notified, handle) = receiver.recv().unwrap();
    LEAKED.lock().unwrap().push(std::ptr::from_ref(task.header()).expose_provenance());
    drop((task, notified, handle));
    assert!(!dropped.load(Ordering::SeqCst));
}

#[test]
fn a_handle_is_awaited_by_any_executor_on_any_thread() {
    let bench = Arc::new(Bench::default());
    let (place, wait) = waiting();
    let handle = bench.spawn_local(async move {
        futures_util::future::select(std::pin::pin!(wait), std::pin::pin!(yield_now())).await;
        String::from("output")
    });
    let joiner = std::thread::spawn(move || futures_executor::block_on(handle));
    bench.run();
    assert_eq!(joiner.join().unwrap().unwrap(), "output");
    drop(place);
    // The handle's last request, which refers to the bench that has it.
    bench.run();
}

#[test]
fn an_abort_from_another_thread_drops_the_future_on_its_own() {
    let bench = Arc::new(Bench::default());
    let here = thread::current().id();
    let on_drop = OnDrop(move || assert_eq!(thread::current().id(), here));
    let handle = bench.spawn_local(async move {
        let _on_drop = on_drop;
        pending::<()>().await;
    });
    bench.run();
    let abort = handle.abort_handle();
    thread::spawn(move || abort.abort()).join().unwrap();
    assert!(!handle.is_finished());
    bench.run();
    assert!(futures_executor::block_on(handle).unwrap_err().is_cancelled());
}

#[test]
fn a_waker_dropped_with_a_threads_locals_wakes() {
    thread_local! {
        static LATE: RefCell<Option<OnDrop<Box<dyn FnMut()>>>> = const { RefCell::new(None) };
    }
    let bench = Arc::new(Bench::default());
    let place: Arc<Mutex<Option<Waker>>> = Arc::default();
    let store = Arc::clone(&place);
    let handle = bench.spawn(poll_fn(move |cx| match store.lock().unwrap().replace(cx.waker().clone()) {
        None => Poll::Pending,
        Some(_) => Poll::Ready(()),
    }));
    bench.run();
    let inside = Arc::clone(&place);
    thread::spawn(move || {
        let wake = move || inside.lock().unwrap().as_ref().unwrap().wake_by_ref();
        LATE.set(Some(OnDrop(Box::new(wake))));
    })
    .join()
    .unwrap();
    bench.run();
    assert!(handle.is_finished());
}

thread_local! {
    static HERE: RefCell<VecDeque<Notified>> = const { RefCell::new(VecDeque::new()) };
}

/// A scheduler that takes tasks through a thread-local and keeps nothing in the cell.
#[derive(Clone)]
struct Here;

impl Schedule for Here {
    fn schedule(&self, task: Notified) {
        panic!("`schedule_here` takes all: {task:?}");
    }

    fn schedule_here(task: Notified, cause: Cause) -> Result<(), Notified> {
        HERE.with_borrow_mut(|queue| match cause {
            Cause::Woken => queue.push_front(task),
            Cause::Yielded => queue.push_back(task),
        });
        Ok(())
    }

    fn request(&self, _: Request) {
        panic!("nobody is elsewhere");
    }

    fn release(&self, _: &Header) -> Option<TaskRef> {
        None
    }
}

#[test]
fn a_core_takes_its_own_wakes_with_nothing_borrowed() {
    let (place, seen) = (Rc::new(RefCell::new(None::<Waker>)), Rc::new(RefCell::new(0)));
    let (store, count) = (Rc::clone(&place), Rc::clone(&seen));
    let future = async move {
        yield_now().await;
        poll_fn(move |cx| {
            *count.borrow_mut() += 1;
            match store.borrow_mut().replace(cx.waker().clone()) {
                None => Poll::Pending,
                Some(_) => Poll::Ready(()),
            }
        })
        .await;
    };
    let (task, notified, handle) = new_local(future, Here, Location::caller());
    notified.run();
    HERE.with_borrow_mut(VecDeque::pop_front).unwrap().run();
    drop(task);
    let waker = place.borrow_mut().clone().unwrap();
    waker.wake();
    HERE.with_borrow_mut(VecDeque::pop_front).unwrap().run();
    assert!(handle.is_finished());
    assert_eq!(*seen.borrow(), 2);
}

/// A thread that runs what is queued until it is told to stop.
fn runner(bench: &Arc<Bench>, stop: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (bench, stop) = (Arc::clone(bench), Arc::clone(stop));
    thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            bench.run();
            thread::yield_now();
        }
    })
}

/// Two threads run tasks, one wakes and aborts them at random, one drops handles: every future is dropped
/// once.
#[test]
fn a_storm_of_wakes_aborts_and_drops_loses_and_leaks_nothing() {
    const TASKS: usize = 3_000;
    let bench = Arc::new(Bench::default());
    let stop = Arc::new(AtomicBool::new(false));
    let dropped = Arc::new(AtomicUsize::new(0));
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let runners = [(); 2].map(|()| runner(&bench, &stop));
    let (storm, stopped) = (Arc::clone(&wakers), Arc::clone(&stop));
    let waking = thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) {
            let taken = std::mem::take(&mut *storm.lock().unwrap());
            for (index, waker) in taken.into_iter().enumerate() {
                match index % 3 {
                    0 => waker.wake(),
                    1 => (0..3).for_each(|_| waker.wake_by_ref()),
                    _ => waker.clone().wake(),
                }
            }
            thread::yield_now();
        }
    });
    let mut handles = VecDeque::new();
    let mut cancelled = 0;
    for index in 0..TASKS {
        let (inside, store) = (Arc::clone(&dropped), Arc::clone(&wakers));
        let on_drop = OnDrop(move || {
            inside.fetch_add(1, Ordering::SeqCst);
        });
        let mut polls = 0;
        handles.push_back(bench.spawn(poll_fn(move |cx| {
            let _ = &on_drop;
            polls += 1;
            store.lock().unwrap().push(cx.waker().clone());
            if polls > 3 { Poll::Ready(index) } else { Poll::Pending }
        })));
        if index % 4 == 0 {
            handles.back().unwrap().abort();
        } else if index % 4 == 1 {
            drop(handles.pop_front());
        }
        if handles.len() > 64 {
            match futures_executor::block_on(handles.pop_front().unwrap()) {
                Ok(output) => assert!(output <= index),
                Err(error) => cancelled += usize::from(error.is_cancelled()),
            }
        }
    }
    for handle in handles {
        let _ = futures_executor::block_on(handle);
    }
    while bench.owned.len() > 0 {
        thread::yield_now();
    }
    stop.store(true, Ordering::SeqCst);
    runners.into_iter().for_each(|runner| runner.join().unwrap());
    waking.join().unwrap();
    bench.run();
    wakers.lock().unwrap().clear();
    assert!(cancelled > 0);
    assert_eq!((dropped.load(Ordering::SeqCst), Arc::strong_count(&bench)), (TASKS, 1));
}

/// Tasks are spawned, run, woken and shut down at once: whatever wins, each future is dropped exactly once.
#[test]
fn a_shutdown_in_the_middle_of_everything_drops_each_future_once() {
    for _ in 0..100 {
        let bench = Arc::new(Bench::default());
        let dropped = Arc::new(AtomicUsize::new(0));
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let (inside, store) = (Arc::clone(&dropped), Arc::clone(&wakers));
                let on_drop = OnDrop(move || {
                    inside.fetch_add(1, Ordering::SeqCst);
                });
                bench.spawn(poll_fn(move |cx| {
                    let _ = &on_drop;
                    store.lock().unwrap().push(cx.waker().clone());
                    Poll::<()>::Pending
                }))
            })
            .collect();
        thread::scope(|scope| {
            scope.spawn(|| (0..200).for_each(|_| bench.run()));
            scope.spawn(|| {
                for _ in 0..200 {
                    let taken = std::mem::take(&mut *wakers.lock().unwrap());
                    taken.into_iter().for_each(Waker::wake);
                }
            });
            scope.spawn(|| bench.owned.close_and_shutdown());
        });
        bench.run();
        wakers.lock().unwrap().clear();
        assert_eq!(dropped.load(Ordering::SeqCst), 20);
        let cancelled =
            |handle| futures_executor::block_on::<JoinHandle<()>>(handle).unwrap_err().is_cancelled();
        assert!(handles.into_iter().all(cancelled));
        assert_eq!(Arc::strong_count(&bench), 1);
    }
}

#[test]
fn a_panic_in_a_joiners_waker_does_not_reach_the_runner() {
    struct Bomb;
    impl std::task::Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    let bench = Arc::new(Bench::default());
    let mut handle = bench.spawn(async {});
    let waker = Waker::from(Arc::new(Bomb));
    assert!(std::pin::Pin::new(&mut handle).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| bench.run())).is_ok());
    assert!(handle.is_finished());
    drop(handle);
    assert_eq!(Arc::strong_count(&bench), 1);
}
