//! Data of a core's own, its number, and the hook that runs when it starts.

mod kit;

use kit::process::alone;
use kit::{bounded, runtime};
use nix::sys::resource::{Resource, setrlimit};
use ringwork::runtime::{Builder, Handle, Pin};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;

ringwork::core_local! {
    static COUNT: Cell<u32> = Cell::new(100);
    /// Neither `Send` nor `Sync`.
    static NOTES: RefCell<Vec<Rc<str>>> = RefCell::new(Vec::new());
}

#[test]
fn a_task_that_a_core_of_another_runtime_wakes_goes_on_where_it_was() {
    bounded(|| {
        let named = |name: &str| Builder::new().cores(1).thread_name(name).build().unwrap();
        let (ours, theirs) = (named("ours"), named("theirs"));
        // Both cores have the same number. Once as a `Send` task and once as a local one.
        for local in [false, true] {
            let (told, hears) = channel();
            let waits = async move {
                let mut woken = false;
                poll_fn(|cx| {
                    if std::mem::replace(&mut woken, true) {
                        return Poll::Ready(());
                    }
                    told.send(cx.waker().clone()).unwrap();
                    Poll::Pending
                })
                .await;
                thread::current().name().map(str::to_owned)
            };
            let handle = ours.handle();
            let task = if local { handle.spawn_on(0, move || waits) } else { handle.spawn(waits) };
            let waker = hears.recv().unwrap();
            theirs.block_on(theirs.handle().spawn(async move { waker.wake() })).unwrap();
            let name = ours.block_on(task).unwrap().expect("a core's thread has a name");
            assert!(name.starts_with("ours"), "{name}");
        }
    });
}

#[test]
fn every_core_has_its_own_value() {
    bounded(|| {
        let runtime = runtime(2);
        for (core, expected) in [(0, 101), (0, 102), (1, 101), (0, 103)] {
            let counted = runtime.handle().spawn_on(core, || async {
                COUNT.with(|count| count.set(count.get() + 1));
                NOTES.with(|notes| notes.borrow_mut().push("counted".into()));
                (COUNT.with(Cell::get), NOTES.with(|notes| notes.borrow().len()))
            });
            let (count, notes) = runtime.block_on(counted).unwrap();
            assert_eq!((count, notes as u32), (expected, expected - 100));
        }
        // Another runtime's cores are other cores.
        let other = kit::runtime(1);
        let fresh = other.handle().spawn_on(0, || async { COUNT.with(Cell::get) });
        assert_eq!(other.block_on(fresh).unwrap(), 100);
    });
}

#[test]
fn all_tasks_of_a_core_share_its_value() {
    bounded(|| {
        let runtime = runtime(1);
        let sum = runtime.spawn(async {
            for _ in 0..10 {
                let local = ringwork::spawn_local(async { COUNT.with(|n| n.set(n.get() + 1)) });
                ringwork::spawn(async { COUNT.with(|n| n.set(n.get() + 1)) }).await.unwrap();
                local.await.unwrap();
            }
            COUNT.with(Cell::get)
        });
        assert_eq!(runtime.block_on(sum).unwrap(), 120);
    });
}

#[test]
fn a_core_local_value_used_elsewhere_panics_and_says_where_to_go() {
    let payload = catch_unwind(|| COUNT.with(Cell::get)).unwrap_err();
    let message = payload.downcast::<&str>().unwrap();
    assert!(message.contains("spawn_on"), "{message}");
    let runtime = runtime(1);
    let job = runtime.handle().spawn_blocking(|| COUNT.with(Cell::get));
    assert!(runtime.block_on(job).unwrap_err().is_panic());
}

