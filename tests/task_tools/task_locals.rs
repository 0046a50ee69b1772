//! Task-local values: whose they are, where they go, and what they hide.

use crate::kit::{bounded, runtime};
use ringwork::task::{self, AccessError, JoinSet};
use ringwork::time::{Duration, Instant, sleep};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

ringwork::task_local! {
    static NUMBER: u64;
    /// Documented, visible in the crate, and neither `Send` nor `Sync`.
    pub(crate) static LOCAL: Rc<Cell<u32>>;
    static TRACE: RefCell<Vec<&'static str>>
}

ringwork::task_local! {
    static LAST_WITHOUT_SEMICOLON: ()
}

ringwork::task_local! {}

/// Has the name that comes to mind for what the macro declares.
const CURRENT: usize = 2;

ringwork::task_local! {
    static OF_A_CONSTANT: [u8; CURRENT]
}

#[test]
fn the_type_of_a_value_may_name_a_constant_of_any_name() {
    assert_eq!(OF_A_CONSTANT.sync_scope([1; CURRENT], || OF_A_CONSTANT.get()), [1; 2]);
}

#[test]
fn a_value_is_there_after_every_await() {
    bounded(|| {
        let runtime = runtime(2);
        let _entered = runtime.handle().enter();
        let body = async {
            for _ in 0..10 {
                assert_eq!(NUMBER.get(), 7);
                task::yield_now().await;
                assert_eq!(NUMBER.get(), 7);
                sleep(Duration::from_millis(1)).await;
                ringwork::spawn(async {}).await.unwrap();
            }
            NUMBER.with(|number| number + 1)
        };
        assert_eq!(runtime.block_on(runtime.spawn(NUMBER.scope(7, body))).unwrap(), 8);
    });
}

#[test]
fn a_value_follows_its_task_from_core_to_core() {
    bounded(|| {
        let runtime = runtime(2);
        let moving = async {
            let (mut asked, mut moves) = (0, 0);
            // A core whose thread the machine keeps waiting counts as stuck, and nothing comes to it.
            while asked < 200 || moves == 0 {
                moves += usize::from(ringwork::core::move_to(asked % 2).await);
                asked += 1;
                assert_eq!(NUMBER.get(), 7);
                TRACE.with(|trace| trace.borrow_mut().push("moved"));
            }
            (asked, TRACE.with(|trace| trace.borrow().len()))
        };
        let scoped = NUMBER.scope(7, TRACE.scope(RefCell::default(), moving));
        let (asked, traced) = runtime.block_on(runtime.spawn(scoped)).unwrap();
        assert_eq!(traced, asked);
    });
}

#[test]
fn values_of_tasks_that_are_stolen_are_not_mixed_up() {
    fn compute() {
        let until = Instant::now() + Duration::from_micros(150);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
    bounded(|| {
        let runtime = runtime(2);
        let cores: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
        let seen = Arc::clone(&cores);
        let parent = runtime.handle().spawn_on(0, move || async move {
            let mut set = JoinSet::new();
            for n in 0..300 {
                let seen = Arc::clone(&seen);
                set.spawn(NUMBER.scope(n, async move {
                    // However long the machine keeps the other core waiting: some are stolen.
                    let mut turns = 0;
                    while turns < 3 || seen.lock().unwrap().len() < 2 {
                        assert_eq!(NUMBER.get(), n);
                        seen.lock().unwrap().insert(ringwork::core::current().unwrap());
                        compute();
                        task::yield_now().await;
                        turns += 1;
                    }
                }));
            }
            set.join_all().await;
        });
        runtime.block_on(parent).unwrap();
        assert_eq!(cores.lock().unwrap().len(), 2, "some were stolen");
    });
}

#[test]
fn tasks_of_one_core_see_their_own_values() {
    bounded(|| {
        let runtime = runtime(1);
        let parent = runtime.handle().spawn_on(0, || async {
            let mut set = JoinSet::new();
            for n in 0..50 {
                set.spawn_local(LOCAL.scope(Rc::new(Cell::new(n)), async move {
                    for step in 0..10 {
                        assert_eq!(LOCAL.with(|local| local.get()), n + step);
                        LOCAL.with(|local| local.set(n + step + 1));
                        task::yield_now().await;
                    }
                }));
            }
            set.join_all().await;
            assert!(LOCAL.try_with(|_| ()).is_err());
        });
        runtime.block_on(parent).unwrap();
    });
}

#[test]
fn what_a_task_spawns_does_not_have_its_values() {
    bounded(|| {
        let runtime = runtime(1);
        let parent = runtime.handle().spawn_on(0, || {
            NUMBER.scope(7, async {
                let missing = || NUMBER.try_get().is_err();
                assert!(ringwork::spawn(async move { missing() }).await.unwrap());
                assert!(ringwork::spawn_local(async move { missing() }).await.unwrap());
                assert!(ringwork::spawn_on(0, move || async move { missing() }).await.unwrap());
                assert!(ringwork::spawn_blocking(missing).await.unwrap());
                assert!(ringwork::spawn_heavy(missing).await.unwrap());
                // Unless they are given on.
                let number = NUMBER.get();
                let job = ringwork::spawn_blocking(move || NUMBER.sync_scope(number, || NUMBER.get()));
                assert_eq!(job.await.unwrap(), 7);
                assert_eq!(NUMBER.get(), 7);
            })
        });
        runtime.block_on(parent).unwrap();
    });
}

#[test]
fn an_inner_scope_hides_the_outer_one_and_gives_it_back() {
    bounded(|| {
        let runtime = runtime(1);
        let nested = NUMBER.scope(1, async {
            let inner = NUMBER.scope(2, async {
                assert_eq!(NUMBER.get(), 2);
                task::yield_now().await;
                assert_eq!(NUMBER.sync_scope(3, || NUMBER.get()), 3);
                NUMBER.get()
            });
            let mut inner = pin!(inner);
            // Between the polls of the inner future too.
            let mut polls = 0;
            let output = std::future::poll_fn(|cx| {
                assert_eq!(NUMBER.get(), 1);
                polls += 1;
                let polled = inner.as_mut().poll(cx);
                assert_eq!(NUMBER.get(), 1);
                polled
            })
            .await;
            assert_eq!((polls, output), (2, 2));
            NUMBER.get()
        });
        assert_eq!(runtime.block_on(runtime.spawn(nested)).unwrap(), 1);
    });
}

#[test]
fn scopes_work_on_any_executor_and_thread() {
    let scoped = NUMBER.scope(7, async {
        let before = NUMBER.get();
        task::yield_now().await;
        (before, NUMBER.get())
    });
    assert_eq!(futures_executor::block_on(scoped), (7, 7));
    let thread = std::thread::spawn(|| NUMBER.sync_scope(8, || NUMBER.get()));
    assert_eq!(thread.join().unwrap(), 8);
    bounded(|| {
        let runtime = runtime(1);
        assert_eq!(runtime.block_on(NUMBER.scope(9, async { NUMBER.get() })), 9);
    });
}

#[test]
fn outside_of_a_scope_there_is_no_value() {
    assert_eq!(NUMBER.try_with(|_| unreachable!("not called")), Err::<(), AccessError>(error()));
    assert_eq!(NUMBER.try_get(), Err(error()));
    assert!(error().to_string().contains("`scope`"));
    for missing in [catch_unwind(|| NUMBER.get()), catch_unwind(|| NUMBER.with(|number| *number))] {
        let message = missing.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("the task-local value is not set"), "{message}");
    }
    LAST_WITHOUT_SEMICOLON.sync_scope((), || LAST_WITHOUT_SEMICOLON.get());
}

