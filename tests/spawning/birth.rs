//! Every way to start a task, from every kind of thread.

use crate::kit::{Event, bounded, process, runtime};
use ringwork::runtime::{Handle, Runtime};
use ringwork::task::{JoinHandle, id, try_id};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

/// The number of the core that a fresh `Send` task runs on.
async fn where_am_i() -> usize {
    ringwork::core::current().expect("a task runs on a core")
}

#[test]
fn from_a_core_each_kind_of_task_runs_where_it_belongs() {
    bounded(|| {
        let runtime = runtime(2);
        let outer = runtime.handle().spawn_on(1, || async {
            let local = Rc::new(5);
            let nested = ringwork::spawn_local(async move { (*local, where_am_i().await) });
            assert_eq!(nested.await.unwrap(), (5, 1));
            let there = ringwork::spawn_on(0, || async {
                let local = Rc::new(where_am_i().await);
                *local
            });
            assert_eq!(there.await.unwrap(), 0);
            ringwork::spawn(where_am_i()).await.unwrap();
            assert_eq!(ringwork::spawn_blocking(ringwork::core::current).await.unwrap(), None);
            assert_eq!(ringwork::spawn_heavy(ringwork::core::current).await.unwrap(), None);
            where_am_i().await
        });
        assert_eq!(runtime.block_on(outer).unwrap(), 1);
    });
}

#[test]
fn from_a_plain_thread_inside_a_runtime_each_kind_of_task_starts() {
    bounded(|| {
        let runtime = runtime(2);
        let _guard = runtime.handle().enter();
        let block_on = futures_executor::block_on::<JoinHandle<usize>>;
        assert!(block_on(ringwork::spawn(where_am_i())).unwrap() < 2);
        for core in 0..2 {
            assert_eq!(block_on(ringwork::spawn_on(core, where_am_i)).unwrap(), core);
        }
        assert_eq!(block_on(ringwork::spawn_blocking(|| 8)).unwrap(), 8);
        assert_eq!(block_on(ringwork::spawn_heavy(|| 9)).unwrap(), 9);
    });
}

#[test]
fn a_local_task_cannot_start_on_a_plain_thread() {
    let runtime = runtime(1);
    let _guard = runtime.handle().enter();
    let refused = catch_unwind(|| ringwork::spawn_local(async {})).unwrap_err();
    let message = refused.downcast::<&str>().unwrap();
    assert!(message.contains("spawn_on"), "{message}");
}

#[test]
fn a_core_that_does_not_exist_is_refused_by_number() {
    for (cores, has) in [(1, "has 1 core"), (2, "has 2 cores")] {
        let runtime = runtime(cores);
        let call = AssertUnwindSafe(|| drop(runtime.handle().spawn_on(2, || async {})));
        let message = catch_unwind(call).unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("core 2:") && message.ends_with(has), "{message}");
        let moved = runtime.block_on(runtime.spawn(ringwork::core::move_to(2)));
        let panic = moved.expect_err("there is no such core").into_panic();
        let message = panic.downcast::<String>().unwrap();
        assert!(message.contains("core 2:") && message.ends_with(has), "{message}");
    }
}

#[test]
fn a_sleeping_runtime_wakes_for_a_spawn_from_outside() {
    bounded(|| {
        let runtime = runtime(2);
        for _ in 0..200 {
            let (sender, receiver) = mpsc::channel();
            drop(runtime.spawn(async move { sender.send(()).unwrap() }));
            receiver.recv().unwrap();
        }
    });
}

#[test]
fn tasks_spawn_tasks_in_a_long_chain() {
    fn link(left: usize, done: Event) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            match left {
                0 => done.set(),
                _ => drop(ringwork::spawn(link(left - 1, done))),
            }
        })
    }
    bounded(|| {
        let runtime = runtime(2);
        let done = Event::default();
        drop(runtime.spawn(link(10_000, done.clone())));
        runtime.block_on(done.wait());
    });
}

#[test]
fn many_tasks_from_many_threads_all_run_once() {
    bounded(|| {
        let runtime = runtime(2);
        let ran = Arc::new(AtomicUsize::new(0));
        let start = Arc::new(Barrier::new(4));
        let spawner = |_| {
            let (handle, ran, start) = (runtime.handle().clone(), Arc::clone(&ran), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let count = || {
                    let ran = Arc::clone(&ran);
                    async move { ran.fetch_add(1, Ordering::SeqCst) }
                };
                let tasks: Vec<_> = (0..2_500).map(|_| handle.spawn(count())).collect();
                handle.block_on(async {
                    for task in tasks {
                        task.await.unwrap();
                    }
                });
            })
        };
        let spawners: Vec<_> = (0..4).map(spawner).collect();
        spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
        assert_eq!(ran.load(Ordering::SeqCst), 10_000);
        assert_eq!(tasks_alive(&runtime), 0);
    });
}

