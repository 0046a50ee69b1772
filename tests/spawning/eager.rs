//! Local tasks that are polled where they are spawned.

use crate::kit::{OnDrop, bounded, runtime};
use ringwork::task::{self, coop};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::Poll;

ringwork::task_local! {
    static NUMBER: u64;
}

/// Polls that one poll of a task may make of the tasks that it spawns: its budget.
const BUDGET: usize = 128;

/// Runs `body` as a local task of a runtime of one core.
fn on_a_core<F: Future<Output: Send> + 'static>(body: impl FnOnce() -> F + Send + 'static) -> F::Output {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.handle().spawn_on(0, body);
        runtime.block_on(task).unwrap()
    })
}

#[test]
fn the_first_poll_is_made_where_the_task_is_spawned_and_the_next_from_the_queue() {
    on_a_core(|| async {
        let steps = Rc::new(Cell::new(0));
        let task = ringwork::spawn_local_eager({
            let steps = Rc::clone(&steps);
            async move {
                steps.set(1);
                task::yield_now().await;
                steps.set(2);
                "over"
            }
        });
        assert!(!task.is_finished());
        assert_eq!(steps.get(), 1);
        assert_eq!(task.await.unwrap(), "over");
        assert_eq!(steps.get(), 2);
    });
}

#[test]
fn what_has_nothing_to_wait_for_is_over_when_it_has_been_spawned() {
    on_a_core(|| async {
        let dropped = Rc::new(Cell::new(0));
        let count = Rc::clone(&dropped);
        let task = ringwork::spawn_local_eager(async move { OnDrop(move || count.set(count.get() + 1)) });
        assert!(task.is_finished());
        let mut task = task;
        let output = poll_fn(|cx| Poll::Ready(Pin::new(&mut task).poll(cx))).await;
        let Poll::Ready(Ok(output)) = output else { panic!("it is there at once") };
        assert_eq!(dropped.get(), 0);
        drop(output);
        // One that nobody takes goes with its handle.
        let count = Rc::clone(&dropped);
        drop(ringwork::spawn_local_eager(async move { OnDrop(move || count.set(count.get() + 1)) }));
        assert_eq!(dropped.get(), 2);
    });
}

#[test]
fn the_new_task_has_its_own_id_and_values_and_the_spawner_has_its_own_again_behind_it() {
    on_a_core(|| {
        NUMBER.scope(7, async {
            let outer = task::id();
            let seen = Rc::new(RefCell::new(Vec::new()));
            let task = ringwork::spawn_local_eager({
                let seen = Rc::clone(&seen);
                async move {
                    seen.borrow_mut().push((task::id(), NUMBER.try_get().ok()));
                    let inner = async {
                        seen.borrow_mut().push((task::id(), NUMBER.try_get().ok()));
                        task::yield_now().await;
                        seen.borrow_mut().push((task::id(), NUMBER.try_get().ok()));
                    };
                    NUMBER.scope(8, inner).await;
                }
            });
            assert_eq!((task::id(), NUMBER.get()), (outer, 7));
            let inner = task.id();
            task.await.unwrap();
            assert_eq!((task::id(), NUMBER.get()), (outer, 7));
            assert_ne!(inner, outer);
            assert_eq!(*seen.borrow(), [(inner, None), (inner, Some(8)), (inner, Some(8))]);
        })
    });
}

#[test]
fn a_first_poll_that_panics_is_the_tasks_and_leaves_the_spawner_as_it_was() {
    on_a_core(|| {
        NUMBER.scope(7, async {
            let outer = task::id();
            let task = ringwork::spawn_local_eager(async { panic!("at once") });
            assert!(task.is_finished());
            assert_eq!((task::id(), NUMBER.get()), (outer, 7));
            let error = task.await.unwrap_err();
            assert!(error.is_panic(), "{error}");
            let next = ringwork::spawn_local_eager(async { 1 });
            assert!(next.is_finished());
        })
    });
}

