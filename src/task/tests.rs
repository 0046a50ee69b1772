//! Tests of the room as a whole, with schedulers small enough to see through.
//!
//! Owns [`Bench`] (a queue that the test empties by hand) and the behaviours of tasks on one thread. What
//! needs many threads is in `stress.rs`; interleavings are checked in `tests/loom`.

use super::*;
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{pending, poll_fn, ready};
use std::panic::{Location, panic_any};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// A queue and a list, emptied by the test.
#[derive(Default)]
pub(super) struct Bench {
    queue: Mutex<VecDeque<Notified>>,
    requests: Mutex<Vec<Request>>,
    pub(super) owned: OwnedTasks,
}

impl Default for OwnedTasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Schedule for Arc<Bench> {
    fn schedule(&self, task: Notified) {
        self.queue.lock().unwrap().push_back(task);
    }

    fn request(&self, request: Request) {
        self.requests.lock().unwrap().push(request);
    }

    fn release(&self, task: &Header) -> Option<TaskRef> {
        self.owned.remove(task)
    }
}

pub(super) trait Spawn {
    fn spawn<F: Future<Output: Send> + Send + 'static>(&self, future: F) -> JoinHandle<F::Output>;
    fn spawn_local<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output>;
    fn next(&self) -> Option<Notified>;
    fn turn(&self) -> bool;
    fn run(&self);
}

impl Spawn for Arc<Bench> {
    #[track_caller]
    fn spawn<F: Future<Output: Send> + Send + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let (task, notified, handle) = new(future, Arc::clone(self), Location::caller());
        admit(self, task, notified);
        handle
    }

    #[track_caller]
    fn spawn_local<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let (task, notified, handle) = new_local(future, Arc::clone(self), Location::caller());
        admit(self, task, notified);
        handle
    }

    fn next(&self) -> Option<Notified> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        for request in requests {
            let task = Notified::from_message(request.into_message()).unwrap();
            self.queue.lock().unwrap().extend(task);
        }
        self.queue.lock().unwrap().pop_front()
    }

    fn turn(&self) -> bool {
        self.next().map(Notified::run).is_some()
    }

    fn run(&self) {
        while self.turn() {}
    }
}

fn admit(bench: &Arc<Bench>, task: TaskRef, notified: Notified) {
    if bench.owned.insert(task) {
        bench.schedule(notified);
    } else {
        notified.shutdown();
    }
}

/// Calls its closure when dropped.
pub(super) struct OnDrop<C: FnMut()>(pub(super) C);

impl<C: FnMut()> Drop for OnDrop<C> {
    fn drop(&mut self) {
        (self.0)();
    }
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counting_waker() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count(AtomicUsize::new(0)));
    (Arc::clone(&count), Waker::from(count))
}

fn poll<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    std::pin::Pin::new(handle).poll(&mut Context::from_waker(waker))
}

pub(super) fn finished<T>(mut handle: JoinHandle<T>) -> Result<T, JoinError> {
    match poll(&mut handle, Waker::noop()) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the task is not over"),
    }
}

/// A future that stores the waker of each poll and is never ready.
pub(super) fn waiting() -> (Arc<Mutex<Option<Waker>>>, impl Future<Output = ()> + Send) {
    let place = Arc::new(Mutex::new(None));
    let store = Arc::clone(&place);
    (
        place,
        poll_fn(move |cx| {
            *store.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        }),
    )
}

#[test]
fn a_task_gives_its_output_and_leaves_nothing_behind() {
    let bench = Arc::new(Bench::default());
    let handle = bench.spawn(async { 6 * 7 });
    assert_eq!(bench.owned.len(), 1);
    assert!(!handle.is_finished());
    bench.run();
    assert!(handle.is_finished());
    assert_eq!(bench.owned.len(), 0);
    assert_eq!(finished(handle).unwrap(), 42);
    assert_eq!(Arc::strong_count(&bench), 1);
}

