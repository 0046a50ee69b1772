//! Background tasks: what they have in common with all others. When they run is in `tests/background.rs`.

use crate::kit::{bounded, runtime};
use ringwork::task::{Builder, JoinHandle};
use std::future::pending;

fn background() -> Builder {
    Builder::new().background()
}

#[test]
fn background_tasks_of_every_kind_run_to_their_end() {
    bounded(|| {
        let runtime = runtime(2);
        let _entered = runtime.handle().enter();
        let local =
            background().spawn_on(0, || async { background().spawn_local(async { 1 }).await.unwrap() });
        let tasks: Vec<JoinHandle<usize>> = vec![
            local,
            background().spawn(async {
                ringwork::task::yield_now().await;
                1
            }),
            background().spawn_on(1, || async { ringwork::core::current().unwrap() }),
            background().spawn_blocking(|| 1),
            background().spawn_heavy(|| 1),
        ];
        for task in tasks {
            assert_eq!(runtime.block_on(task).unwrap(), 1);
        }
    });
}

#[test]
fn background_tasks_are_aborted_fail_and_end_with_their_runtime_as_others_do() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle();
        let aborted = background().spawn_with(handle, pending::<()>());
        aborted.abort();
        assert!(runtime.block_on(aborted).unwrap_err().is_cancelled());
        let failed = background().spawn_with(handle, async { panic!("on purpose") });
        assert!(runtime.block_on(failed).unwrap_err().is_panic());
        let left = background().spawn_with(handle, pending::<()>());
        drop(runtime);
        assert!(futures_executor::block_on(left).unwrap_err().is_cancelled());
    });
}
