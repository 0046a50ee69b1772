//! `Handle::call`: a closure on a core's thread, from anywhere, and how it ends.

mod kit;

use kit::{Event, OnDrop, bounded, runtime};
use ringwork::runtime::Handle;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

ringwork::core_local! {
    static COUNT: Cell<usize> = Cell::new(0);
    /// Neither `Send` nor `Sync`.
    static NOTES: RefCell<Vec<Rc<str>>> = RefCell::new(Vec::new());
}

/// Has the name that comes to mind for what the macro declares.
const VALUE: usize = 3;

ringwork::core_local! {
    static OF_A_CONSTANT: Cell<[usize; VALUE]> = Cell::new([VALUE; VALUE]);
}

fn count() -> usize {
    COUNT.with(|count| {
        count.set(count.get() + 1);
        count.get()
    })
}

#[test]
fn a_value_of_a_core_may_be_made_from_a_constant_of_any_name() {
    bounded(|| {
        let runtime = runtime(1);
        let seen = runtime.handle().call(0, || OF_A_CONSTANT.with(Cell::get));
        assert_eq!(runtime.block_on(seen).unwrap(), [3; 3]);
    });
}

#[test]
fn a_call_reaches_what_a_core_keeps_for_itself() {
    bounded(|| {
        let runtime = runtime(2);
        let handle = runtime.handle();
        for (core, expected) in [(0, 1), (1, 1), (1, 2), (0, 2), (1, 3)] {
            let counted = handle.call(core, || {
                NOTES.with(|notes| notes.borrow_mut().push("counted".into()));
                (ringwork::core::current(), count(), NOTES.with(|notes| notes.borrow().len()))
            });
            // From a thread that is no core, and in no runtime.
            let counted = futures_executor::block_on(counted).unwrap();
            assert_eq!(counted, (Some(core), expected, expected));
        }
    });
}

#[test]
fn a_core_may_call_another_and_itself() {
    bounded(|| {
        let runtime = runtime(2);
        let asking = runtime.handle().spawn_on(0, || async {
            let handle = Handle::current();
            let own = Rc::new(Cell::new(1));
            let there = handle.call(1, ringwork::core::current);
            let here = handle.call(0, ringwork::core::current);
            own.set(own.get() + 1);
            (there.await.unwrap(), here.await.unwrap(), own.get())
        });
        assert_eq!(runtime.block_on(asking).unwrap(), (Some(1), Some(0), 2));
    });
}

#[test]
fn a_call_to_the_own_core_waits_until_the_poll_is_over() {
    bounded(|| {
        let runtime = runtime(1);
        let order = runtime.handle().spawn_on(0, || async {
            let order = Arc::new(AtomicUsize::new(0));
            let inside = Arc::clone(&order);
            let call = Handle::current().call(0, move || inside.swap(2, Ordering::SeqCst));
            assert_eq!(order.swap(1, Ordering::SeqCst), 0, "the call has not run yet");
            call.await.unwrap()
        });
        assert_eq!(runtime.block_on(order).unwrap(), 1);
    });
}

#[test]
fn a_call_may_be_awaited_on_another_core() {
    bounded(|| {
        let runtime = runtime(2);
        let call = runtime.handle().call(1, ringwork::core::current);
        // A call is `Send`: the task that awaits it may be anywhere.
        let awaited = runtime.handle().spawn_on(0, || async { call.await.unwrap() });
        assert_eq!(runtime.block_on(awaited).unwrap(), Some(1));
    });
}

#[test]
fn a_call_starts_local_tasks() {
    bounded(|| {
        let runtime = runtime(2);
        let (told, hears) = mpsc::channel();
        let call = runtime.handle().call(1, move || {
            let core = Rc::new(ringwork::core::current());
            drop(ringwork::spawn_local(async move { told.send(*core).unwrap() }));
        });
        runtime.block_on(call).unwrap();
        assert_eq!(hears.recv().unwrap(), Some(1));
    });
}

#[test]
fn a_panic_in_a_call_reaches_the_caller_and_nobody_else() {
    bounded(|| {
        let runtime = runtime(1);
        let call = runtime.handle().call(0, || -> usize { panic!("out of paper") });
        let error = runtime.block_on(call).unwrap_err();
        assert!(error.is_panic() && error.to_string().contains("out of paper"), "{error}");
        assert!(error.to_string().contains(file!()), "it says where the call was made: {error}");
        assert_eq!(runtime.block_on(runtime.handle().call(0, || 7)).unwrap(), 7);
    });
}

