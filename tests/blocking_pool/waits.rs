//! What the metrics say of the pool: depth of each lane, who runs, and how long jobs waited.

use crate::kit::{bounded, wait_for};
use crate::{Gate, fill, fill_heavy, heavy, join_all, pool_of, short};
use ringwork::time::{Duration, Instant};

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[test]
fn each_lane_shows_how_many_wait_and_run() {
    bounded(|| {
        let runtime = pool_of(2);
        let _guard = runtime.handle().enter();
        let gate = Gate::default();
        let busy: Vec<_> = fill(&runtime, &gate).into_iter().chain(fill_heavy(&runtime, &gate)).collect();
        let waiting: Vec<_> = (0..3)
            .map(|_| ringwork::spawn_blocking(|| ()))
            .chain((0..5).map(|_| ringwork::spawn_heavy(|| ())))
            .collect();
        let now = runtime.handle().metrics();
        assert_eq!((now.blocking_short.running, now.blocking_short.queued), (2, 3));
        assert_eq!((now.blocking_heavy.running, now.blocking_heavy.queued), (1, 5));
        assert_eq!(now.blocking_queued, 8);
        gate.open();
        join_all(&runtime, busy.into_iter().chain(waiting));
        wait_for("all to be over", || {
            let now = runtime.handle().metrics();
            let level = |lane: &ringwork::LaneMetrics| lane.queued + lane.running;
            level(&now.blocking_short) + level(&now.blocking_heavy) == 0
        });
        assert_eq!((short(&runtime).taken, heavy(&runtime).taken), (5, 6));
    });
}

#[test]
fn the_time_that_jobs_waited_is_added_up_and_the_longest_is_kept() {
    bounded(|| {
        let runtime = pool_of(1);
        let gate = Gate::default();
        let busy = fill(&runtime, &gate);
        let before = short(&runtime);
        let pause = Duration::from_millis(10);
        let spawned = Instant::now();
        let first = runtime.handle().spawn_blocking(|| ());
        wait_for("some time to pass", || spawned.elapsed() >= pause);
        let second = runtime.handle().spawn_blocking(|| ());
        wait_for("some more", || spawned.elapsed() >= 2 * pause);
        // Only what has been taken counts.
        let now = short(&runtime);
        assert_eq!((now.queued, now.taken, now.wait_total_ns), (2, before.taken, before.wait_total_ns));
        gate.open();
        join_all(&runtime, busy.into_iter().chain([first, second]));
        let (after, all) = (short(&runtime), spawned.elapsed());
        assert_eq!(after.taken, before.taken + 2);
        assert!(after.wait_longest_ns >= nanoseconds(2 * pause), "{after:?}");
        assert!(after.wait_longest_ns <= nanoseconds(all), "{after:?}");
        let total = after.wait_total_ns - before.wait_total_ns;
        assert!(total >= nanoseconds(2 * pause) && total <= nanoseconds(2 * all), "{after:?}");
        assert_eq!((heavy(&runtime).taken, heavy(&runtime).wait_total_ns), (0, 0));
    });
}

#[test]
fn aborted_jobs_are_no_part_of_the_time_waited() {
    bounded(|| {
        let runtime = pool_of(1);
        let gate = Gate::default();
        let busy = fill(&runtime, &gate);
        let before = short(&runtime);
        for _ in 0..10 {
            runtime.handle().spawn_blocking(|| ()).abort();
        }
        let after = short(&runtime);
        assert_eq!((after.taken, after.wait_total_ns), (before.taken, before.wait_total_ns));
        assert_eq!(after.cancelled, 10);
        gate.open();
        join_all(&runtime, busy);
    });
}

#[test]
fn nothing_waits_or_runs_when_the_runtime_is_gone() {
    bounded(|| {
        let runtime = pool_of(1);
        let handle = runtime.handle().clone();
        let gate = Gate::default();
        let busy = fill(&runtime, &gate);
        let waiting: Vec<_> = (0..5).map(|_| handle.spawn_blocking(|| ())).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for("the pool to be closed", || waiting.iter().all(|job| job.is_finished()));
                gate.open();
            });
            drop(runtime);
        });
        let now = handle.metrics();
        assert_eq!((now.blocking_threads, now.blocking_idle, now.blocking_queued), (0, 0, 0));
        assert_eq!((now.blocking_short.running, now.blocking_short.cancelled), (0, 5));
        drop(busy);
    });
}
