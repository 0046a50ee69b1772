//! `Runtime::drain`: tasks come to their end, or the report says which did not.

mod kit;

use kit::{Event, bounded, process, runtime, wait_for};
use ringwork::runtime::{AliveTask, Builder, Handle, PanicPolicy, Pin, Runtime, ShutdownReport, Steal};
use ringwork::task::Builder as Task;
use ringwork::time::{Duration, sleep};
use std::future::pending;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Longer than a test may run: a drain that ends has seen that all tasks have ended.
const NEVER: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(50);

fn begin(runtime: Runtime, patience: Duration) -> thread::JoinHandle<ShutdownReport> {
    let (handle, go) = (runtime.handle().clone(), Event::default());
    let draining = thread::spawn(move || runtime.drain(patience));
    // What is spawned from outside is refused from the moment that it drains.
    wait_for("the drain to begin", || handle.spawn(go.wait()).is_finished());
    go.set();
    draining
}

#[test]
fn an_idle_runtime_is_drained_at_once() {
    bounded(|| {
        for cores in [1, 2, 3] {
            let report = runtime(cores).drain(NEVER);
            assert!(report.is_drained(), "{report}");
            assert_eq!(report.to_string(), "all ended");
        }
    });
}

#[test]
fn tasks_that_wait_come_to_their_end() {
    bounded(|| {
        let runtime = runtime(2);
        let (address, done) = (kit::echo_server(), Arc::new(AtomicUsize::new(0)));
        for n in 0..40 {
            let (done, timed) = (Arc::clone(&done), n % 2 == 0);
            drop(runtime.handle().spawn_on(n % 2, move || async move {
                if timed {
                    sleep(Duration::from_millis(5 + n as u64)).await;
                } else {
                    kit::talk(address, "still there").await.unwrap();
                }
                done.fetch_add(1, Ordering::SeqCst);
            }));
        }
        let report = runtime.drain(NEVER);
        assert!(report.is_drained(), "{report}");
        assert_eq!(done.load(Ordering::SeqCst), 40);
    });
}

#[test]
fn a_task_that_never_waits_comes_to_its_end() {
    bounded(|| {
        let runtime = runtime(2);
        let done = Event::default();
        let told = done.clone();
        drop(runtime.spawn(async move {
            for _ in 0..100_000 {
                ringwork::task::yield_now().await;
            }
            told.set();
        }));
        assert!(runtime.drain(NEVER).is_drained());
        assert!(done.is_set());
    });
}

#[test]
fn a_task_that_ends_on_another_core_than_it_was_born_on_is_seen_to_end() {
    bounded(|| {
        let runtime = runtime(2);
        let (handle, moved, end) = (runtime.handle().clone(), Event::default(), Event::default());
        let (there, until) = (moved.clone(), end.clone());
        let born = runtime.handle().spawn_on(0, move || async move {
            drop(ringwork::spawn(async move {
                while ringwork::core::current() != Some(1) {
                    ringwork::core::move_to(1).await;
                }
                there.set();
                until.wait().await;
            }));
        });
        runtime.block_on(async { (born.await.unwrap(), moved.wait().await) });
        let parks = move || handle.metrics().cores.iter().map(|core| core.parks).collect::<Vec<_>>();
        let before = parks();
        let draining = begin(runtime, NEVER);
        wait_for("both cores to answer", || parks().iter().zip(&before).all(|(now, then)| now > then));
        // Core 0, which has it in its list, sleeps.
        end.set();
        assert!(draining.join().unwrap().is_drained());
    });
}

/// How a task of a chain starts the next one; every handle is dropped at once.
#[derive(Clone, Copy, Debug)]
enum Link {
    /// Made for the other core: in no list while it travels.
    Across,
    Anywhere,
    Local,
    Pool,
}

fn next(link: Link, left: usize, done: Arc<AtomicUsize>) {
    done.fetch_add(1, Ordering::SeqCst);
    let Some(left) = left.checked_sub(1) else { return };
    let onward = move || async move { next(link, left, done) };
    match link {
        Link::Across => {
            let other = 1 - ringwork::core::current().unwrap();
            drop(ringwork::spawn_on(other, onward));
        }
        Link::Anywhere => drop(ringwork::spawn(onward())),
        Link::Local => drop(ringwork::spawn_local(onward())),
        Link::Pool => drop(ringwork::spawn_blocking(move || drop(Handle::current().spawn(onward())))),
    }
}