fn error() -> AccessError {
    NUMBER.try_get().unwrap_err()
}

#[test]
fn a_panic_in_a_scope_gives_the_outer_value_back() {
    NUMBER.sync_scope(1, || {
        let panicked = catch_unwind(|| NUMBER.sync_scope(2, || panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(NUMBER.get(), 1);
        let scoped = NUMBER.scope(2, async { panic!("on purpose") });
        let panicked = catch_unwind(AssertUnwindSafe(|| futures_executor::block_on(scoped)));
        assert!(panicked.is_err());
        assert_eq!(NUMBER.get(), 1);
    });
    assert!(NUMBER.try_get().is_err());
}

#[test]
fn a_scope_inside_with_of_the_same_key_is_refused_and_the_value_stays() {
    let words = |panic: Box<dyn std::any::Any + Send>| *panic.downcast::<String>().unwrap();
    NUMBER.sync_scope(1, || {
        let sync = || NUMBER.with(|_| NUMBER.sync_scope(2, || ()));
        assert!(words(catch_unwind(sync).unwrap_err()).contains("inside `with`"));
        assert_eq!(NUMBER.get(), 1);
        let mut scoped = pin!(NUMBER.scope(2, async { NUMBER.get() }));
        let mut context = Context::from_waker(Waker::noop());
        let poll = || NUMBER.with(|_| scoped.as_mut().poll(&mut context));
        assert!(words(catch_unwind(AssertUnwindSafe(poll)).unwrap_err()).contains("inside `with`"));
        // The future itself has not been touched, and reading inside `with` is no scope.
        assert_eq!(futures_executor::block_on(scoped), 2);
        assert_eq!(NUMBER.with(|outer| outer + NUMBER.get()), 2);
    });
}

#[test]
fn a_value_is_taken_out_of_its_future() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.handle().spawn_on(0, || async {
            let trace = |what| TRACE.with(|trace| trace.borrow_mut().push(what));
            let mut scoped = pin!(TRACE.scope(RefCell::default(), async {
                trace("begun");
                task::yield_now().await;
                trace("done");
            }));
            scoped.as_mut().await;
            assert_eq!(scoped.as_mut().take_value().unwrap().into_inner(), ["begun", "done"]);
            assert!(scoped.take_value().is_none());
            // A future whose value is gone finds none.
            let mut early = pin!(NUMBER.scope(1, async { NUMBER.try_get() }));
            assert_eq!(early.as_mut().take_value(), Some(1));
            assert_eq!(early.await, Err(error()));
        });
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn a_scoped_future_that_is_over_panics_when_it_is_polled_again() {
    let mut scoped = pin!(NUMBER.scope(1, async {}));
    futures_executor::block_on(scoped.as_mut());
    let again = catch_unwind(AssertUnwindSafe(|| futures_executor::block_on(scoped.as_mut())));
    let message = again.unwrap_err().downcast::<&str>().unwrap();
    assert!(message.contains("polled again"), "{message}");
    assert!(NUMBER.try_get().is_err());
}
