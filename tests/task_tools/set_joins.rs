//! Joining a set: every task once, as it ends, whoever waits and wherever.

use crate::kit::{Event, bounded, poll_once, runtime, wait_for};
use ringwork::runtime::Runtime;
use ringwork::task::{self, JoinSet, coop};
use std::collections::BTreeSet;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// Runs a future that need not be `Send` on core 0.
fn on_core<F: Future<Output: Send + 'static> + 'static>(
    runtime: &Runtime,
    make: impl FnOnce() -> F + Send + 'static,
) -> F::Output {
    runtime.block_on(runtime.handle().spawn_on(0, make)).unwrap()
}

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn pair() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_set_joins_tasks_of_every_kind() {
    bounded(|| {
        let runtime = runtime(2);
        let outputs = on_core(&runtime, || async {
            let mut set = JoinSet::new();
            set.spawn(async { 1 });
            set.spawn_local(async { 2 });
            set.spawn_on(1, || async { 3 });
            set.spawn_blocking(|| 4);
            set.spawn_heavy(|| 5);
            set.insert(ringwork::spawn(async { 6 }));
            assert_eq!((set.len(), set.is_empty()), (6, false));
            let mut outputs = BTreeSet::new();
            while let Some(output) = set.join_next().await {
                outputs.insert(output.unwrap());
            }
            assert_eq!((set.len(), set.is_empty()), (0, true));
            outputs
        });
        assert!(outputs.into_iter().eq(1..=6));
    });
}

#[test]
fn tasks_are_joined_in_the_order_they_end() {
    bounded(|| {
        let runtime = runtime(2);
        let gates: Vec<Event> = (0..20).map(|_| Event::default()).collect();
        let mut set = JoinSet::new();
        for (n, gate) in gates.iter().enumerate() {
            let wait = gate.wait();
            set.insert(runtime.spawn(async move {
                wait.await;
                n
            }));
        }
        for n in (0..20).rev().step_by(2).chain((0..20).step_by(2)) {
            gates[n].set();
            assert_eq!(runtime.block_on(set.join_next()).unwrap().unwrap(), n);
        }
        assert!(runtime.block_on(set.join_next()).is_none());
    });
}

#[test]
fn tasks_that_have_ended_wait_in_their_order() {
    bounded(|| {
        let runtime = runtime(1);
        let joined = on_core(&runtime, || async {
            let mut set = JoinSet::new();
            for n in 0..100 {
                set.spawn_local(async move { n });
            }
            assert!(set.try_join_next().is_none());
            // One core runs local tasks in the order they were spawned, and this one behind them.
            task::yield_now().await;
            assert_eq!(set.len(), 100);
            let mut joined = Vec::new();
            while let Some(output) = set.try_join_next() {
                joined.push(output.unwrap());
            }
            assert!(set.is_empty());
            joined
        });
        assert!(joined.into_iter().eq(0..100));
    });
}

#[test]
fn each_result_bears_the_id_of_its_task() {
    bounded(|| {
        let runtime = runtime(2);
        on_core(&runtime, || async {
            let mut set = JoinSet::new();
            let mut ids = BTreeSet::new();
            for n in 0..50 {
                let task = set.spawn(async move {
                    assert_ne!(n % 5, 0, "on purpose");
                    task::id()
                });
                ids.insert(task.id());
            }
            while let Some(result) = set.join_next_with_id().await {
                let id = match result {
                    Ok((id, inside)) => {
                        assert_eq!(id, inside);
                        id
                    }
                    Err(error) => {
                        assert!(error.is_panic());
                        error.id()
                    }
                };
                assert!(ids.remove(&id), "joined twice");
            }
            assert!(ids.is_empty());
            let id = set.spawn_local(async { task::id() }).id();
            task::yield_now().await;
            assert_eq!(set.try_join_next_with_id().unwrap().unwrap(), (id, id));
        });
    });
}

#[test]
fn a_set_is_made_of_futures_and_takes_more() {
    bounded(|| {
        let runtime = runtime(2);
        let _entered = runtime.handle().enter();
        let mut set: JoinSet<u64> = (0..10).map(|n| async move { n }).collect();
        set.extend((10..20).map(std::future::ready));
        let mut outputs = runtime.block_on(set.join_all());
        outputs.sort_unstable();
        assert!(outputs.into_iter().eq(0..20));
    });
}

#[test]
fn outputs_that_are_not_send_are_joined_where_they_are() {
    bounded(|| {
        let runtime = runtime(1);
        on_core(&runtime, || async {
            let shared = Rc::new(());
            let mut set = JoinSet::new();
            for _ in 0..10 {
                let shared = Rc::clone(&shared);
                set.spawn_local(async move {
                    task::yield_now().await;
                    shared
                });
            }
            let outputs = set.join_all().await;
            assert_eq!(Rc::strong_count(&shared), 11);
            drop(outputs);
        });
    });
}

#[test]
fn a_set_is_joined_on_any_executor_and_by_many_threads_in_turn() {
    bounded(|| {
        let runtime = runtime(2);
        let mut set = JoinSet::new();
        for n in 0..100 {
            set.insert(runtime.spawn(async move {
                task::yield_now().await;
                n
            }));
        }
        let mut sum = futures_executor::block_on(set.join_next()).unwrap().unwrap();
        for _ in 0..10 {
            let joiner = thread::spawn(move || {
                let joined: u32 = futures_executor::block_on(async {
                    let mut joined = 0;
                    for _ in 0..9 {
                        joined += set.join_next().await.unwrap().unwrap();
                    }
                    joined
                });
                (set, joined)
            });
            let joined;
            (set, joined) = joiner.join().unwrap();
            sum += joined;
        }
        let rest = runtime.block_on(runtime.spawn(set.join_all())).unwrap();
        assert_eq!(rest.len(), 9);
        assert_eq!(sum + rest.iter().sum::<u32>(), 4950);
    });
}

