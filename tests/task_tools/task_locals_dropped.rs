//! Task-local values while things are dropped: the future finds its value, however it ends.

use crate::kit::{Event, OnDrop, bounded, runtime};
use ringwork::runtime::{Builder, Runtime};
use std::cell::RefCell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

ringwork::task_local! {
    static NUMBER: u64;
    static NOTED: Noted;
}

/// Writes down its own drop.
struct Noted(Arc<Mutex<Vec<&'static str>>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("value");
    }
}

/// Tells, when it is dropped, which number is set then.
fn teller() -> (OnDrop<impl FnMut() + Send>, Receiver<Option<u64>>) {
    let (sender, receiver) = channel();
    (OnDrop(move || sender.send(NUMBER.try_get().ok()).unwrap()), receiver)
}

/// A future that holds `guard` for ever, after it has said that it began.
async fn hold<G>(guard: G, begun: Event) {
    let _guard = guard;
    begun.set();
    pending::<()>().await;
}

#[test]
fn a_future_that_completes_is_dropped_with_its_value() {
    bounded(|| {
        let runtime = runtime(1);
        let (teller, told) = teller();
        // Held by the future itself, not by its body: dropped after it is ready.
        let mut teller = Some(teller);
        let done = std::future::poll_fn(move |_| {
            let _held = &mut teller;
            std::task::Poll::Ready(())
        });
        runtime.block_on(runtime.spawn(NUMBER.scope(7, done))).unwrap();
        assert_eq!(told.recv().unwrap(), Some(7));
    });
}

#[test]
fn an_aborted_future_is_dropped_with_its_value_on_every_kind_of_task() {
    bounded(|| {
        let runtime = runtime(2);
        for kind in 0..3 {
            let (teller, told) = teller();
            let begun = Event::default();
            let begin = begun.clone();
            let task = match kind {
                0 => runtime.spawn(NUMBER.scope(7, hold(teller, begin))),
                1 => runtime.handle().spawn_on(1, || NUMBER.scope(7, hold(teller, begin))),
                _ => runtime.handle().spawn_on(0, || async {
                    let local = ringwork::spawn_local(NUMBER.scope(7, hold(teller, begin)));
                    let _abort = OnDrop(|| local.abort());
                    pending().await
                }),
            };
            runtime.block_on(begun.wait());
            task.abort();
            assert!(runtime.block_on(task).unwrap_err().is_cancelled());
            assert_eq!(told.recv().unwrap(), Some(7), "kind {kind}");
        }
    });
}

#[test]
fn a_future_aborted_before_its_first_poll_is_dropped_with_its_value() {
    bounded(|| {
        let runtime = runtime(1);
        let (teller, told) = teller();
        let parent = runtime.handle().spawn_on(0, || async {
            let task = ringwork::spawn(NUMBER.scope(7, hold(teller, Event::default())));
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        });
        runtime.block_on(parent).unwrap();
        assert_eq!(told.recv().unwrap(), Some(7));
    });
}

#[test]
fn an_output_that_nobody_takes_does_not_see_the_values_of_who_drops_its_handle() {
    bounded(|| {
        let runtime = runtime(1);
        // The handle goes before the task has run and behind its end.
        for (is_local, yields) in [(true, 0), (true, 4), (false, 0), (false, 4)] {
            let (teller, told) = teller();
            let parent = runtime.handle().spawn_on(0, move || {
                NUMBER.scope(7, async move {
                    let output = async { teller };
                    let handle =
                        if is_local { ringwork::spawn_local(output) } else { ringwork::spawn(output) };
                    for _ in 0..yields {
                        ringwork::task::yield_now().await;
                    }
                    assert_eq!(handle.is_finished(), yields > 0);
                    drop(handle);
                    assert_eq!(NUMBER.get(), 7);
                })
            });
            runtime.block_on(parent).unwrap();
            assert_eq!(told.recv().unwrap(), None, "local: {is_local}, {yields} yields");
        }
    });
}

/// Runs what `refuse` does with a teller as a task that has a value, and that the teller sees none of it.
fn sees_nothing<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    refuse: impl FnOnce(Box<dyn Send>) -> F + Send + 'static,
) {
    let (teller, told) = teller();
    let task = runtime.spawn(NUMBER.scope(7, async move {
        refuse(Box::new(teller)).await;
        assert_eq!(NUMBER.get(), 7, "its own value is there behind it");
    }));
    runtime.block_on(task).unwrap();
    assert_eq!(told.recv().unwrap(), None);
}

