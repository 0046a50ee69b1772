//! Panics: each ends one task and reaches whoever joins it, and nothing else.

use crate::kit::{Event, OnDrop, bounded, process, runtime};
use ringwork::runtime::Runtime;
use ringwork::task::JoinHandle;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Panics when dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a drop");
    }
}

fn join_text<T: std::fmt::Debug + Send>(runtime: &Runtime, task: JoinHandle<T>) -> String {
    let error = runtime.block_on(task).expect_err("the task fails");
    assert!(error.is_panic() && !error.is_cancelled(), "{error}");
    error.to_string()
}

#[test]
fn a_panic_ends_its_task_only_and_says_where_that_was_spawned() {
    bounded(|| {
        let runtime = runtime(1);
        let line = line!() + 1;
        let task = runtime.spawn(async { panic!("out of paper") });
        let text = join_text::<()>(&runtime, task);
        assert!(text.contains(&format!("panics.rs:{line}")), "{text}");
        assert!(text.ends_with("panicked: out of paper"), "{text}");
        assert_eq!(runtime.block_on(runtime.spawn(async { 2 })).unwrap(), 2);
    });
}

#[test]
fn the_payload_comes_out_as_it_went_in() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async { std::panic::panic_any(77_u8) });
        let error = runtime.block_on(task).map(|never: ()| never).unwrap_err();
        assert_eq!(*error.into_panic().downcast::<u8>().unwrap(), 77);
    });
}

#[test]
fn every_kind_of_task_reports_its_panic() {
    bounded(|| {
        let runtime = runtime(2);
        let handle = runtime.handle();
        let made = handle.spawn_on(1, || async { panic!("made") });
        assert!(join_text::<()>(&runtime, made).ends_with("panicked: made"));
        let making = handle.spawn_on(1, || -> std::future::Ready<()> { panic!("making") });
        assert!(join_text(&runtime, making).ends_with("panicked: making"));
        let job = handle.spawn_blocking(|| panic!("job"));
        assert!(join_text::<()>(&runtime, job).ends_with("panicked: job"));
        let local = handle.spawn_on(0, || async {
            let local = ringwork::spawn_local(async { panic!("local") });
            local.await.map(|never: ()| never).unwrap_err().to_string()
        });
        let text = runtime.block_on(local).unwrap();
        assert!(text.ends_with("panicked: local"), "{text}");
    });
}

#[test]
fn a_panic_while_a_finished_future_is_dropped_is_the_tasks_panic() {
    bounded(|| {
        let runtime = runtime(1);
        let mut bomb = Some(Bomb);
        let task = runtime.spawn(poll_fn(move |_| {
            // The future still holds the bomb when it is ready, and is dropped with it.
            let _ = &mut bomb;
            Poll::Ready(())
        }));
        assert!(join_text(&runtime, task).ends_with("panicked: in a drop"));
        runtime.block_on(runtime.spawn(async {})).unwrap();
    });
}

#[test]
fn a_panic_while_an_aborted_future_is_dropped_is_contained() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        });
        let started = runtime.spawn(async {});
        runtime.block_on(started).unwrap();
        task.abort();
        assert!(join_text(&runtime, task).ends_with("panicked: in a drop"));
        runtime.block_on(runtime.spawn(async {})).unwrap();
    });
}

#[test]
fn a_panic_while_an_unclaimed_output_is_dropped_is_contained() {
    bounded(|| {
        let runtime = runtime(1);
        for _ in 0..10 {
            drop(runtime.spawn(async { Bomb }));
        }
        let task = runtime.spawn(async { Bomb });
        crate::kit::wait_for("the task to end", || task.is_finished());
        catch_unwind(AssertUnwindSafe(|| drop(task))).expect("no panic in the drop");
        runtime.block_on(runtime.spawn(async {})).unwrap();
    });
}

