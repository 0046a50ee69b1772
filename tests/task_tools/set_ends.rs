//! The end of a set and of its tasks: aborted, detached, panicked, gone with a runtime.

use crate::kit::{Event, OnDrop, bounded, poll_once, runtime, wait_for};
use futures_executor::block_on;
use ringwork::task::{self, JoinSet};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// Tells the core on which it is dropped.
fn teller(sender: &Sender<Option<usize>>) -> OnDrop<impl FnMut() + Send + use<>> {
    let sender = sender.clone();
    OnDrop(move || sender.send(ringwork::core::current()).unwrap())
}

/// Holds `guard` for ever.
async fn hold<G>(_guard: G) {
    pending().await
}

fn cores(receiver: &Receiver<Option<usize>>) -> Vec<Option<usize>> {
    let mut cores: Vec<_> = receiver.iter().collect();
    cores.sort_unstable();
    cores
}

#[test]
fn a_dropped_set_aborts_its_tasks_on_their_own_cores() {
    bounded(|| {
        let runtime = runtime(2);
        let (sender, receiver) = channel();
        let mut set = JoinSet::new();
        for n in 0..10 {
            let teller = teller(&sender);
            set.insert(runtime.handle().spawn_on(n % 2, move || hold(teller)));
        }
        // An ended one is there as well.
        set.insert(runtime.spawn(async {}));
        drop(sender);
        drop(set);
        assert_eq!(cores(&receiver), [[Some(0); 5], [Some(1); 5]].concat());
    });
}

#[test]
fn an_aborted_task_takes_the_tasks_of_its_set_along() {
    bounded(|| {
        let runtime = runtime(2);
        let (sender, receiver) = channel();
        let (here, there) = (teller(&sender), teller(&sender));
        drop(sender);
        let ready = Event::default();
        let started = ready.clone();
        let parent = runtime.handle().spawn_on(0, move || async move {
            let mut set = JoinSet::new();
            set.spawn_on(1, move || hold(there));
            set.spawn_local(hold(here));
            started.set();
            set.join_next().await;
        });
        runtime.block_on(ready.wait());
        parent.abort();
        assert!(runtime.block_on(parent).unwrap_err().is_cancelled());
        assert_eq!(cores(&receiver), [Some(0), Some(1)]);
    });
}

#[test]
fn aborted_tasks_stay_in_the_set_until_they_are_joined() {
    bounded(|| {
        let runtime = runtime(1);
        let mut set = JoinSet::new();
        for _ in 0..5 {
            set.insert(runtime.spawn(pending()));
        }
        let ended = runtime.spawn(async { 7 });
        wait_for("the task to end", || ended.is_finished());
        set.insert(ended);
        set.abort_all();
        assert_eq!(set.len(), 6);
        let mut cancelled = 0;
        while let Some(result) = runtime.block_on(set.join_next()) {
            match result {
                Ok(output) => assert_eq!(output, 7, "an output that was there is kept"),
                Err(error) => cancelled += usize::from(error.is_cancelled()),
            }
        }
        assert_eq!(cancelled, 5);
        // The set goes on.
        set.insert(runtime.spawn(async { 8 }));
        assert_eq!(runtime.block_on(set.join_next()).unwrap().unwrap(), 8);
    });
}

#[test]
fn one_task_of_a_set_is_aborted_by_its_own_handle() {
    bounded(|| {
        let runtime = runtime(1);
        let mut set = JoinSet::new();
        let tasks: Vec<_> = (0..3).map(|_| set.insert(runtime.spawn(pending::<()>()))).collect();
        tasks[1].abort();
        let error = runtime.block_on(set.join_next()).unwrap().unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!(error.id(), tasks[1].id());
        assert_eq!(set.len(), 2);
        assert!(set.try_join_next().is_none());
    });
}

#[test]
fn detached_tasks_run_on_and_nobody_joins_them() {
    bounded(|| {
        let runtime = runtime(2);
        let (go, ended) = (Event::default(), Arc::new(AtomicUsize::new(0)));
        let mut set = JoinSet::new();
        for _ in 0..10 {
            let (gate, ended) = (go.wait(), Arc::clone(&ended));
            set.insert(runtime.spawn(async move {
                gate.await;
                ended.fetch_add(1, Ordering::SeqCst);
            }));
        }
        set.detach_all();
        assert!(set.is_empty());
        assert!(runtime.block_on(set.join_next()).is_none());
        go.set();
        wait_for("the tasks to end", || ended.load(Ordering::SeqCst) == 10);
        assert!(set.try_join_next().is_none());
        drop(set);
    });
}

