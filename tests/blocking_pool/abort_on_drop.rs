//! Handles whose drop aborts: jobs that wait, jobs that have begun, tasks on cores.

use crate::kit::{Event, OnDrop, bounded, runtime, wait_for};
use crate::{Gate, fill, join_all, pool_of, short};
use ringwork::time::{Duration, timeout};
use std::future::pending;
use std::sync::Arc;

#[test]
fn a_job_that_waits_is_over_when_its_handle_has_been_dropped() {
    bounded(|| {
        let runtime = pool_of(1);
        let (gate, held) = (Gate::default(), Arc::new(()));
        let busy = fill(&runtime, &gate);
        let inside = Arc::clone(&held);
        let job = runtime.handle().spawn_blocking(move || drop(inside)).abort_on_drop();
        let end = job.abort_handle();
        assert_eq!((end.id(), job.is_finished()), (job.id(), false));
        drop(job);
        assert!(end.is_finished());
        assert_eq!((Arc::strong_count(&held), short(&runtime).queued), (1, 0));
        gate.open();
        join_all(&runtime, busy);
    });
}

#[test]
fn a_time_limit_on_a_job_that_waits_frees_what_it_holds() {
    bounded(|| {
        let runtime = pool_of(1);
        let (gate, held) = (Gate::default(), Arc::new(()));
        let busy = fill(&runtime, &gate);
        let inside = Arc::clone(&held);
        let job = runtime.handle().spawn_blocking(move || drop(inside)).abort_on_drop();
        let limited = runtime.spawn(timeout(Duration::from_millis(1), job));
        assert!(runtime.block_on(limited).unwrap().is_err());
        assert_eq!(Arc::strong_count(&held), 1);
        gate.open();
        join_all(&runtime, busy);
    });
}

#[test]
fn a_job_that_has_begun_runs_to_its_end_without_its_handle() {
    bounded(|| {
        let runtime = pool_of(1);
        let (gate, ran, begun) = (Gate::default(), Event::default(), Event::default());
        let (inside, done, begins) = (gate.clone(), ran.clone(), begun.clone());
        let call = move || {
            begins.set();
            inside.pass();
            done.set();
        };
        let job = runtime.handle().spawn_blocking(call).abort_on_drop();
        begun.wait_blocking();
        drop(job);
        gate.open();
        ran.wait_blocking();
    });
}

#[test]
fn the_output_comes_through_and_a_detached_handle_aborts_nothing() {
    bounded(|| {
        let runtime = runtime(2);
        assert_eq!(runtime.block_on(runtime.spawn(async { 7 }).abort_on_drop()).unwrap(), 7);
        let go = Event::default();
        let waits = go.wait();
        let task = runtime.spawn(async move {
            waits.await;
            8
        });
        let task = task.abort_on_drop().detach();
        go.set();
        assert_eq!(runtime.block_on(task).unwrap(), 8);
        let panics = runtime.spawn(async { panic!("out of paper") }).abort_on_drop();
        assert!(runtime.block_on(panics).map(|never: ()| never).unwrap_err().is_panic());
    });
}

#[test]
fn the_future_of_a_task_is_dropped_on_its_own_core_when_the_handle_is() {
    bounded(|| {
        let runtime = runtime(2);
        let (begun, gone) = (Event::default(), Event::default());
        let (begins, goes) = (begun.clone(), gone.clone());
        let task = runtime.handle().spawn_on(1, move || async move {
            let _on_drop = OnDrop(|| {
                assert_eq!(ringwork::core::current(), Some(1));
                goes.set();
            });
            begins.set();
            pending::<()>().await;
        });
        begun.wait_blocking();
        let task = task.abort_on_drop();
        task.abort();
        gone.wait_blocking();
        wait_for("the end", || task.is_finished());
        drop(task);
        let again = runtime.handle().spawn_on(1, pending::<()>).abort_on_drop();
        let end = again.abort_handle();
        drop(again);
        wait_for("the end of the second", || end.is_finished());
    });
}