#[test]
fn a_core_local_value_is_dropped_with_its_core() {
    struct Tell(RefCell<Option<Arc<()>>>);
    ringwork::core_local! {
        static HELD: Tell = Tell(RefCell::new(None));
    }
    bounded(|| {
        let held = Arc::new(());
        let runtime = runtime(2);
        for core in [0, 1] {
            let held = Arc::clone(&held);
            let keep = move || async move { HELD.with(|tell| tell.0.replace(Some(held))) };
            runtime.block_on(runtime.handle().spawn_on(core, keep)).unwrap();
        }
        assert_eq!(Arc::strong_count(&held), 3);
        drop(runtime);
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn a_core_local_value_may_use_others_when_it_is_dropped() {
    struct Last(RefCell<Option<Sender<(usize, u32)>>>);
    impl Drop for Last {
        fn drop(&mut self) {
            let notes = NOTES.with(|notes| notes.borrow().len());
            if let Some(told) = self.0.take() {
                told.send((notes, COUNT.with(Cell::get))).unwrap();
            }
        }
    }
    ringwork::core_local! {
        static LAST: Last = Last(RefCell::new(None));
    }
    // A panic there would end the process.
    alone(|| {
        let runtime = runtime(1);
        let (told, last) = channel();
        let made = runtime.handle().call(0, move || {
            // Made before, so it goes after.
            NOTES.with(|notes| notes.borrow_mut().push("made".into()));
            LAST.with(|last| last.0.replace(Some(told)));
        });
        runtime.block_on(made).unwrap();
        drop(runtime);
        assert_eq!(last.recv().unwrap(), (1, 100));
    });
}

#[test]
fn a_core_knows_its_number_and_nobody_else_has_one() {
    bounded(|| {
        assert_eq!(ringwork::core::current(), None);
        let runtime = runtime(3);
        for core in 0..3 {
            let asked = runtime.handle().spawn_on(core, || async { ringwork::core::current() });
            assert_eq!(runtime.block_on(asked).unwrap(), Some(core));
        }
        assert_eq!(runtime.block_on(async { ringwork::core::current() }), None);
        let job = runtime.handle().spawn_blocking(ringwork::core::current);
        assert_eq!(runtime.block_on(job).unwrap(), None);
        let _guard = runtime.handle().enter();
        assert_eq!(ringwork::core::current(), None);
    });
}

#[test]
fn the_start_hook_runs_once_on_each_core_before_its_first_task() {
    bounded(|| {
        let seen: Arc<Mutex<Vec<(usize, thread::ThreadId)>>> = Arc::default();
        let inner = Arc::clone(&seen);
        let builder = Builder::new().cores(2).pin(Pin::Off).on_core_start(move |core| {
            assert_eq!(Handle::current().cores(), 2);
            inner.lock().unwrap().push((core, thread::current().id()));
        });
        let runtime = builder.build().unwrap();
        let mut hooked = seen.lock().unwrap().clone();
        hooked.sort_by_key(|(core, _)| *core);
        assert_eq!(hooked.len(), 2, "both before build returns");
        for (core, thread) in hooked {
            let asked = runtime.handle().spawn_on(core, || async { thread::current().id() });
            assert_eq!(runtime.block_on(asked).unwrap(), thread);
        }
    });
}

#[test]
fn the_start_hook_may_fill_core_local_values() {
    bounded(|| {
        let hook = |core: usize| COUNT.with(|count| count.set(core as u32));
        let runtime = Builder::new().cores(2).pin(Pin::Off).on_core_start(hook).build().unwrap();
        for core in [0, 1] {
            let asked = runtime.handle().spawn_on(core, || async { COUNT.with(Cell::get) });
            assert_eq!(runtime.block_on(asked).unwrap(), core as u32);
        }
    });
}

#[test]
fn tasks_that_the_start_hook_spawns_run() {
    bounded(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let hook = move |_| {
            let count = Arc::clone(&count);
            drop(ringwork::spawn(async move { count.fetch_add(1, Ordering::SeqCst) }));
        };
        let runtime = Builder::new().cores(2).pin(Pin::Off).on_core_start(hook).build().unwrap();
        kit::wait_for("both tasks", || ran.load(Ordering::SeqCst) == 2);
        drop(runtime);
    });
}

#[test]
fn a_start_hook_may_give_tasks_and_calls_to_cores_that_have_not_started() {
    bounded(|| {
        for _ in 0..20 {
            let (tasks, given) = std::sync::mpsc::channel();
            let hook = move |core| {
                if core == 0 {
                    let task = ringwork::spawn_on(7, || async { ringwork::core::current() });
                    let call = Handle::current().call(6, ringwork::core::current);
                    tasks.send((task, call)).unwrap();
                }
            };
            let runtime = Builder::new().cores(8).pin(Pin::Off).on_core_start(hook).build().unwrap();
            let (task, call) = given.recv().unwrap();
            assert_eq!(runtime.block_on(task).unwrap(), Some(7));
            assert_eq!(runtime.block_on(call).unwrap(), Some(6));
        }
    });
}

/// Whether those cores had their rings by then or not.
#[test]
fn tasks_given_to_other_cores_by_the_hook_of_a_failed_build_end_as_cancelled() {
    bounded(|| {
        for _ in 0..10 {
            let (tasks, given) = std::sync::mpsc::channel();
            let hook = move |core| {
                if core == 0 {
                    let task = ringwork::spawn_on(7, || async {});
                    tasks.send((task, Handle::current())).unwrap();
                }
                assert_ne!(core, 0, "refused");
            };
            let started = Builder::new().cores(8).pin(Pin::Off).on_core_start(hook).build();
            started.expect_err("core 0 did not start");
            let (task, handle) = given.recv().unwrap();
            assert!(futures_executor::block_on(task).unwrap_err().is_cancelled());
            let late = handle.spawn_on(7, || async {});
            assert!(futures_executor::block_on(late).unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn a_start_hook_that_panics_fails_the_build() {
    bounded(|| {
        for bad in [0, 1] {
            let hook = move |core| assert_ne!(core, bad, "refused");
            let started = Builder::new().cores(2).pin(Pin::Off).on_core_start(hook).build();
            let error = started.expect_err("one core did not start").to_string();
            assert!(error.contains("on_core_start"), "{error}");
        }
    });
}

#[test]
fn what_the_hooks_of_a_failed_build_started_is_dropped() {
    bounded(|| {
        let held = Arc::new(());
        let (inner, handles) = (Arc::clone(&held), Arc::new(Mutex::new(Vec::new())));
        let out = Arc::clone(&handles);
        let hook = move |core| {
            let (local, send) = (Arc::clone(&inner), Arc::clone(&inner));
            let wait = |held: Arc<()>| async move {
                std::future::pending::<()>().await;
                drop(held);
            };
            drop(ringwork::spawn_local(wait(local)));
            let task = ringwork::spawn(wait(send));
            out.lock().unwrap().push((Handle::current(), task));
            assert_eq!(core, 0, "refused");
        };
        let started = Builder::new().cores(2).pin(Pin::Off).on_core_start(hook).build();
        started.expect_err("core 1 did not start");
        assert_eq!(Arc::strong_count(&held), 1);
        for (handle, task) in handles.lock().unwrap().drain(..) {
            assert!(futures_executor::block_on(task).unwrap_err().is_cancelled());
            let late = handle.spawn_on(1, || async {});
            assert!(futures_executor::block_on(late).unwrap_err().is_cancelled());
        }
    });
}

/// Spawns when it is dropped.
struct Spawns(Arc<AtomicUsize>);

impl Drop for Spawns {
    fn drop(&mut self) {
        drop(ringwork::spawn(async {}));
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What others gave to a core that got no ring is dropped by the thread that builds.
#[test]
fn destructors_of_tasks_given_to_a_core_that_never_was_may_spawn() {
    alone(|| {
        bounded(|| {
            let spawned = Arc::new(AtomicUsize::new(0));
            let mut given = 0;
            let limit = Resource::RLIMIT_NOFILE;
            let (open, most) = (std::fs::read_dir("/proc/self/fd").unwrap().count() as u64, 1_024);
            // Somewhere on the way there is a descriptor for one ring and none for the other.
            for more in (0..40).flat_map(|more| [more; 5]) {
                setrlimit(limit, open + more, most).unwrap();
                let (count, tasks) = (Arc::clone(&spawned), Arc::new(Mutex::new(Vec::new())));
                let out = Arc::clone(&tasks);
                let hook = move |core| {
                    let guard = Spawns(Arc::clone(&count));
                    let task = ringwork::spawn_on(1 - core, || async { drop(guard) });
                    out.lock().unwrap().push(task);
                };
                if Builder::new().cores(2).pin(Pin::Off).on_core_start(hook).build().is_ok() {
                    // No more failures from here on.
                    tasks.lock().unwrap().clear();
                    break;
                }
                for task in tasks.lock().unwrap().drain(..) {
                    given += 1;
                    assert!(futures_executor::block_on(task).unwrap_err().is_cancelled());
                }
                assert_eq!(spawned.load(Ordering::SeqCst), given);
            }
            assert_ne!(given, 0, "no start failed with one ring made");
        });
    });
}

#[test]
fn a_builder_makes_several_runtimes() {
    bounded(|| {
        let builder = Builder::new().cores(1).pin(Pin::Off);
        let (one, two) = (builder.clone().build().unwrap(), builder.build().unwrap());
        assert_eq!(one.block_on(one.spawn(async { 1 })).unwrap(), 1);
        drop(one);
        assert_eq!(two.block_on(two.spawn(async { 2 })).unwrap(), 2);
    });
}

#[test]
fn nonsense_is_refused_when_it_is_said() {
    let calls = [
        || drop(Builder::new().cores(0)),
        || drop(Builder::new().max_blocking_threads(0)),
        || drop(Builder::new().thread_name("one\0two")),
    ];
    for call in calls {
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    }
}
