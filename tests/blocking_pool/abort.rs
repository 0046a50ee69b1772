//! Aborting a job that waits: it is over at once, and the queue forgets it.

use crate::kit::{Event, OnDrop, bounded, wait_for};
use crate::{Gate, fill, fill_heavy, heavy, join_all, pool_of, short};
use ringwork::task::JoinHandle;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A call that holds a count of itself and must not be made.
fn never(held: &Arc<()>) -> impl FnOnce() + Send + 'static {
    let held = Arc::clone(held);
    move || unreachable!("{held:?}: an aborted job ran")
}

#[test]
fn an_aborted_job_is_over_when_the_abort_returns_however_busy_the_pool_is() {
    bounded(|| {
        let runtime = pool_of(1);
        let _guard = runtime.handle().enter();
        let (gate, held) = (Gate::default(), Arc::new(()));
        let busy = fill(&runtime, &gate);
        let before: Vec<_> = (0..500).map(|n| ringwork::spawn_blocking(move || n)).collect();
        let aborted = ringwork::spawn_blocking(never(&held));
        let after: Vec<_> = (500..1_000).map(|n| ringwork::spawn_blocking(move || n)).collect();
        aborted.abort();
        assert!(aborted.is_finished());
        assert_eq!(Arc::strong_count(&held), 1, "what it captured is still held");
        assert_eq!((short(&runtime).queued, short(&runtime).cancelled), (1_000, 1));
        assert!(runtime.block_on(aborted).unwrap_err().is_cancelled());
        gate.open();
        join_all(&runtime, busy);
        let rest = join_all(&runtime, before.into_iter().chain(after));
        assert_eq!(rest, (0..1_000).collect::<Vec<_>>());
    });
}

#[test]
fn an_abort_handle_ends_a_job_of_either_lane_from_any_thread() {
    bounded(|| {
        let runtime = pool_of(1);
        let _guard = runtime.handle().enter();
        let (gate, held) = (Gate::default(), Arc::new(()));
        let busy: Vec<_> = fill(&runtime, &gate).into_iter().chain(fill_heavy(&runtime, &gate)).collect();
        let jobs = [ringwork::spawn_blocking(never(&held)), ringwork::spawn_heavy(never(&held))];
        for job in jobs {
            let abort = job.abort_handle();
            thread::spawn(move || abort.abort()).join().unwrap();
            assert!(job.is_finished());
            // Once more does nothing.
            job.abort();
            assert!(runtime.block_on(job).unwrap_err().is_cancelled());
        }
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!((short(&runtime).cancelled, heavy(&runtime).cancelled), (1, 1));
        gate.open();
        join_all(&runtime, busy);
    });
}

#[test]
fn a_task_that_awaits_an_aborted_job_goes_on_while_the_pool_is_busy() {
    bounded(|| {
        let runtime = pool_of(1);
        let gate = Gate::default();
        let busy = fill(&runtime, &gate);
        let job = runtime.handle().spawn_blocking(|| ());
        let abort = job.abort_handle();
        let waits = Event::default();
        let waiting = waits.clone();
        let awaiting = runtime.spawn(async move {
            waiting.set();
            job.await.unwrap_err().is_cancelled()
        });
        waits.wait_blocking();
        abort.abort();
        assert!(runtime.block_on(awaiting).unwrap());
        gate.open();
        join_all(&runtime, busy);
    });
}

#[test]
fn a_job_that_has_begun_is_not_interrupted_by_an_abort() {
    bounded(|| {
        let runtime = pool_of(1);
        let gate = Gate::default();
        let begun = fill(&runtime, &gate);
        begun[0].abort();
        assert!(!begun[0].is_finished());
        gate.open();
        join_all(&runtime, begun);
        assert_eq!(short(&runtime).cancelled, 0);
    });
}

#[test]
fn a_detached_job_waits_its_turn_and_runs() {
    bounded(|| {
        let runtime = pool_of(1);
        let (gate, ran) = (Gate::default(), Event::default());
        let busy = fill(&runtime, &gate);
        let done = ran.clone();
        drop(runtime.handle().spawn_blocking(move || done.set()));
        assert_eq!(short(&runtime).queued, 1);
        gate.open();
        ran.wait_blocking();
        join_all(&runtime, busy);
    });
}

#[test]
fn thousands_aborted_in_any_order_leave_an_empty_queue() {
    bounded(|| {
        let runtime = pool_of(1);
        let gate = Gate::default();
        let busy = fill(&runtime, &gate);
        let held = Arc::new(());
        let mut jobs: Vec<Option<JoinHandle<()>>> =
            (0..5_000).map(|_| Some(runtime.handle().spawn_blocking(never(&held)))).collect();
        for step in 0..5_000 {
            // A step that shares no factor with the number of jobs visits each once.
            let job = jobs[step * 1_237 % 5_000].take().expect("each is visited once");
            job.abort();
        }
        assert_eq!((short(&runtime).queued, short(&runtime).cancelled), (0, 5_000));
        assert_eq!(Arc::strong_count(&held), 1);
        gate.open();
        join_all(&runtime, busy);
        assert_eq!(runtime.block_on(runtime.handle().spawn_blocking(|| 7)).unwrap(), 7);
    });
}

/// The closure's drop is foreign code inside `abort`: it may use the pool, and it may panic.
#[test]
fn a_closure_may_use_the_pool_and_panic_when_an_abort_drops_it() {
    bounded(|| {
        let runtime = pool_of(1);
        let _guard = runtime.handle().enter();
        let gate = Gate::default();
        let busy = fill(&runtime, &gate);
        let spawned: Arc<Mutex<Vec<JoinHandle<i32>>>> = Arc::default();
        let other = ringwork::spawn_blocking(|| ());
        let (abort, place) = (other.abort_handle(), Arc::clone(&spawned));
        let on_drop = OnDrop(move || {
            abort.abort();
            place.lock().unwrap().push(ringwork::spawn_blocking(|| 7));
            panic!("in the drop of a closure");
        });
        let job = ringwork::spawn_blocking(move || drop(on_drop));
        job.abort();
        assert!(runtime.block_on(job).unwrap_err().is_panic());
        assert!(runtime.block_on(other).unwrap_err().is_cancelled());
        gate.open();
        join_all(&runtime, busy);
        let spawned = std::mem::take(&mut *spawned.lock().unwrap());
        assert_eq!(join_all(&runtime, spawned), [7]);
    });
}

#[test]
fn a_handle_of_a_runtime_that_is_gone_aborts_nothing() {
    bounded(|| {
        let runtime = pool_of(1);
        let (gate, count) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let busy = fill(&runtime, &gate);
        let inside = Arc::clone(&count);
        let job = runtime.handle().spawn_blocking(move || inside.fetch_add(1, Ordering::SeqCst));
        gate.open();
        join_all(&runtime, busy);
        wait_for("the job", || job.is_finished());
        drop(runtime);
        job.abort();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    });
}