#[test]
fn whatever_the_last_tasks_start_comes_to_its_end_too() {
    const LENGTH: usize = 300;
    bounded(|| {
        for round in 0..60 {
            let link = [Link::Across, Link::Anywhere, Link::Local, Link::Pool][round % 4];
            let steal = if round % 8 < 4 { Steal::Never } else { Steal::After(Duration::from_micros(50)) };
            let runtime = Builder::new().cores(2).pin(Pin::Off).steal(steal).build().unwrap();
            let done = Arc::new(AtomicUsize::new(0));
            let counts = Arc::clone(&done);
            drop(runtime.handle().spawn_on(round % 2, move || async move { next(link, LENGTH, counts) }));
            let report = runtime.drain(NEVER);
            assert!(report.is_drained(), "{link:?}: {report}");
            assert_eq!(done.load(Ordering::SeqCst), LENGTH + 1, "{link:?}, {steal:?}");
        }
    });
}

#[test]
fn a_tree_that_grows_over_all_cores_is_waited_for_to_its_last_leaf() {
    fn grow(depth: u32, leaves: Arc<AtomicUsize>) -> Pinned<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if depth == 0 {
                leaves.fetch_add(1, Ordering::SeqCst);
                return;
            }
            for branch in 0..2 {
                let leaves = Arc::clone(&leaves);
                if (branch + depth).is_multiple_of(2) {
                    drop(ringwork::spawn(grow(depth - 1, leaves)));
                } else {
                    let core = depth as usize % Handle::current().cores();
                    drop(ringwork::spawn_on(core, move || grow(depth - 1, leaves)));
                }
            }
        })
    }
    bounded(|| {
        for cores in [1, 2, 3] {
            let runtime = runtime(cores);
            let leaves = Arc::new(AtomicUsize::new(0));
            drop(runtime.spawn(grow(11, Arc::clone(&leaves))));
            assert!(runtime.drain(NEVER).is_drained());
            assert_eq!(leaves.load(Ordering::SeqCst), 1 << 11);
        }
    });
}

#[test]
fn a_blocking_job_that_outlives_all_tasks_is_waited_for() {
    bounded(|| {
        let runtime = runtime(1);
        let (begun, over, ran) = (Event::default(), Event::default(), Arc::new(AtomicUsize::new(0)));
        let (inside, until, counts) = (begun.clone(), over.clone(), Arc::clone(&ran));
        drop(runtime.handle().spawn_blocking(move || {
            inside.set();
            until.wait_blocking();
            counts.fetch_add(1, Ordering::SeqCst);
        }));
        begun.wait_blocking();
        let draining = begin(runtime, NEVER);
        assert!(!draining.is_finished());
        over.set();
        assert!(draining.join().unwrap().is_drained());
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn spawns_from_outside_are_refused_while_it_drains_and_those_of_tasks_are_not() {
    bounded(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let end = Event::default();
        let wait = end.wait();
        let last = runtime.spawn(async move {
            wait.await;
            // All five ways, from a task of the runtime.
            ringwork::spawn(async {}).await.unwrap();
            ringwork::spawn_on(1, || async {}).await.unwrap();
            Handle::current().call(0, || ()).await.unwrap();
            ringwork::spawn_blocking(|| ()).await.unwrap();
            ringwork::spawn_heavy(|| ()).await.unwrap();
            ringwork::spawn_local(async {}).await.unwrap();
        });
        let draining = begin(runtime, NEVER);
        let _guard = handle.enter();
        let block_on = |task| futures_executor::block_on::<ringwork::task::JoinHandle<()>>(task);
        for task in [
            handle.spawn(async {}),
            handle.spawn_on(1, || async {}),
            handle.call(0, || ()),
            handle.spawn_blocking(|| ()),
            Task::new().spawn_heavy_with(&handle, || ()),
            ringwork::spawn(async {}),
        ] {
            assert!(block_on(task).unwrap_err().is_cancelled());
        }
        end.set();
        block_on(last).unwrap();
        assert!(draining.join().unwrap().is_drained());
    });
}

#[test]
fn threads_outside_may_use_ops_and_timers_while_it_drains() {
    bounded(|| {
        let runtime = runtime(2);
        let (handle, end, address) = (runtime.handle().clone(), Event::default(), kit::echo_server());
        drop(runtime.spawn(end.wait()));
        let draining = begin(runtime, NEVER);
        handle.block_on(async {
            kit::talk(address, "from outside").await.unwrap();
            sleep(Duration::from_millis(1)).await;
        });
        end.set();
        assert!(draining.join().unwrap().is_drained());
    });
}

#[test]
fn waiting_for_the_end_does_not_keep_the_cores_busy() {
    bounded(|| {
        let runtime = runtime(2);
        let (handle, end) = (runtime.handle().clone(), Event::default());
        drop(runtime.spawn(end.wait()));
        let draining = begin(runtime, NEVER);
        let enters = || handle.metrics().cores.iter().map(|core| core.enters).sum::<u64>();
        let before = enters();
        thread::sleep(Duration::from_millis(300));
        // A core that was asked enters once; one that is asked all the time, hundreds of times.
        assert!(enters() - before < 30, "{} enters", enters() - before);
        end.set();
        assert!(draining.join().unwrap().is_drained());
    });
}

fn named<'a>(report: &'a ShutdownReport, name: &str) -> &'a AliveTask {
    let found = report.alive.iter().find(|task| task.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("{name} is not in the report: {report}"))
}

