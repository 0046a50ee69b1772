//! Places: a task's error says where it was spawned, a misused call panics where it was made.

use crate::kit::{bounded, process, runtime};
use ringwork::task::{Builder, JoinSet};
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

ringwork::task_local! {
    static NUMBER: u32;
}

#[test]
fn the_error_of_a_task_in_a_set_says_where_it_was_spawned() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.handle().spawn_on(0, || async {
            let mut set = JoinSet::new();
            let first = line!() + 1;
            set.spawn(pending::<()>());
            set.spawn_local(pending());
            set.spawn_on(0, pending);
            set.extend([pending()]);
            set.insert(Builder::new().spawn(pending()));
            set.insert(Builder::new().spawn_local(pending()));
            set.insert(Builder::new().spawn_on(0, pending));
            let last = line!() - 1;
            set.abort_all();
            let mut lines: Vec<u32> = Vec::new();
            while let Some(result) = set.join_next().await {
                let text = result.unwrap_err().to_string();
                let (_, place) = text.split_once("places.rs:").expect("this file");
                lines.push(place.split(':').next().unwrap().parse().unwrap());
            }
            lines.sort_unstable();
            assert_eq!(lines, (first..=last).collect::<Vec<_>>());
        });
        runtime.block_on(task).unwrap();
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
        let calls: Vec<(u32, Box<dyn FnOnce()>)> = vec![
            (line!(), Box::new(|| drop(Builder::new().spawn(async {})))),
            (line!(), Box::new(|| drop(Builder::new().spawn_local(async {})))),
            (line!(), Box::new(|| drop(Builder::new().spawn_on(0, || async {})))),
            (line!(), Box::new(|| drop(Builder::new().spawn_blocking(|| ())))),
            (line!(), Box::new(|| drop(Builder::new().spawn_heavy(|| ())))),
            (line!(), Box::new(move || drop(Builder::new().spawn_on_with(&handle, 1, || async {})))),
            (line!(), Box::new(|| drop(JoinSet::new().spawn(async {})))),
            (line!(), Box::new(|| drop(JoinSet::new().spawn_local(async {})))),
            (line!(), Box::new(|| drop(JoinSet::new().spawn_on(0, || async {})))),
            (line!(), Box::new(|| drop(JoinSet::new().spawn_blocking(|| ())))),
            (line!(), Box::new(|| drop(JoinSet::new().spawn_heavy(|| ())))),
            (line!(), Box::new(|| JoinSet::new().extend([ready(1)]))),
            (line!(), Box::new(|| NUMBER.with(|_| ()))),
            (line!(), Box::new(|| assert!(NUMBER.get() < 9))),
            (line!(), Box::new(|| NUMBER.sync_scope(1, || NUMBER.with(|_| NUMBER.sync_scope(2, || ()))))),
        ];
        for (line, call) in calls {
            assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
            let place = places.lock().unwrap().pop().expect("the hook was called");
            assert!(place.contains(&format!("places.rs:{line}:")), "line {line}: {place}");
        }
    });
}