#[test]
fn who_waits_for_a_set_that_detaches_its_tasks_is_told_that_it_is_empty() {
    struct Told(Event);
    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.set();
        }
    }
    bounded(|| {
        let runtime = runtime(1);
        let mut set = JoinSet::new();
        set.insert(runtime.spawn(pending::<()>()));
        let told = Event::default();
        let waker = Waker::from(Arc::new(Told(told.clone())));
        let mut context = Context::from_waker(&waker);
        assert!(set.poll_join_next(&mut context).is_pending());
        set.detach_all();
        assert!(told.is_set());
        assert!(matches!(set.poll_join_next(&mut context), Poll::Ready(None)));
    });
}

#[test]
fn tasks_of_a_runtime_that_is_gone_are_joined_as_cancelled() {
    bounded(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let mut set = JoinSet::new();
        for core in 0..2 {
            set.insert(handle.spawn_on(core, || async { pending::<()>().await }));
        }
        set.insert(handle.spawn(pending()));
        drop(runtime);
        // And those that come when it is gone.
        let entered = handle.enter();
        set.spawn(async {});
        set.spawn_on(1, || async {});
        set.spawn_blocking(|| ());
        set.spawn_heavy(|| ());
        drop(entered);
        assert_eq!(set.len(), 7);
        for _ in 0..7 {
            assert!(block_on(set.join_next()).unwrap().unwrap_err().is_cancelled());
        }
        assert!(block_on(set.join_next()).is_none());
    });
}

#[test]
fn who_waits_for_a_set_is_woken_when_the_runtime_goes() {
    bounded(|| {
        let runtime = runtime(2);
        let mut set = JoinSet::new();
        set.insert(runtime.spawn(pending::<()>()));
        let waits = Event::default();
        let waiting = waits.clone();
        let joiner = thread::spawn(move || {
            block_on(async {
                assert!(poll_once(&mut pin!(set.join_next())).await.is_pending());
                waiting.set();
                set.join_next().await
            })
        });
        waits.wait_blocking();
        drop(runtime);
        assert!(joiner.join().unwrap().unwrap().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_panic_is_the_result_of_its_task_and_of_no_other() {
    bounded(|| {
        let runtime = runtime(2);
        let mut set = JoinSet::new();
        for n in 0..20 {
            set.insert(runtime.spawn(async move {
                assert!(n % 4 != 0, "on purpose");
                n
            }));
        }
        let (mut good, mut bad) = (0, 0);
        while let Some(result) = runtime.block_on(set.join_next()) {
            match result {
                Ok(_) => good += 1,
                Err(error) => {
                    assert!(error.to_string().ends_with("panicked: on purpose"), "{error}");
                    bad += 1;
                }
            }
        }
        assert_eq!((good, bad), (15, 5));
    });
}

#[test]
fn joining_all_goes_on_with_a_panic_and_aborts_the_rest() {
    bounded(|| {
        let runtime = runtime(2);
        let (sender, receiver) = channel();
        let teller = teller(&sender);
        drop(sender);
        let mut set = JoinSet::new();
        set.insert(runtime.handle().spawn_on(1, move || hold(teller)));
        set.insert(runtime.spawn(async { std::panic::panic_any(42) }));
        let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(set.join_all()))).unwrap_err();
        assert_eq!(*panic.downcast::<i32>().unwrap(), 42);
        assert_eq!(cores(&receiver), [Some(1)]);
    });
}

#[test]
fn joining_all_names_a_task_that_was_cancelled() {
    bounded(|| {
        let runtime = runtime(1);
        let mut set = JoinSet::new();
        let task =
            set.insert(task::Builder::new().name("lost").spawn_with(runtime.handle(), pending::<()>()));
        task.abort();
        let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(set.join_all()))).unwrap_err();
        let message = panic.downcast::<String>().unwrap();
        assert!(message.contains("\"lost\"") && message.ends_with("was cancelled"), "{message}");
    });
}

#[test]
fn after_a_shutdown_every_future_is_dropped_and_every_job_done() {
    bounded(|| {
        let runtime = runtime(2);
        let (sender, receiver) = channel();
        let mut set = JoinSet::new();
        for n in 0..4 {
            let teller = teller(&sender);
            set.insert(runtime.handle().spawn_on(n % 2, move || hold(teller)));
        }
        drop(sender);
        let (begun, done) = (Event::default(), Event::default());
        let (begin, end, gate) = (begun.clone(), done.clone(), Event::default());
        let go = gate.clone();
        set.insert(runtime.handle().spawn_blocking(move || {
            begin.set();
            gate.wait_blocking();
            end.set();
        }));
        begun.wait_blocking();
        set.insert(runtime.spawn(async { panic!("nobody hears of it") }));
        runtime.block_on(async {
            let mut shutdown = pin!(set.shutdown());
            assert!(poll_once(&mut shutdown).await.is_pending());
            go.set();
            shutdown.await;
        });
        assert!(set.is_empty() && done.is_set());
        assert_eq!(receiver.try_iter().count(), 4);
        set.insert(runtime.spawn(async {}));
        assert!(runtime.block_on(set.join_next()).unwrap().is_ok());
    });
}