/// Within a poll, which has values of its own.
#[test]
fn what_an_abort_drops_at_once_does_not_see_the_values_of_who_aborts() {
    bounded(|| {
        let builder = Builder::new().cores(1).pin(ringwork::runtime::Pin::Off);
        let runtime = builder.max_blocking_threads(1).build().unwrap();
        let (open, gate) = channel::<()>();
        let begun = Event::default();
        let began = begun.clone();
        let busy = runtime.handle().spawn_blocking(move || {
            began.set();
            let _ = gate.recv();
        });
        runtime.block_on(begun.wait());
        sees_nothing(&runtime, |teller| async move {
            ringwork::spawn_blocking(move || drop(teller)).abort();
        });
        // Its own value is not the aborter's either.
        let (teller, told) = teller();
        let task = runtime.spawn(NUMBER.scope(7, async move {
            let own = NUMBER.scope(8, hold(teller, Event::default()));
            ringwork::spawn_blocking(move || drop(own)).abort();
        }));
        runtime.block_on(task).unwrap();
        assert_eq!(told.recv().unwrap(), Some(8));
        drop(open);
        runtime.block_on(busy).unwrap();
    });
}

#[test]
fn what_a_refused_spawn_drops_does_not_see_the_values_of_who_spawns() {
    bounded(|| {
        let (here, gone) = (runtime(1), runtime(1));
        let ended = gone.handle().clone();
        drop(gone);
        let handle = ended.clone();
        sees_nothing(&here, |teller| async move {
            assert!(handle.spawn(async move { drop(teller) }).await.unwrap_err().is_cancelled());
        });
        let handle = ended.clone();
        sees_nothing(&here, |teller| async move {
            assert!(handle.spawn_on(0, || async { drop(teller) }).await.unwrap_err().is_cancelled());
        });
        sees_nothing(&here, |teller| async move {
            assert!(ended.spawn_blocking(|| drop(teller)).await.unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn a_future_that_panics_is_dropped_with_its_value() {
    bounded(|| {
        let runtime = runtime(1);
        let (inside, told_inside) = teller();
        let (outside, told_outside) = teller();
        let mut outside = Some(outside);
        let body = async move {
            let _inside = inside;
            ringwork::task::yield_now().await;
            panic!("on purpose");
        };
        let mut body = Box::pin(body);
        let holds = std::future::poll_fn(move |cx| {
            let _held = &mut outside;
            body.as_mut().poll(cx)
        });
        let task = runtime.spawn(NUMBER.scope(7, holds));
        assert!(runtime.block_on(task).unwrap_err().is_panic());
        assert_eq!(told_inside.recv().unwrap(), Some(7), "dropped by the unwinding");
        assert_eq!(told_outside.recv().unwrap(), Some(7), "dropped afterwards");
    });
}

#[test]
fn a_future_that_goes_down_with_its_runtime_is_dropped_with_its_value() {
    bounded(|| {
        let runtime = runtime(2);
        let mut all = Vec::new();
        for core in 0..2 {
            let (teller, told) = teller();
            let begun = Event::default();
            let begin = begun.clone();
            drop(runtime.handle().spawn_on(core, || NUMBER.scope(7, hold(teller, begin))));
            runtime.block_on(begun.wait());
            all.push(told);
        }
        drop(runtime);
        for told in all {
            assert_eq!(told.recv().unwrap(), Some(7));
        }
    });
}

#[test]
fn a_future_dropped_inside_another_scope_finds_its_own_value() {
    let (teller, told) = teller();
    let scoped = NUMBER.scope(7, hold(teller, Event::default()));
    NUMBER.sync_scope(8, || {
        drop(scoped);
        assert_eq!(NUMBER.get(), 8);
    });
    assert_eq!(told.recv().unwrap(), Some(7));
}

#[test]
fn a_future_dropped_inside_with_is_dropped_all_the_same() {
    let (teller, told) = teller();
    let scoped = NUMBER.scope(7, hold(teller, Event::default()));
    NUMBER.sync_scope(8, || NUMBER.with(|_| drop(scoped)));
    assert_eq!(told.recv().unwrap(), Some(8), "with the value that is lent out");
    assert!(told.recv().is_err(), "once");
}

#[test]
fn a_value_is_dropped_after_its_future() {
    let order: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let noted = Arc::clone(&order);
    let guard = OnDrop(move || noted.lock().unwrap().push("future"));
    drop(NOTED.scope(Noted(Arc::clone(&order)), hold(guard, Event::default())));
    let noted = Arc::clone(&order);
    futures_executor::block_on(NOTED.scope(Noted(Arc::clone(&order)), async move {
        NOTED.with(|_| noted.lock().unwrap().push("future"));
    }));
    assert_eq!(*order.lock().unwrap(), ["future", "value", "future", "value"]);
}

/// A scoped future in a thread-local.
type Kept = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

#[test]
fn a_future_in_a_dying_threads_locals_is_dropped_once_without_harm() {
    fn kept(sender: Sender<Option<u64>>, used_first: bool) {
        let guard = OnDrop(move || sender.send(NUMBER.try_get().ok()).unwrap());
        if used_first {
            // So that it is destroyed after the other.
            NUMBER.sync_scope(1, || ());
        }
        let future = Box::pin(NUMBER.scope(7, hold(guard, Event::default())));
        KEPT.with(|kept| *kept.borrow_mut() = Some(future));
    }
    for used_first in [false, true] {
        let (sender, told) = channel();
        thread::spawn(move || kept(sender, used_first)).join().unwrap();
        assert_eq!(told.iter().count(), 1);
    }
}