#[test]
fn dropping_the_handle_of_a_task_that_panicked_does_not_panic() {
    bounded(|| {
        let runtime = runtime(1);
        // Before the panic, and after it.
        drop(runtime.spawn(async { panic!("unheard") }));
        let task = runtime.spawn(async { panic!("unclaimed") });
        crate::kit::wait_for("the task to end", || task.is_finished());
        catch_unwind(AssertUnwindSafe(|| drop(task))).expect("no panic in the drop");
        runtime.block_on(runtime.spawn(async {})).unwrap();
    });
}

#[test]
fn two_panics_of_one_task_end_only_the_task() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            let mut bomb = Some(Bomb);
            poll_fn(move |_| {
                let _ = &mut bomb;
                Poll::<()>::Pending
            })
            .await;
        });
        task.abort();
        let _ = runtime.block_on(task);
        let both = runtime.spawn(BothPanic(Bomb));
        assert!(join_text(&runtime, both).ends_with("panicked: in a poll"));
        runtime.block_on(runtime.spawn(async {})).unwrap();
    });
}

/// Panics when polled and again when dropped.
struct BothPanic(#[allow(dead_code, reason = "for its drop")] Bomb);

impl Future for BothPanic {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
        panic!("in a poll")
    }
}

#[test]
fn a_waker_called_in_the_drop_of_a_panicking_task_wakes_the_right_one() {
    bounded(|| {
        let runtime = runtime(1);
        let event = Event::default();
        let waiting = runtime.spawn(event.wait());
        let guard = OnDrop(move || event.set());
        let panicking = runtime.spawn(async move {
            let _guard = guard;
            panic!("with a guard");
        });
        assert!(join_text::<()>(&runtime, panicking).ends_with("with a guard"));
        runtime.block_on(waiting).unwrap();
    });
}

#[test]
fn a_waker_that_panics_hurts_nobody_else() {
    struct Grenade;
    impl std::task::Wake for Grenade {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let waker = Waker::from(Arc::new(Grenade));
        let mut cx = std::task::Context::from_waker(&waker);
        // A timer and the end of a task, both to be told to the grenade.
        let _guard = handle.enter();
        let pause = std::time::Duration::from_millis(50);
        let mut sleep = Box::pin(ringwork::time::sleep(pause));
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        let go = Event::default();
        let mut task = std::pin::pin!(runtime.spawn(go.wait()));
        assert!(task.as_mut().poll(&mut cx).is_pending());
        go.set();
        runtime.block_on(ringwork::time::sleep(4 * pause));
        runtime.block_on(sleep);
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn a_panic_in_a_task_poisons_no_lock_of_ours() {
    bounded(|| {
        let runtime = runtime(2);
        let seen = Arc::new(Mutex::new(0));
        for n in 0..200 {
            let seen = Arc::clone(&seen);
            let task = runtime.spawn(async move {
                *seen.lock().unwrap() += 1;
                let listener = ringwork::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                assert!(n % 2 == 0, "odd");
                drop(listener);
            });
            assert_eq!(runtime.block_on(task).is_ok(), n % 2 == 0);
        }
        assert_eq!(*seen.lock().unwrap(), 200);
    });
}

#[test]
fn a_call_that_is_misused_panics_at_the_place_of_the_call() {
    process::alone(|| {
        let places: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&places);
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().expect("a place");
            seen.lock().unwrap().push(place.to_string());
        }));
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let calls: [(u32, Box<dyn FnOnce()>); 6] = [
            (line!(), Box::new(|| drop(ringwork::spawn(async {})))),
            (line!(), Box::new(|| drop(ringwork::spawn_local(async {})))),
            (line!(), Box::new(|| drop(ringwork::spawn_blocking(|| ())))),
            (line!(), Box::new(|| drop(ringwork::runtime::Handle::current()))),
            (line!(), Box::new(move || drop(handle.spawn_on(9, || async {})))),
            (line!(), Box::new(|| drop(ringwork::runtime::Builder::new().cores(0)))),
        ];
        for (line, call) in calls {
            assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
            let place = places.lock().unwrap().pop().expect("the hook was called");
            assert!(place.contains(&format!("panics.rs:{line}:")), "line {line}: {place}");
        }
    });
}