#[test]
fn a_loop_of_spawns_gets_as_many_polls_as_the_budget_has_units() {
    on_a_core(|| async {
        // A whole budget for this poll, whatever the ones before have spent.
        task::yield_now().await;
        let polled = Rc::new(Cell::new(0));
        let spawn = || {
            let polled = Rc::clone(&polled);
            ringwork::spawn_local_eager(async move { polled.set(polled.get() + 1) })
        };
        let tasks: Vec<_> = (0..1_000).map(|_| spawn()).collect();
        assert!((BUDGET - 2..=BUDGET).contains(&polled.get()), "{}", polled.get());
        assert!(!coop::has_budget_remaining());
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(polled.get(), 1_000);
    });
}

#[test]
fn the_new_task_spends_the_budget_of_its_spawner() {
    on_a_core(|| async {
        task::yield_now().await;
        let steps = Rc::new(Cell::new(0));
        let task = ringwork::spawn_local_eager({
            let steps = Rc::clone(&steps);
            async move {
                for _ in 0..1_000 {
                    coop::consume_budget().await;
                    steps.set(steps.get() + 1);
                }
            }
        });
        assert!((BUDGET - 3..BUDGET).contains(&steps.get()), "{}", steps.get());
        assert!(!coop::has_budget_remaining());
        task.await.unwrap();
        // Who has no limit does not give it on.
        coop::unconstrained(async {
            let steps = Rc::new(Cell::new(0));
            let count = Rc::clone(&steps);
            let endless = ringwork::spawn_local_eager(async move {
                loop {
                    coop::consume_budget().await;
                    count.set(count.get() + 1);
                }
            });
            assert_eq!(steps.get(), BUDGET);
            endless.abort();
            assert!(endless.await.unwrap_err().is_cancelled());
        })
        .await;
    });
}

/// Spawns the next of a chain in its first poll, until `left` is nothing; tells how deep each is.
fn chain(left: usize, depth: usize, deepest: Rc<Cell<usize>>) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        deepest.set(deepest.get().max(depth));
        if left > 0 {
            let within = Rc::new(Cell::new(true));
            let is_within = Rc::clone(&within);
            let next = ringwork::spawn_local_eager(async move {
                let depth = if is_within.get() { depth + 1 } else { 1 };
                chain(left - 1, depth, deepest).await;
            });
            within.set(false);
            next.await.unwrap();
        }
    })
}

#[test]
fn a_chain_of_spawns_does_not_grow_the_stack_without_end() {
    let deepest = on_a_core(|| async {
        let deepest = Rc::new(Cell::new(0));
        ringwork::spawn_local_eager(chain(20_000, 1, Rc::clone(&deepest))).await.unwrap();
        deepest.get()
    });
    assert!((2..=9).contains(&deepest), "{deepest}");
}

#[test]
fn what_destructors_of_an_aborted_task_spawn_is_queued() {
    on_a_core(|| async {
        let polled = Rc::new(Cell::new(0));
        let guards: Vec<_> = (0..1_000)
            .map(|_| {
                let polled = Rc::clone(&polled);
                OnDrop(move || {
                    let before = polled.get();
                    let count = Rc::clone(&polled);
                    drop(ringwork::spawn_local_eager(async move { count.set(count.get() + 1) }));
                    assert_eq!(polled.get(), before, "it waits for its turn");
                })
            })
            .collect();
        let task = ringwork::spawn_local(async move {
            let _guards = guards;
            pending::<()>().await;
        });
        task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        while polled.get() < 1_000 {
            task::yield_now().await;
        }
    });
}

/// Spawns the next of a chain when it is dropped.
struct Link(usize, Arc<AtomicUsize>);

impl Drop for Link {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
        if let Some(left) = self.0.checked_sub(1) {
            let next = Link(left, Arc::clone(&self.1));
            drop(ringwork::spawn_local_eager(async move { next }));
        }
    }
}

#[test]
fn a_chain_of_destructors_does_not_grow_the_stack_without_end() {
    on_a_core(|| async {
        let links = Arc::new(AtomicUsize::new(0));
        drop(Link(100_000, Arc::clone(&links)));
        while links.load(Ordering::Relaxed) <= 100_000 {
            task::yield_now().await;
        }
    });
}