#[test]
fn the_joiner_is_woken_once_by_the_waker_of_its_last_poll() {
    let bench = Arc::new(Bench::default());
    let mut handle = bench.spawn(ready(1));
    let ((first, first_waker), (second, second_waker)) = (counting_waker(), counting_waker());
    assert!(poll(&mut handle, &first_waker).is_pending());
    assert!(poll(&mut handle, &second_waker).is_pending());
    assert!(poll(&mut handle, &second_waker).is_pending());
    assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (2, 3));
    bench.run();
    assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
    assert_eq!(Arc::strong_count(&second), 2);
    assert_eq!(finished(handle).unwrap(), 1);
}

#[test]
fn a_dropped_handle_takes_its_waker_along_and_detaches() {
    let bench = Arc::new(Bench::default());
    let ran = Arc::new(AtomicUsize::new(0));
    let inside = Arc::clone(&ran);
    let mut handle = bench.spawn(async move { inside.fetch_add(1, Ordering::SeqCst) });
    let (count, waker) = counting_waker();
    assert!(poll(&mut handle, &waker).is_pending());
    drop(handle);
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1);
    bench.run();
    assert_eq!((ran.load(Ordering::SeqCst), Arc::strong_count(&ran)), (1, 1));
    assert_eq!(Arc::strong_count(&bench), 1);
}

#[test]
fn a_task_woken_by_its_own_poll_goes_to_the_back() {
    let bench = Arc::new(Bench::default());
    let order = Arc::new(Mutex::new(Vec::new()));
    for name in ["a", "b"] {
        let order = Arc::clone(&order);
        drop(bench.spawn(async move {
            for _ in 0..2 {
                order.lock().unwrap().push(name);
                yield_now().await;
            }
        }));
    }
    bench.run();
    assert_eq!(*order.lock().unwrap(), ["a", "b", "a", "b"]);
}

#[test]
fn many_wakes_make_one_turn() {
    let bench = Arc::new(Bench::default());
    let (place, future) = waiting();
    drop(bench.spawn(future));
    bench.run();
    let waker = place.lock().unwrap().take().unwrap();
    waker.wake_by_ref();
    waker.clone().wake();
    waker.wake();
    assert!(bench.turn());
    assert!(!bench.turn());
    bench.owned.close_and_shutdown();
}

#[test]
fn a_waker_keeps_neither_future_nor_output_and_is_harmless_after_the_end() {
    let bench = Arc::new(Bench::default());
    let (place, wait) = waiting();
    let (held, output) = (Arc::new(()), Arc::new(()));
    let (inside, result) = (Arc::clone(&held), Arc::clone(&output));
    let handle = bench.spawn(async move {
        let _inside = inside;
        futures_util::future::select(std::pin::pin!(wait), ready(())).await;
        result
    });
    bench.run();
    assert_eq!((Arc::strong_count(&held), Arc::strong_count(&output)), (1, 2));
    drop(handle);
    assert_eq!(Arc::strong_count(&output), 1);
    let waker = place.lock().unwrap().take().unwrap();
    let abandoned = bench.owned.len();
    waker.wake_by_ref();
    waker.wake();
    assert!(!bench.turn());
    assert_eq!((abandoned, Arc::strong_count(&bench)), (0, 1));
}

#[test]
fn an_output_that_nobody_waits_for_is_dropped_at_the_end_and_not_with_the_last_waker() {
    let bench = Arc::new(Bench::default());
    let output = Arc::new(());
    let (place, mut result) = (Arc::new(Mutex::new(None)), Some(Arc::clone(&output)));
    let store = Arc::clone(&place);
    drop(bench.spawn(poll_fn(move |cx| {
        *store.lock().unwrap() = Some(cx.waker().clone());
        Poll::Ready(result.take())
    })));
    bench.run();
    assert_eq!(Arc::strong_count(&output), 1);
    drop(place);
    assert_eq!(Arc::strong_count(&bench), 1);
}

