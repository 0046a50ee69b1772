//! Sets under load: tasks that end on several cores while others are put in, joined, aborted and detached.

use crate::kit::{Event, PATIENCE, poll_once, runtime, within};
use ringwork::task::{self, JoinSet};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// These hand over from thread to thread thousands of times, each of which waits for a CPU on a busy machine.
fn patient(body: impl FnOnce() + Send + 'static) {
    within(4 * PATIENCE, body);
}

#[test]
fn every_task_of_many_is_joined_once() {
    patient(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let parent = runtime.spawn(async move {
            let mut set = JoinSet::new();
            let mut joined = HashSet::new();
            for n in 0..3_000 {
                match n % 3 {
                    0 => set.spawn(async move { n }),
                    1 => set.spawn_on(n % 2, move || async move {
                        task::yield_now().await;
                        n
                    }),
                    _ => set.insert(handle.spawn(async move { n })),
                };
                if n % 7 == 0 {
                    joined.insert(set.join_next().await.unwrap().unwrap());
                }
            }
            while let Some(result) = set.join_next().await {
                assert!(joined.insert(result.unwrap()), "joined twice");
            }
            joined.len()
        });
        assert_eq!(runtime.block_on(parent).unwrap(), 3_000);
    });
}

#[test]
fn one_task_at_a_time_is_never_missed() {
    patient(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        for core in [0, 1] {
            let handle = handle.clone();
            // The end of the task and the join meet on two cores, in every order.
            let parent = runtime.handle().spawn_on(core, move || async move {
                let mut set = JoinSet::new();
                for n in 0..400 {
                    set.insert(handle.spawn_on(1, move || async move { n }));
                    assert_eq!(set.join_next().await.unwrap().unwrap(), n);
                }
            });
            runtime.block_on(parent).unwrap();
        }
    });
}

#[test]
fn a_handle_that_somebody_watched_is_put_in_while_its_task_ends() {
    patient(|| {
        let runtime = runtime(2);
        let mut set = JoinSet::new();
        for round in 0..300 {
            let gate = Event::default();
            let mut task = runtime.spawn(gate.wait());
            assert!(runtime.block_on(poll_once(&mut task)).is_pending());
            gate.set();
            for _ in 0..round % 10 {
                thread::yield_now();
            }
            set.insert(task);
            assert!(runtime.block_on(set.join_next()).unwrap().is_ok());
        }
    });
}

#[test]
fn local_tasks_that_end_while_their_set_goes_elsewhere_are_joined_there() {
    patient(|| {
        let runtime = runtime(2);
        for round in 0..150 {
            let parent = runtime.handle().spawn_on(0, move || async move {
                let mut set = JoinSet::new();
                for n in 0..10 {
                    set.spawn_local(async move {
                        for _ in 0..n {
                            task::yield_now().await;
                        }
                        n
                    });
                }
                for _ in 0..round % 10 {
                    task::yield_now().await;
                }
                set
            });
            let mut set = runtime.block_on(parent).unwrap();
            match round % 3 {
                0 => {
                    let mut joined = Vec::new();
                    while let Some(result) = runtime.block_on(set.join_next()) {
                        joined.push(result.unwrap());
                    }
                    joined.sort_unstable();
                    assert!(joined.into_iter().eq(0..10));
                }
                1 => runtime.block_on(set.shutdown()),
                _ => drop(set),
            }
        }
    });
}

#[test]
fn a_detached_task_that_ends_late_is_not_taken_for_another() {
    patient(|| {
        let runtime = runtime(2);
        let _entered = runtime.handle().enter();
        let mut set = JoinSet::new();
        for round in 0..100 {
            for n in 0..8 {
                set.spawn_on(n % 2, || async { usize::MAX });
            }
            for _ in 0..round % 50 {
                thread::yield_now();
            }
            set.detach_all();
            for n in 0..8 {
                set.spawn_on(n % 2, move || async move { round });
            }
            for left in (0..8).rev() {
                assert_eq!(runtime.block_on(set.join_next()).unwrap().unwrap(), round);
                assert_eq!(set.len(), left);
            }
            assert!(set.try_join_next().is_none());
        }
    });
}

#[test]
fn tasks_aborted_while_they_end_are_joined_once_one_way_or_the_other() {
    patient(|| {
        let runtime = runtime(2);
        let _entered = runtime.handle().enter();
        let (mut good, mut cancelled) = (0, 0);
        for round in 0..100 {
            let mut set = JoinSet::new();
            let tasks: Vec<_> = (0..20).map(|n| set.spawn_on(n % 2, task::yield_now)).collect();
            for _ in 0..round % 20 {
                thread::yield_now();
            }
            let aborter = thread::spawn(move || tasks.iter().for_each(task::AbortHandle::abort));
            set.abort_all();
            let mut joined = 0;
            while let Some(result) = runtime.block_on(set.join_next()) {
                joined += 1;
                match result {
                    Ok(()) => good += 1,
                    Err(error) => cancelled += usize::from(error.is_cancelled()),
                }
            }
            assert_eq!(joined, 20);
            aborter.join().unwrap();
        }
        assert_eq!(good + cancelled, 2_000);
    });
}

#[test]
fn sets_dropped_amid_the_end_of_their_tasks_leave_nothing_behind() {
    patient(|| {
        let runtime = runtime(2);
        let held = Arc::new(());
        let ran = Arc::new(AtomicUsize::new(0));
        for round in 0..150 {
            let mut set = JoinSet::new();
            for n in 0..10 {
                let (held, ran) = (Arc::clone(&held), Arc::clone(&ran));
                set.insert(runtime.handle().spawn_on(n % 2, move || async move {
                    ran.fetch_add(1, Ordering::Relaxed);
                    task::yield_now().await;
                    held
                }));
            }
            let _ = runtime.block_on(poll_once(&mut std::pin::pin!(set.join_next())));
            for _ in 0..round % 20 {
                thread::yield_now();
            }
        }
        drop(runtime);
        assert!(ran.load(Ordering::Relaxed) > 0);
        assert_eq!(Arc::strong_count(&held), 1);
    });
}