fn tasks_alive(runtime: &Runtime) -> u64 {
    runtime.handle().metrics().cores.iter().map(|core| core.tasks).sum()
}

/// More than a steal queue holds, so that some go through the injector or the spill.
#[test]
fn a_burst_from_one_task_overflows_the_queue_and_all_run_once() {
    use ringwork::runtime::{Builder, Pin, Steal};
    bounded(|| {
        for steal in [Steal::Never, Steal::After(std::time::Duration::from_micros(200))] {
            let runtime = Builder::new().cores(2).pin(Pin::Off).steal(steal).build().unwrap();
            let burst = runtime.spawn(async {
                let tasks: Vec<_> = (0..5_000).map(|n| ringwork::spawn(async move { n })).collect();
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.unwrap();
                }
                sum
            });
            assert_eq!(runtime.block_on(burst).unwrap(), 5_000 * 4_999 / 2);
        }
    });
}

#[test]
fn a_dropped_handle_detaches_the_task() {
    bounded(|| {
        let runtime = runtime(1);
        let (go, done) = (Event::default(), Event::default());
        let (gate, end) = (go.clone(), done.clone());
        drop(runtime.spawn(async move {
            gate.wait().await;
            end.set();
        }));
        go.set();
        runtime.block_on(done.wait());
    });
}

#[test]
fn the_id_inside_a_task_is_the_id_of_its_handle_and_no_two_are_alike() {
    bounded(|| {
        let runtime = runtime(2);
        let _guard = runtime.handle().enter();
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let task = ringwork::spawn(async { id() });
            let job = ringwork::spawn_blocking(id);
            for handle in [task, job] {
                let outside = handle.id();
                assert_eq!(handle.abort_handle().id(), outside);
                assert_eq!(runtime.block_on(handle).unwrap(), outside);
                assert!(seen.insert(outside));
            }
        }
        let local = ringwork::spawn_on(1, || async {
            let local = ringwork::spawn_local(async { id() });
            assert_eq!(local.id(), local.await.unwrap());
        });
        runtime.block_on(local).unwrap();
        assert!(try_id().is_none());
    });
}

#[test]
fn the_id_of_a_task_made_on_another_core_is_the_id_of_its_handle() {
    bounded(|| {
        let runtime = runtime(2);
        for core in 0..2 {
            let handle = runtime.handle().spawn_on(core, || async { id() });
            let outside = handle.id();
            assert_eq!(runtime.block_on(handle).unwrap(), outside);
        }
    });
}

#[test]
fn the_id_is_known_while_a_task_is_dropped() {
    struct Tell(mpsc::Sender<Option<ringwork::task::Id>>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send(try_id()).unwrap();
        }
    }
    bounded(|| {
        let runtime = runtime(1);
        let (sender, receiver) = mpsc::channel();
        let tell = Tell(sender);
        let task = runtime.spawn(async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        });
        let id = task.id();
        task.abort();
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        assert_eq!(receiver.recv().unwrap(), Some(id));
    });
}

#[test]
fn jobs_run_beside_each_other_and_inside_their_runtime() {
    bounded(|| {
        let runtime = runtime(1);
        let meet = Arc::new(Barrier::new(3));
        let job = |_| {
            let meet = Arc::clone(&meet);
            runtime.handle().spawn_blocking(move || {
                meet.wait();
                Handle::current().cores()
            })
        };
        let jobs: Vec<_> = (0..3).map(job).collect();
        for job in jobs {
            assert_eq!(runtime.block_on(job).unwrap(), 1);
        }
    });
}

#[test]
fn no_job_is_stranded_when_thousands_come_at_once() {
    bounded(|| {
        let runtime = runtime(2);
        let burst = runtime.spawn(async {
            for _ in 0..20 {
                let jobs: Vec<_> = (0..100).map(|n| ringwork::spawn_blocking(move || n)).collect();
                for (n, job) in jobs.into_iter().enumerate() {
                    assert_eq!(job.await.unwrap(), n);
                }
            }
        });
        runtime.block_on(burst).unwrap();
    });
}

#[test]
fn threads_are_named_after_their_runtime() {
    process::alone(|| {
        let named = ringwork::runtime::Builder::new().cores(2).thread_name("depot");
        let runtime = named.build().unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let core = runtime.handle().spawn_on(1, move || async move { name() });
        assert_eq!(runtime.block_on(core).unwrap().as_deref(), Some("depot-core-1"));
        let names: Vec<_> = process::threads().into_iter().map(|(_, name)| name).collect();
        assert!(names.contains(&"depot-core-0".to_owned()), "{names:?}");
    });
}