#[test]
fn a_panic_ends_the_task_and_reaches_the_handle() {
    let bench = Arc::new(Bench::default());
    let handle = bench.spawn(async { panic_any(String::from("out of paper")) });
    let id = handle.id();
    bench.run();
    let error: JoinError = finished::<()>(handle).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.id(), id);
    let text = error.to_string();
    assert!(text.starts_with(&format!("task {id} spawned at src/task/tests.rs:")), "{text}");
    assert!(text.ends_with(" panicked: out of paper"), "{text}");
    assert_eq!(*error.into_panic().downcast::<String>().unwrap(), "out of paper");
}

#[test]
fn a_future_that_panics_in_its_drop_has_failed() {
    let bench = Arc::new(Bench::default());
    let bomb = || OnDrop(|| panic!("in the drop"));
    let (first, second) = (bomb(), bomb());
    let ended = bench.spawn(poll_fn(move |_| {
        let _ = &first;
        Poll::Ready(())
    }));
    let aborted = bench.spawn(poll_fn(move |_| {
        let _ = &second;
        Poll::<()>::Pending
    }));
    bench.run();
    aborted.abort();
    bench.run();
    for handle in [ended, aborted] {
        assert_eq!(*finished(handle).unwrap_err().into_panic().downcast::<&str>().unwrap(), "in the drop");
    }
    assert_eq!((bench.owned.len(), Arc::strong_count(&bench)), (0, 1));
}

#[test]
fn the_first_of_two_panics_is_reported() {
    let bench = Arc::new(Bench::default());
    let bomb = OnDrop(|| panic!("second"));
    let handle = bench.spawn(poll_fn(move |_| -> Poll<()> {
        let _ = &bomb;
        panic_any(1_u8)
    }));
    bench.run();
    assert_eq!(*finished(handle).unwrap_err().into_panic().downcast::<u8>().unwrap(), 1);
}

#[test]
fn an_output_that_panics_in_its_drop_is_contained() {
    let bench = Arc::new(Bench::default());
    let (first, second) = (OnDrop(|| panic!("output")), OnDrop(|| panic!("output")));
    let late = bench.spawn(async move { first });
    drop(bench.spawn(async move { second }));
    bench.run();
    drop(late);
    assert_eq!((bench.owned.len(), Arc::strong_count(&bench)), (0, 1));
}