#[test]
fn outputs_nobody_joins_are_dropped_with_the_set_even_if_that_panics() {
    struct Bomb(Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("dropped");
        }
    }
    bounded(|| {
        let runtime = runtime(1);
        for detach in [false, true] {
            let drops = Arc::new(AtomicUsize::new(0));
            let mut set = JoinSet::new();
            for _ in 0..3 {
                let bomb = Bomb(Arc::clone(&drops));
                set.insert(runtime.spawn(async move { bomb }));
            }
            wait_for("the tasks to end", || {
                runtime.handle().metrics().cores.iter().all(|core| core.tasks == 0)
            });
            if detach {
                set.detach_all();
                assert_eq!(drops.load(Ordering::SeqCst), 3);
            }
            drop(set);
            assert_eq!(drops.load(Ordering::SeqCst), 3);
        }
    });
}

/// A waker whose end waits for what only the set's other waker can tell.
struct Slow {
    go: Event,
    told: Arc<Mutex<Option<Receiver<()>>>>,
}

impl Wake for Slow {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.go.set();
        let told = self.told.lock().unwrap().take().unwrap();
        told.recv().unwrap();
    }
}

#[test]
fn a_task_may_end_while_the_waker_before_is_dropped() {
    struct Tell(Mutex<Sender<()>>);
    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().send(()).unwrap();
        }
    }
    bounded(|| {
        let runtime = runtime(1);
        let gate = Event::default();
        let mut set = JoinSet::new();
        set.insert(runtime.spawn(gate.wait()));
        let (sender, receiver) = channel();
        let told = Arc::new(Mutex::new(Some(receiver)));
        let first = Waker::from(Arc::new(Slow { go: gate, told }));
        assert!(set.poll_join_next(&mut Context::from_waker(&first)).is_pending());
        drop(first);
        let second = Waker::from(Arc::new(Tell(Mutex::new(sender))));
        assert!(set.poll_join_next(&mut Context::from_waker(&second)).is_pending());
        assert!(set.try_join_next().unwrap().is_ok());
    });
}

/// A waker that panics when it is woken, or else when it is dropped.
struct Bomb {
    when_woken: bool,
}

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        assert!(!self.when_woken, "in the call of a waker");
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(self.when_woken || thread::panicking(), "in the drop of a waker");
    }
}

#[test]
fn a_handle_comes_into_a_set_also_if_the_waker_before_panics_when_it_is_dropped() {
    bounded(|| {
        let runtime = runtime(1);
        let mut set = JoinSet::new();
        // A place that is free again.
        set.insert(runtime.spawn(async {}));
        assert!(block_on(set.join_next()).unwrap().is_ok());
        for is_bound in [false, true] {
            let gate = Event::default();
            let wait = gate.wait();
            let mut task =
                if is_bound { runtime.handle().spawn_on(0, move || wait) } else { runtime.spawn(wait) };
            let waker = Waker::from(Arc::new(Bomb { when_woken: false }));
            assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            set.insert(task);
            assert_eq!(set.len(), 1);
            gate.set();
            assert!(block_on(set.join_next()).unwrap().is_ok());
            assert!(set.is_empty());
        }
    });
}

#[test]
fn a_handle_comes_into_a_set_also_if_who_waits_for_the_set_panics_when_woken() {
    bounded(|| {
        let runtime = runtime(1);
        let mut set = JoinSet::new();
        set.insert(runtime.spawn(pending::<()>()));
        let waker = Waker::from(Arc::new(Bomb { when_woken: true }));
        assert!(set.poll_join_next(&mut Context::from_waker(&waker)).is_pending());
        let task = runtime.spawn(async {});
        wait_for("the end", || task.is_finished());
        let id = task.id();
        set.insert(task);
        assert_eq!(set.len(), 2);
        assert_eq!(block_on(set.join_next_with_id()).unwrap().unwrap().0, id);
        set.abort_all();
        assert!(block_on(set.join_next()).unwrap().unwrap_err().is_cancelled());
    });
}
