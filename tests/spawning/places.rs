//! Where a misuse is reported: at the line of the caller.

use crate::kit::{bounded, process, runtime};
use ringwork::runtime::Builder;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

ringwork::core_local! {
    static NUMBER: u8 = 7;
}

type Calls = Vec<(u32, Box<dyn FnOnce() + Send>)>;

/// Places of panics, newest last, instead of messages.
fn record_places() -> Arc<Mutex<Vec<String>>> {
    let places: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&places);
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().expect("a place");
        seen.lock().unwrap().push(place.to_string());
    }));
    places
}

fn each_panics_where_it_is_called(calls: Calls, places: &Mutex<Vec<String>>) {
    for (line, call) in calls {
        let outcome = catch_unwind(AssertUnwindSafe(call));
        let place = places.lock().unwrap().pop();
        let told = place.as_ref().is_some_and(|place| place.contains(&format!("places.rs:{line}:")));
        // The hook says nothing any more: this must get out by itself.
        if outcome.is_ok() || !told {
            println!("line {line}: {place:?}");
            std::process::exit(1);
        }
    }
}

#[test]
fn calls_outside_of_what_they_need_panic_at_the_place_of_the_call() {
    process::alone(|| {
        let runtime = runtime(1);
        let cancelled = runtime.spawn(std::future::pending::<()>());
        cancelled.abort();
        let error = runtime.block_on(cancelled).unwrap_err();
        let places = record_places();
        let calls: Calls = vec![
            (line!(), Box::new(|| drop(ringwork::spawn_heavy(|| ())))),
            (line!(), Box::new(|| drop(ringwork::spawn_on(0, || async {})))),
            (line!(), Box::new(|| assert!(ringwork::task::id() == ringwork::task::id()))),
            (line!(), Box::new(|| NUMBER.with(|_| ()))),
            (line!(), Box::new(move || drop(error.into_panic()))),
        ];
        each_panics_where_it_is_called(calls, &places);
    });
}

#[test]
fn arguments_without_sense_panic_at_the_place_of_the_call() {
    process::alone(|| {
        let now = ringwork::time::Instant::now();
        let places = record_places();
        let calls: Calls = vec![
            (line!(), Box::new(|| drop(Builder::new().max_blocking_threads(0)))),
            (line!(), Box::new(|| drop(Builder::new().thread_name("one\0two")))),
            (line!(), Box::new(|| drop(ringwork::time::interval(Duration::ZERO)))),
            (line!(), Box::new(move || drop(ringwork::time::interval_at(now, Duration::ZERO)))),
        ];
        each_panics_where_it_is_called(calls, &places);
    });
}

#[test]
fn blocking_a_core_panics_at_the_place_of_the_call() {
    process::alone(|| {
        bounded(|| {
            let runtime = runtime(1);
            let (one, two) = (runtime.handle().clone(), runtime.handle().clone());
            let places = record_places();
            let task = runtime.spawn(async move {
                let calls: Calls = vec![
                    (line!(), Box::new(move || one.block_on(async {}))),
                    (line!(), Box::new(move || drop(two.spawn_on(1, || async {})))),
                ];
                each_panics_where_it_is_called(calls, &places);
            });
            runtime.block_on(task).unwrap();
        });
    });
}