#[test]
fn a_spawner_that_is_to_move_moves_and_its_new_task_stays() {
    bounded(|| {
        let runtime = runtime(2);
        for there in [1, 0, 1] {
            let task = runtime.spawn(async move {
                let mut moving = Box::pin(ringwork::core::move_to(there));
                let mut spawned = None;
                let mut first = true;
                let homes = poll_fn(|cx| {
                    let moved = moving.as_mut().poll(cx).is_ready();
                    if std::mem::take(&mut first) {
                        let here = ringwork::core::current();
                        let (sender, home) = channel();
                        // Not kept across an await, for it may not move.
                        drop(ringwork::spawn_local_eager(async move {
                            task::yield_now().await;
                            sender.send(ringwork::core::current()).unwrap();
                        }));
                        spawned = Some((here, home));
                    }
                    if moved { Poll::Ready(ringwork::core::current()) } else { Poll::Pending }
                })
                .await;
                let (here, home) = spawned.unwrap();
                (homes, here, home)
            });
            let (now, before, home) = runtime.block_on(task).unwrap();
            assert_eq!(now, Some(there));
            assert_eq!(home.recv().unwrap(), before);
        }
    });
}

#[test]
fn a_task_that_waits_behind_its_first_poll_can_be_aborted_and_ends_with_its_runtime() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    bounded(move || {
        let runtime = runtime(1);
        let witness = move || {
            let dropped = Arc::clone(&count);
            OnDrop(move || {
                dropped.fetch_add(1, Ordering::Relaxed);
            })
        };
        let task = runtime.handle().spawn_on(0, move || async move {
            let guard = witness();
            let task = ringwork::spawn_local_eager(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            let guard = witness();
            ringwork::spawn_local_eager(async move {
                let _guard = guard;
                pending::<()>().await;
            });
        });
        runtime.block_on(task).unwrap();
        assert_eq!(runtime.handle().metrics().cores[0].tasks, 1, "the one that waits is listed");
    });
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}

#[test]
fn a_runtime_that_ends_polls_no_new_task() {
    bounded(|| {
        let runtime = runtime(1);
        let (sender, ends) = channel();
        let polled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polled);
        let task = runtime.handle().spawn_on(0, move || async move {
            let last = OnDrop(move || {
                let count = Arc::clone(&count);
                let task = ringwork::spawn_local_eager(async move {
                    count.fetch_add(1, Ordering::Relaxed);
                });
                sender.send(task.is_finished()).unwrap();
            });
            ringwork::spawn_local(async move {
                let _last = last;
                pending::<()>().await;
            });
        });
        runtime.block_on(task).unwrap();
        drop(runtime);
        assert!(ends.recv().unwrap(), "it is cancelled at once");
        assert_eq!(polled.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_background_task_waits_for_its_share() {
    on_a_core(|| async {
        let task = task::Builder::new().background().spawn_local_eager(async { 7 });
        assert!(!task.is_finished());
        assert_eq!(task.await.unwrap(), 7);
    });
}

#[test]
fn a_waker_that_outlives_the_task_of_its_first_poll_wakes_nobody() {
    on_a_core(|| async {
        let waker = Rc::new(RefCell::new(None));
        let task = ringwork::spawn_local_eager({
            let waker = Rc::clone(&waker);
            poll_fn(move |cx| {
                *waker.borrow_mut() = Some(cx.waker().clone());
                cx.waker().wake_by_ref();
                Poll::Ready(7)
            })
        });
        assert!(task.is_finished());
        let waker = waker.take().unwrap();
        waker.wake_by_ref();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert_eq!(task.await.unwrap(), 7);
    });
}

#[test]
#[should_panic(expected = "spawn_local_eager needs a core")]
fn on_a_plain_thread_there_is_nobody_to_poll_it() {
    let runtime = runtime(1);
    runtime.block_on(async { drop(ringwork::spawn_local_eager(async {})) });
}