#[test]
fn at_the_deadline_the_report_names_the_tasks_that_were_alive() {
    bounded(|| {
        let runtime = runtime(2);
        let here = line!();
        let waits = Task::new().name("waits").spawn_on_with(runtime.handle(), 1, pending::<()>);
        let local = Task::new().name("makes a local one");
        let local = local.spawn_on_with(runtime.handle(), 0, || async {
            drop(Task::new().name("local").spawn_local(pending::<()>()));
        });
        futures_executor::block_on(local).unwrap();
        let nameless = runtime.handle().spawn_on(0, pending::<()>);
        let alive = || runtime.handle().metrics().cores.iter().map(|core| core.tasks).sum::<u64>();
        wait_for("all to be born", || alive() == 3);
        let report = runtime.drain(SHORT);
        assert!(report.is_clean() && !report.is_drained(), "{report}");
        assert_eq!((report.tasks_alive, report.alive.len()), (3, 3), "{report}");
        let found = named(&report, "waits");
        assert_eq!((found.id, found.core, found.stuck), (waits.id(), 1, false));
        assert_eq!((found.spawned_at.file(), found.spawned_at.line()), (file!(), here + 1));
        assert_eq!(named(&report, "local").core, 0);
        let found = report.alive.iter().find(|task| task.id == nameless.id()).expect("it was alive");
        assert_eq!((found.name.as_deref(), found.core), (None, 0));
        let (text, place) = (report.to_string(), format!("tests/drain.rs:{}", here + 1));
        for part in ["alive when the end began: 3", "\"waits\" of core 1", &place, "task "] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(futures_executor::block_on(waits).unwrap_err().is_cancelled());
    });
}

#[test]
fn a_plain_shutdown_names_them_too() {
    bounded(|| {
        let runtime = runtime(2);
        let tasks: Vec<_> = (0..10).map(|_| runtime.spawn(pending::<()>())).collect();
        let report = runtime.shutdown_timeout(Duration::from_secs(20));
        let mut listed: Vec<_> = report.alive.iter().map(|task| task.id).collect();
        let mut spawned: Vec<_> = tasks.iter().map(|task| task.id()).collect();
        listed.sort();
        spawned.sort();
        assert_eq!(listed, spawned);
        assert!(report.is_clean() && report.tasks_alive == 10, "{report}");
    });
}

#[test]
fn of_very_many_tasks_a_thousand_are_named_and_all_are_counted() {
    bounded(|| {
        let runtime = runtime(2);
        for n in 0..1_500 {
            drop(runtime.handle().spawn_on(n % 2, pending::<()>));
        }
        let alive = || runtime.handle().metrics().cores.iter().map(|core| core.tasks).sum::<u64>();
        wait_for("all to be born", || alive() == 1_500);
        let report = runtime.drain(SHORT);
        assert_eq!((report.tasks_alive, report.alive.len()), (1_500, 1_000));
        assert!(report.to_string().ends_with("and 500 more"), "{report}");
    });
}

