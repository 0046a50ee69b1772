//! Which panics of a task are told, how often, and when.
#![forbid(unsafe_code)]

use crate::task::{self, Header, JoinHandle, Notified, Request, Schedule, TaskPanic, TaskRef};
use std::future::{pending, poll_fn, ready};
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// A scheduler without queues that keeps what it is told.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<String>>>);

impl Schedule for Listener {
    fn schedule(&self, task: Notified) {
        task.run();
    }

    fn request(&self, _: Request) {
        unreachable!("no task is local");
    }

    fn release(&self, _: &Header) -> Option<TaskRef> {
        None
    }

    fn panicked(&self, panic: &TaskPanic<'_>) {
        assert_eq!(task::try_id(), Some(panic.id()));
        assert_eq!(panic.spawned_at().file(), file!());
        self.0.lock().unwrap().push(panic.message().unwrap_or("no words").to_owned());
        panic!("foreign code");
    }
}

impl Listener {
    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> (Notified, JoinHandle<T>) {
        task::new_unowned(future, self.clone(), Location::caller())
    }

    #[track_caller]
    fn heard(&self, words: &[&str]) {
        assert_eq!(*self.0.lock().unwrap(), words);
        assert_eq!(Arc::strong_count(&self.0), 1, "a task is not freed");
    }
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// Ready at once, and panics when it is dropped, besides what its output does.
fn dropped_with<T: Send>(bomb: Bomb, mut output: Option<T>) -> impl Future<Output = T> + Send {
    poll_fn(move |_| {
        let _ = &bomb;
        Poll::Ready(output.take().unwrap())
    })
}

#[test]
fn a_poll_that_panics_is_told_once_however_its_future_ends() {
    let listener = Listener::default();
    let bomb = Bomb("of the future");
    let (turn, handle) = listener.spawn(poll_fn(move |_| -> Poll<()> {
        let _ = &bomb;
        panic!("of the poll")
    }));
    turn.run();
    drop(handle);
    listener.heard(&["of the poll"]);
}

#[test]
fn a_finished_future_that_panics_in_its_drop_is_told() {
    let listener = Listener::default();
    let (turn, handle) = listener.spawn(dropped_with(Bomb("future"), Some(7)));
    turn.run();
    assert!(handle.is_finished());
    drop(handle);
    listener.heard(&["future"]);
}

#[test]
fn an_aborted_future_that_panics_in_its_drop_is_told() {
    let listener = Listener::default();
    let bomb = Bomb("aborted");
    let (turn, handle) = listener.spawn(async move {
        let _bomb = bomb;
        pending::<()>().await;
    });
    turn.shutdown();
    drop(handle);
    listener.heard(&["aborted"]);
}

#[test]
fn an_output_that_panics_in_its_drop_is_told_whoever_drops_it() {
    let listener = Listener::default();
    let (turn, handle) = listener.spawn(ready(Bomb("kept")));
    turn.run();
    drop(handle);
    let (turn, handle) = listener.spawn(ready(Bomb("unwanted")));
    drop(handle);
    turn.run();
    listener.heard(&["kept", "unwanted"]);
}

#[test]
fn a_future_that_nobody_can_wake_and_that_panics_in_its_drop_is_told() {
    let listener = Listener::default();
    let bomb = Bomb("forgotten");
    let (turn, handle) = listener.spawn(async move {
        let _bomb = bomb;
        pending::<()>().await;
    });
    drop(handle);
    turn.run();
    listener.heard(&["forgotten"]);
}

#[test]
fn a_cancelled_task_and_one_that_gives_its_output_are_not_told() {
    let listener = Listener::default();
    let (turn, handle) = listener.spawn(ready(7));
    turn.run();
    drop(handle);
    let (turn, handle) = listener.spawn(pending::<()>());
    turn.shutdown();
    drop(handle);
    listener.heard(&[]);
}

#[test]
fn a_panic_without_words_is_told_without_words() {
    let listener = Listener::default();
    let (turn, handle) = listener.spawn(async { std::panic::panic_any(7_u8) });
    turn.run();
    drop::<JoinHandle<()>>(handle);
    listener.heard(&["no words"]);
}