#[test]
fn an_aborted_task_is_cancelled_wherever_it_waits() {
    let bench = Arc::new(Bench::default());
    let held = Arc::new(());
    let hold = || {
        let held = Arc::clone(&held);
        async move {
            let _held = held;
            pending::<()>().await;
        }
    };
    let (queued, idle) = (bench.spawn(hold()), bench.spawn(hold()));
    queued.abort();
    bench.run();
    assert!(finished(queued).unwrap_err().is_cancelled());
    let abort = idle.abort_handle();
    abort.clone().abort();
    abort.abort();
    assert_eq!(Arc::strong_count(&held), 2, "an abort drops nothing by itself");
    bench.run();
    assert!(abort.is_finished());
    let error = finished(idle).unwrap_err();
    assert!(error.to_string().ends_with("was cancelled"));
    assert!(std::io::Error::from(error).to_string().contains("was cancelled"));
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a_task_that_aborts_itself_ends_with_that_poll_unless_it_is_ready() {
    let bench = Arc::new(Bench::default());
    let own: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
    let inside = Arc::clone(&own);
    let pends = bench.spawn(async move {
        inside.lock().unwrap().take().unwrap().abort();
        pending::<()>().await;
    });
    *own.lock().unwrap() = Some(pends.abort_handle());
    bench.run();
    assert!(finished(pends).unwrap_err().is_cancelled());
    let inside = Arc::clone(&own);
    let ready = bench.spawn(async move { inside.lock().unwrap().take().unwrap().abort() });
    *own.lock().unwrap() = Some(ready.abort_handle());
    bench.run();
    assert!(finished(ready).is_ok());
}

#[test]
fn a_task_may_end_itself_and_drop_its_own_handle_and_waker_in_its_drop() {
    let bench = Arc::new(Bench::default());
    let (place, _) = waiting();
    let handle_place: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::default();
    let (waker, handle) = (Arc::clone(&place), Arc::clone(&handle_place));
    let on_drop = OnDrop(move || {
        let waker: Option<Waker> = waker.lock().unwrap().take();
        waker.unwrap().wake();
        drop(handle.lock().unwrap().take());
    });
    let store = Arc::clone(&place);
    *handle_place.lock().unwrap() = Some(bench.spawn(poll_fn(move |cx| {
        let _ = &on_drop;
        *store.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    })));
    bench.run();
    bench.owned.close_and_shutdown();
    assert!(!bench.turn());
    assert!(handle_place.lock().unwrap().is_none());
    assert_eq!(Arc::strong_count(&bench), 1);
}

#[test]
fn the_id_is_known_in_the_poll_and_in_the_drop_and_not_outside() {
    let bench = Arc::new(Bench::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inside = Arc::clone(&seen);
    let on_drop = OnDrop(move || inside.lock().unwrap().push(id()));
    let inside = Arc::clone(&seen);
    let handle = bench.spawn(async move {
        let _on_drop = on_drop;
        inside.lock().unwrap().push(id());
        pending::<()>().await;
    });
    bench.run();
    handle.abort();
    bench.run();
    assert_eq!(*seen.lock().unwrap(), [handle.id(), handle.id()]);
    assert_eq!(try_id(), None);
}

#[test]
fn closing_drops_the_futures_and_refuses_later_tasks() {
    let bench = Arc::new(Bench::default());
    let held = Rc::new(Cell::new(0));
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let held = Rc::clone(&held);
            bench.spawn_local(async move {
                let _on_drop = OnDrop(|| held.set(held.get() + 1));
                pending::<()>().await;
            })
        })
        .collect();
    let panics = bench.spawn(async {
        let _bomb = OnDrop(|| panic!("in the drop"));
        pending::<()>().await;
    });
    bench.run();
    assert_eq!(bench.owned.len(), 4);
    bench.owned.close_and_shutdown();
    assert_eq!((held.get(), Rc::strong_count(&held), bench.owned.len()), (3, 1, 0));
    assert!(handles.into_iter().all(|handle| finished(handle).unwrap_err().is_cancelled()));
    assert!(finished(panics).unwrap_err().is_panic());
    assert!(finished(bench.spawn(ready(()))).unwrap_err().is_cancelled());
    assert!(finished(bench.spawn_local(ready(()))).unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&bench), 1);
}

#[test]
fn a_task_shut_down_while_it_is_queued_ignores_its_turn() {
    let bench = Arc::new(Bench::default());
    let handle = bench.spawn(async { unreachable!("it was shut down") });
    bench.owned.close_and_shutdown();
    assert!(bench.turn());
    assert!(finished::<()>(handle).unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&bench), 1);
}

#[test]
fn a_task_that_shuts_its_own_list_down_is_cancelled_when_it_pends() {
    let bench = Arc::new(Bench::default());
    let inside = Arc::clone(&bench);
    let handle = bench.spawn(async move {
        inside.owned.close_and_shutdown();
        drop(inside);
        yield_now().await;
    });
    bench.run();
    assert!(finished(handle).unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&bench), 1);
}

#[test]
fn an_unowned_task_whose_turn_is_dropped_everywhere_drops_its_future() {
    let bench = Arc::new(Bench::default());
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let future = async move {
        let _inside = inside;
        pending::<()>().await;
    };
    let (notified, handle) = new_unowned(future, Arc::clone(&bench), Location::caller());
    drop(handle);
    assert_eq!(Arc::strong_count(&held), 2);
    notified.run();
    assert_eq!((Arc::strong_count(&held), Arc::strong_count(&bench)), (1, 1));
}

#[test]
#[should_panic(expected = "polled again after it had given its output")]
fn a_handle_polled_after_its_output_says_so() {
    let bench = Arc::new(Bench::default());
    let mut handle = bench.spawn(ready(()));
    bench.run();
    assert!(poll(&mut handle, Waker::noop()).is_ready());
    let _ = poll(&mut handle, Waker::noop());
}