#[test]
fn a_stuck_core_is_reported_with_the_task_it_is_stuck_in() {
    bounded(|| {
        // The task that it is stuck in may be local, `Send`, or one that another core has given birth to.
        for local in [true, false] {
            let runtime = Builder::new().cores(2).pin(Pin::Off).steal(Steal::Never).build().unwrap();
            let (begun, over) = (Event::default(), Event::default());
            let (inside, until) = (begun.clone(), over.clone());
            let block = move || {
                inside.set();
                until.wait_blocking();
            };
            let start = move || async move {
                drop(Task::new().name("idle beside it").spawn(pending::<()>()));
                let culprit = Task::new().name("culprit");
                let blocks = async move { block() };
                if local { drop(culprit.spawn_local(blocks)) } else { drop(culprit.spawn(blocks)) }
            };
            futures_executor::block_on(runtime.handle().spawn_on(1, start)).unwrap();
            begun.wait_blocking();
            let report = runtime.drain(SHORT);
            over.set();
            assert_eq!(report.stuck_cores, [1], "{report}");
            let culprit = named(&report, "culprit");
            assert_eq!(Some(culprit), report.alive.first());
            assert!(culprit.stuck && culprit.core == 1, "{report}");
            assert_eq!(culprit.spawned_at.file(), file!());
            let beside = named(&report, "idle beside it");
            assert!(!beside.stuck && beside.core == 1, "{report}");
            assert_eq!(report.tasks_alive, 2, "{report}");
            assert!(report.to_string().contains("which the core is stuck in"), "{report}");
        }
    });
}

#[test]
fn a_task_may_drain_its_own_runtime() {
    bounded(|| {
        let runtime = Builder::new().cores(2).pin(Pin::Off).thread_name("own").build().unwrap();
        let (handle, end) = (runtime.handle().clone(), Event::default());
        let waits = runtime.spawn(end.wait());
        let draining = handle.spawn(async move { runtime.drain(NEVER) });
        let report = futures_executor::block_on(draining).unwrap();
        assert_eq!(report, ShutdownReport::default(), "it does not wait for itself");
        end.set();
        futures_executor::block_on(waits).expect("it came to its end");
        // The cores end once the last task has.
        wait_for("the cores to end", || process::threads_named("own-core").is_empty());
    });
}

#[test]
fn a_drain_ends_when_a_panic_ends_the_runtime() {
    bounded(|| {
        for before in [true, false] {
            let runtime = Builder::new().cores(2).pin(Pin::Off).on_task_panic(PanicPolicy::ShutDown);
            let runtime = runtime.build().unwrap();
            let (handle, gate) = (runtime.handle().clone(), Event::default());
            let held = gate.clone();
            let _asleep = handle.spawn_on(0, pending::<()>);
            let culprit = handle.spawn(async move {
                held.wait().await;
                panic!("out of paper")
            });
            if before {
                gate.set();
                wait_for("the panic", || culprit.is_finished());
                runtime.drain(NEVER);
            } else {
                let draining = begin(runtime, NEVER);
                gate.set();
                draining.join().unwrap();
            }
        }
    });
}

#[test]
fn a_patience_without_end_is_one_like_any_other() {
    bounded(|| {
        assert!(runtime(1).drain(Duration::MAX).is_drained());
        assert!(runtime(1).shutdown_timeout(Duration::MAX).is_drained());
    });
}

#[test]
fn a_job_of_another_runtime_spawns_nothing_into_one_that_drains() {
    bounded(|| {
        let (drains, other) = (runtime(1), runtime(1));
        let (handle, gate) = (drains.handle().clone(), Event::default());
        drop(drains.spawn(gate.wait()));
        let draining = begin(drains, NEVER);
        let job = other.handle().spawn_blocking(move || handle.spawn(pending::<()>()).is_finished());
        assert!(other.block_on(job).unwrap(), "it is refused at once");
        gate.set();
        assert!(draining.join().unwrap().is_drained());
    });
}