#[test]
fn a_call_whose_handle_is_dropped_runs_all_the_same() {
    bounded(|| {
        let runtime = runtime(1);
        let (told, hears) = mpsc::channel();
        for number in 0..100 {
            let told = told.clone();
            drop(runtime.handle().call(0, move || told.send(number).unwrap()));
        }
        let heard: Vec<_> = (0..100).map(|_| hears.recv().unwrap()).collect();
        assert_eq!(heard, (0..100).collect::<Vec<_>>(), "and in the order of the calls");
    });
}

#[test]
fn a_call_that_is_aborted_before_its_turn_does_not_run() {
    bounded(|| {
        let runtime = runtime(1);
        let (held, dropped) = (Event::default(), Arc::new(AtomicBool::new(false)));
        let (go, wait) = mpsc::channel::<()>();
        let entered = held.clone();
        // The core is busy until it is told to go on.
        let busy = runtime.handle().call(0, move || {
            entered.set();
            wait.recv().unwrap();
        });
        held.wait_blocking();
        let ran = Arc::new(AtomicBool::new(false));
        let (inside, gone) = (Arc::clone(&ran), Arc::clone(&dropped));
        let captured = OnDrop(move || gone.store(true, Ordering::SeqCst));
        let call = runtime.handle().call(0, move || {
            let _captured = captured;
            inside.store(true, Ordering::SeqCst);
        });
        call.abort();
        go.send(()).unwrap();
        runtime.block_on(busy).unwrap();
        assert!(runtime.block_on(call).unwrap_err().is_cancelled());
        assert!(!ran.load(Ordering::SeqCst) && dropped.load(Ordering::SeqCst));
    });
}

#[test]
fn a_call_to_a_runtime_that_is_gone_says_so_at_once() {
    bounded(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        drop(runtime);
        let dropped = Arc::new(AtomicUsize::new(0));
        for core in 0..2 {
            let gone = Arc::clone(&dropped);
            let captured = OnDrop(move || _ = gone.fetch_add(1, Ordering::SeqCst));
            let call = handle.call(core, move || drop(captured));
            assert!(futures_executor::block_on(call).unwrap_err().is_cancelled());
        }
        assert_eq!(dropped.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_call_that_the_end_of_the_runtime_overtakes_says_so() {
    bounded(|| {
        let runtime = runtime(1);
        let (entered, ending) = (Event::default(), Event::default());
        let (inside, end) = (entered.clone(), ending.clone());
        let busy = runtime.handle().call(0, move || {
            inside.set();
            end.wait_blocking();
        });
        entered.wait_blocking();
        let late = runtime.handle().call(0, || unreachable!("the runtime was ending"));
        let handle = runtime.handle().clone();
        let ended = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(20)));
        // Refused from the moment that the end has begun.
        kit::wait_for("the end to begin", || {
            let probe = handle.call(0, || ());
            std::thread::yield_now();
            probe.is_finished()
        });
        ending.set();
        futures_executor::block_on(busy).unwrap();
        let late: Result<(), _> = futures_executor::block_on(late);
        assert!(late.unwrap_err().is_cancelled());
        assert!(ended.join().unwrap().is_clean());
    });
}

#[test]
fn a_call_to_a_core_that_does_not_exist_is_refused_by_number() {
    let runtime = runtime(2);
    let call = AssertUnwindSafe(|| drop(runtime.handle().call(2, || ())));
    let message = catch_unwind(call).unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("core 2") && message.contains("2 cores"), "{message}");
}

#[test]
fn calls_from_many_threads_and_cores_all_run_on_their_core() {
    bounded(|| {
        let runtime = runtime(2);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let handle = runtime.handle().clone();
                std::thread::spawn(move || {
                    let calls: Vec<_> = (0..500).map(|n| handle.call(n % 2, count)).collect();
                    handle.block_on(async {
                        for call in calls {
                            call.await.unwrap();
                        }
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for core in 0..2 {
            assert_eq!(runtime.block_on(runtime.handle().call(core, count)).unwrap(), 1001);
        }
    });
}