#[test]
fn a_join_that_is_dropped_loses_no_task() {
    bounded(|| {
        let runtime = runtime(2);
        let joined = on_core(&runtime, || async {
            let mut set = JoinSet::new();
            for n in 0..200 {
                set.spawn(async move {
                    task::yield_now().await;
                    n
                });
            }
            let mut joined = BTreeSet::new();
            while !set.is_empty() {
                // Polled once and dropped, ready or not.
                let next = poll_once(&mut pin!(set.join_next())).await;
                match next {
                    Poll::Ready(result) => assert!(joined.insert(result.unwrap().unwrap())),
                    Poll::Pending => task::yield_now().await,
                }
            }
            joined
        });
        assert!(joined.into_iter().eq(0..200));
    });
}

#[test]
fn the_last_who_asked_is_woken_and_nobody_is_woken_twice() {
    bounded(|| {
        let runtime = runtime(1);
        let (first, first_waker) = Count::pair();
        let (last, last_waker) = Count::pair();
        let mut set = JoinSet::new();
        let gate = Event::default();
        for _ in 0..10 {
            set.insert(runtime.spawn(gate.wait()));
        }
        assert!(set.poll_join_next(&mut Context::from_waker(&first_waker)).is_pending());
        for _ in 0..3 {
            assert!(set.poll_join_next(&mut Context::from_waker(&last_waker)).is_pending());
        }
        gate.set();
        wait_for("the wake", || last.get() > 0);
        wait_for("all tasks to end", || runtime.handle().metrics().cores.iter().all(|core| core.tasks == 0));
        assert_eq!((first.get(), last.get()), (0, 1), "one wake says that there is something");
        for _ in 0..10 {
            assert!(runtime.block_on(set.join_next()).unwrap().is_ok());
        }
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&last)), (2, 2), "no waker is kept");
    });
}

#[test]
fn who_waits_is_woken_for_a_task_that_comes_later() {
    bounded(|| {
        let runtime = runtime(1);
        let (count, waker) = Count::pair();
        let mut set = JoinSet::new();
        let never = set.insert(runtime.spawn(pending()));
        assert!(set.poll_join_next(&mut Context::from_waker(&waker)).is_pending());
        let ended = runtime.spawn(async { 7 });
        wait_for("the task to end", || ended.is_finished());
        set.insert(ended);
        assert_eq!(count.get(), 1);
        assert_eq!(set.try_join_next().unwrap().unwrap(), 7);
        assert!(set.poll_join_next(&mut Context::from_waker(&waker)).is_pending());
        set.insert(runtime.spawn(async { 8 }));
        wait_for("the wake", || count.get() == 2);
        assert_eq!(set.try_join_next().unwrap().unwrap(), 8);
        never.abort();
    });
}

#[test]
fn a_handle_that_somebody_else_has_polled_may_be_put_in() {
    bounded(|| {
        let runtime = runtime(1);
        let (count, waker) = Count::pair();
        let gate = Event::default();
        let mut task = runtime.spawn(gate.wait());
        assert!(pin!(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
        let mut set = JoinSet::new();
        set.insert(task);
        gate.set();
        assert!(runtime.block_on(set.join_next()).unwrap().is_ok());
        assert_eq!(count.get(), 0, "the set has taken over");
    });
}

#[test]
fn a_handle_that_has_given_its_output_panics_when_it_is_joined_and_spoils_nothing() {
    bounded(|| {
        let runtime = runtime(1);
        let mut task = runtime.spawn(async { 1 });
        assert_eq!(runtime.block_on(&mut task).unwrap(), 1);
        let mut set = JoinSet::new();
        set.insert(task);
        set.insert(runtime.spawn(async { 2 }));
        let panic =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| set.try_join_next())).unwrap_err();
        assert!(panic.downcast::<&str>().unwrap().contains("polled again"));
        assert_eq!(runtime.block_on(set.join_next()).unwrap().unwrap(), 2);
        assert!(set.is_empty());
    });
}

#[test]
fn joining_many_that_are_ready_lets_others_run_in_between() {
    bounded(|| {
        let runtime = runtime(1);
        let (limited, free) = on_core(&runtime, || async {
            let mut polls = [0, 0];
            for (round, polls) in polls.iter_mut().enumerate() {
                let mut set: JoinSet<()> = (0..1_000).map(|_| async {}).collect();
                while ringwork::runtime::Handle::current().metrics().cores[0].tasks > 1 {
                    task::yield_now().await;
                }
                let drain = async { while set.join_next().await.is_some() {} };
                let mut drain = match round {
                    0 => Box::pin(drain) as std::pin::Pin<Box<dyn Future<Output = ()> + '_>>,
                    _ => Box::pin(coop::unconstrained(drain)),
                };
                poll_fn(|cx| {
                    *polls += 1;
                    drain.as_mut().poll(cx)
                })
                .await;
            }
            (polls[0], polls[1])
        });
        assert!(limited >= 1_000 / 128, "{limited} polls");
        assert_eq!(free, 1);
    });
}
