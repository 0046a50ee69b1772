//! Names: given before the spawn, found in errors and handles, kept when task and runtime are gone.

use crate::kit::{bounded, runtime};
use ringwork::runtime::Handle;
use ringwork::task::{Builder, JoinHandle, JoinSet};
use std::future::pending;

fn named(name: &'static str) -> Builder {
    Builder::new().name(name)
}

fn fail() {
    panic!("on purpose");
}

/// One task of every kind, each of which panics.
fn every_kind(handle: &Handle) -> Vec<(&'static str, JoinHandle<()>)> {
    let _entered = handle.enter();
    vec![
        ("spawn", named("spawn").spawn(async { fail() })),
        ("spawn_with", named("spawn_with").spawn_with(handle, async { fail() })),
        ("spawn_on", named("spawn_on").spawn_on(0, || async { fail() })),
        ("spawn_on_with", named("spawn_on_with").spawn_on_with(handle, 1, || async { fail() })),
        ("spawn_blocking", named("spawn_blocking").spawn_blocking(fail)),
        ("spawn_blocking_with", named("spawn_blocking_with").spawn_blocking_with(handle, fail)),
        ("spawn_heavy", named("spawn_heavy").spawn_heavy(fail)),
        ("spawn_heavy_with", named("spawn_heavy_with").spawn_heavy_with(handle, fail)),
    ]
}

#[test]
fn a_task_of_every_kind_has_its_name_in_its_error_and_its_handles() {
    bounded(|| {
        let runtime = runtime(2);
        for (name, task) in every_kind(runtime.handle()) {
            let abort = task.abort_handle();
            assert_eq!((task.name(), abort.name()), (Some(name), Some(name)));
            let id = task.id();
            assert_eq!(format!("{task:?}"), format!("JoinHandle {{ id: {id:?}, name: {name:?}, .. }}"));
            assert_eq!(format!("{abort:?}"), format!("AbortHandle {{ id: {id:?}, name: {name:?}, .. }}"));
            let error = runtime.block_on(task).unwrap_err();
            assert_eq!(error.name(), Some(name));
            let text = error.to_string();
            assert!(text.starts_with(&format!("task {id} {name:?} spawned at tests/task_tools/")), "{text}");
            assert!(text.ends_with("panicked: on purpose"), "{text}");
            assert_eq!(abort.name(), Some(name));
        }
    });
}

#[test]
fn a_local_task_has_its_name_too() {
    bounded(|| {
        let parent = runtime(1);
        let parent = parent.block_on(parent.handle().spawn_on(0, || async {
            let task = named("here").spawn_local(pending::<()>());
            assert_eq!(task.name(), Some("here"));
            task.abort();
            task.await.unwrap_err()
        }));
        let error = parent.unwrap();
        assert_eq!(error.name(), Some("here"));
        assert!(error.to_string().ends_with("was cancelled"), "{error}");
    });
}

#[test]
fn a_task_without_a_name_has_none() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async { fail() });
        assert_eq!((task.name(), task.abort_handle().name()), (None, None));
        assert_eq!(format!("{task:?}"), format!("JoinHandle {{ id: {:?}, .. }}", task.id()));
        let id = task.id();
        let error = runtime.block_on(task).unwrap_err();
        assert_eq!(error.name(), None);
        assert!(error.to_string().starts_with(&format!("task {id} spawned at ")), "{error}");
    });
}

#[test]
fn a_name_may_be_made_for_one_task_and_contain_anything() {
    bounded(|| {
        let runtime = runtime(1);
        for name in ["", "two words", "\u{fc}ber \"quoted\"\nlines"] {
            let task = Builder::new().name(name.to_owned()).spawn_with(runtime.handle(), async { fail() });
            let error = runtime.block_on(task).unwrap_err();
            assert_eq!(error.name(), Some(name));
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    });
}

#[test]
fn one_builder_names_many_tasks() {
    bounded(|| {
        let runtime = runtime(2);
        let worker = Builder::new().name("worker");
        let tasks: Vec<_> =
            (0..100).map(|n| worker.clone().spawn_with(runtime.handle(), async move { n })).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.name(), Some("worker"));
            assert_eq!(runtime.block_on(task).unwrap(), n);
        }
    });
}

#[test]
fn a_name_is_known_when_the_runtime_is_gone() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let before = named("before").spawn_with(&handle, pending::<()>());
        let abort = before.abort_handle();
        drop(runtime);
        let after = [
            named("after").spawn_with(&handle, async {}),
            named("after").spawn_on_with(&handle, 0, || async {}),
            named("after").spawn_blocking_with(&handle, || ()),
            named("after").spawn_heavy_with(&handle, || ()),
        ];
        for task in after {
            let error = futures_executor::block_on(task).unwrap_err();
            assert!(error.is_cancelled());
            assert_eq!(error.name(), Some("after"));
        }
        let error = futures_executor::block_on(before).unwrap_err();
        assert_eq!(error.name(), Some("before"));
        assert_eq!(abort.name(), Some("before"));
    });
}

#[test]
fn a_set_tells_the_names_of_tasks_that_failed() {
    bounded(|| {
        let runtime = runtime(2);
        let mut set = JoinSet::new();
        for n in 0..10 {
            let task = Builder::new().name(format!("part {n}"));
            set.insert(task.spawn_with(runtime.handle(), async move { assert_ne!(n, 7) }));
        }
        let failed = runtime.block_on(async {
            let mut failed = Vec::new();
            while let Some(result) = set.join_next().await {
                failed.extend(result.err());
            }
            failed
        });
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].name(), Some("part 7"));
    });
}
