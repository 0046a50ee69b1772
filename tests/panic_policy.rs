//! What a panic of a task means for its runtime: nothing, a call, or the end.

mod kit;

use kit::{Event, OnDrop, bounded, wait_for};
use ringwork::net::TcpStream;
use ringwork::runtime::{Builder, PanicPolicy, Pin, Runtime, ShutdownReport};
use ringwork::task::{Id, JoinHandle};
use std::any::Any;
use std::future::{pending, poll_fn, ready};
use std::net;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

fn with(cores: usize, policy: PanicPolicy) -> Runtime {
    Builder::new().cores(cores).pin(Pin::Off).on_task_panic(policy).build().expect("a runtime starts")
}

/// What a callback was told, and where.
struct Told {
    id: Id,
    name: Option<String>,
    line: u32,
    message: Option<String>,
    thread: ThreadId,
}

/// A runtime whose panics come out of the receiver.
fn listening(cores: usize) -> (Runtime, Receiver<Told>) {
    let (sender, told) = channel();
    let sender = Mutex::new(sender);
    let runtime = with(
        cores,
        PanicPolicy::call(move |panic| {
            let told = Told {
                id: panic.id(),
                name: panic.name().map(String::from),
                line: panic.spawned_at().line(),
                message: panic.message().map(String::from),
                thread: thread::current().id(),
            };
            let _ = sender.lock().unwrap().send(told);
        }),
    );
    (runtime, told)
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// Never ready, and panics when it is dropped.
async fn pending_with(bomb: Bomb) {
    let _bomb = bomb;
    pending::<()>().await;
}

fn text(payload: &(dyn Any + Send)) -> String {
    payload.downcast_ref::<String>().cloned().expect("a message")
}

/// Runs `body`, which panics, and says with which words.
#[track_caller]
fn panic_of<R>(body: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(_) => panic!("there was no panic"),
        Err(payload) => text(&*payload),
    }
}

#[test]
fn without_a_policy_a_panic_ends_its_task_and_nothing_else() {
    bounded(|| {
        let runtime = kit::runtime(1);
        let task = runtime.spawn(async { panic!("alone") });
        assert!(runtime.block_on(task).map(|never: ()| never).unwrap_err().is_panic());
        let contained = with(1, PanicPolicy::Contain);
        let task = contained.spawn(async { panic!("alone") });
        assert!(contained.block_on(task).map(|never: ()| never).unwrap_err().is_panic());
        assert_eq!(contained.run_main(|| async { 7 }), 7);
    });
}

#[test]
fn the_callback_learns_which_task_it_was_and_where_it_was_spawned() {
    bounded(|| {
        let (runtime, told) = listening(2);
        let _guard = runtime.handle().enter();
        let handle = runtime.handle();
        let tasks: [(u32, JoinHandle<()>); 6] = [
            (line!(), handle.spawn(async { panic!("moves") })),
            (line!(), handle.spawn_on(1, || async { panic!("made") })),
            (line!(), handle.spawn_on(0, || -> std::future::Ready<()> { panic!("making") })),
            (line!(), handle.call(1, || panic!("called"))),
            (line!(), ringwork::spawn_blocking(|| panic!("job"))),
            (line!(), ringwork::spawn_heavy(|| panic!("heavy"))),
        ];
        let mut expected: Vec<_> = tasks.iter().map(|(line, task)| (task.id(), *line)).collect();
        for (_, task) in tasks {
            let error = runtime.block_on(task).unwrap_err();
            // The callback has returned before the handle knows.
            let told = told.try_recv().expect("told by now");
            let at = expected.iter().position(|expected| *expected == (told.id, told.line));
            expected.swap_remove(at.expect("an id and its line"));
            let message = told.message.unwrap();
            assert!(error.is_panic() && message.len() > 2, "{error}");
            assert_eq!(told.name, None);
        }
        let named = ringwork::task::Builder::new().name("printer").spawn(async { panic!("out of paper") });
        let id = named.id();
        assert!(runtime.block_on(named).map(|never: ()| never).is_err());
        let told = told.recv().unwrap();
        assert_eq!((told.id, told.name.as_deref()), (id, Some("printer")));
    });
}

#[test]
fn local_tasks_are_told_on_their_core() {
    bounded(|| {
        let (runtime, told) = listening(2);
        let local = runtime.handle().spawn_on(1, || async {
            let local = ringwork::spawn_local(async { panic!("local") });
            (thread::current().id(), local.await.map(|never: ()| never).unwrap_err().is_panic())
        });
        let (core, panicked) = runtime.block_on(local).unwrap();
        let told = told.recv().unwrap();
        assert!(panicked);
        assert_eq!((told.message.as_deref(), told.thread), (Some("local"), core));
    });
}

#[test]
fn drops_that_panic_count_wherever_they_happen() {
    bounded(|| {
        let (runtime, told) = listening(1);
        let expect = |message: &str| {
            let told = told.recv().unwrap();
            assert_eq!(told.message.as_deref(), Some(message));
            told.thread
        };
        let bomb = Bomb("a future that was ready");
        drop(runtime.spawn(poll_fn(move |_| {
            let _ = &bomb;
            Poll::Ready(())
        })));
        expect("a future that was ready");
        let task = runtime.spawn(pending_with(Bomb("an aborted future")));
        task.abort();
        let core = expect("an aborted future");
        let task = runtime.spawn(ready(Bomb("an output")));
        wait_for("the end", || task.is_finished());
        drop(task);
        assert_eq!(expect("an output"), thread::current().id());
        let bomb = Bomb("a closure");
        let job = runtime.handle().spawn_blocking(move || drop(bomb));
        // Either it has begun by now, or the abort drops it here.
        job.abort();
        let _ = runtime.block_on(job);
        assert_ne!(expect("a closure"), core);
        drop(runtime.spawn(pending_with(Bomb("at the end"))));
        drop(runtime);
        expect("at the end");
    });
}

#[test]
fn two_panics_of_one_task_are_one_and_a_cancelled_task_is_none() {
    bounded(|| {
        let (runtime, told) = listening(1);
        let bomb = Bomb("in the drop");
        let both = runtime.spawn(poll_fn(move |_| -> Poll<()> {
            let _ = &bomb;
            panic!("in the poll")
        }));
        assert!(runtime.block_on(both).unwrap_err().is_panic());
        let cancelled = runtime.spawn(pending::<()>());
        cancelled.abort();
        assert!(runtime.block_on(cancelled).unwrap_err().is_cancelled());
        let quiet = runtime.spawn(async { panic_any(7_u8) });
        assert!(runtime.block_on(quiet).map(|never: ()| never).is_err());
        let messages: Vec<_> = told.try_iter().map(|told| told.message).collect();
        assert_eq!(messages, [Some("in the poll".to_owned()), None]);
    });
}

#[test]
fn a_callback_may_panic_itself_and_use_the_runtime() {
    bounded(|| {
        let (sender, spawned) = channel();
        let sender = Mutex::new(sender);
        let runtime = with(
            1,
            PanicPolicy::call(move |panic| {
                let id = panic.id();
                assert_eq!(ringwork::task::try_id(), Some(id));
                let _ = sender.lock().unwrap().send(ringwork::spawn(async move { id }));
                panic!("foreign");
            }),
        );
        for _ in 0..3 {
            let task = runtime.spawn(async { panic!("first") });
            let id = task.id();
            assert!(runtime.block_on(task).map(|never: ()| never).unwrap_err().is_panic());
            assert_eq!(runtime.block_on(spawned.recv().unwrap()).unwrap(), id);
        }
    });
}

#[test]
fn shutting_down_comes_out_of_the_main_function_with_the_culprits_name() {
    bounded(|| {
        let gone = Arc::new(Mutex::new(0));
        let counts = Arc::clone(&gone);
        let line = line!() + 12;
        let message = panic_of(move || {
            with(2, PanicPolicy::ShutDown).run_main(move || async move {
                for core in [0, 1] {
                    let gone = Arc::clone(&counts);
                    let guard = OnDrop(move || *gone.lock().unwrap() += 1);
                    drop(ringwork::spawn_on(core, move || async move {
                        let _guard = guard;
                        pending::<()>().await;
                    }));
                }
                let job = ringwork::task::Builder::new().name("printer");
                drop(job.spawn(async { panic!("out of paper") }));
                pending::<()>().await;
            })
        });
        assert!(message.starts_with("the runtime was shut down because task "), "{message}");
        let place = format!("\"printer\" spawned at {}:{line}:", file!());
        assert!(message.contains(&place), "{place}: {message}");
        assert!(message.ends_with(" panicked: out of paper"), "{message}");
        assert_eq!(*gone.lock().unwrap(), 2, "all cores drop their tasks");
    });
}

#[test]
fn tasks_and_jobs_that_are_left_end_as_cancelled() {
    bounded(|| {
        let runtime = Builder::new().cores(2).pin(Pin::Off).max_blocking_threads(1);
        let runtime = runtime.on_task_panic(PanicPolicy::ShutDown).build().unwrap();
        let tasks: Vec<_> = (0..2).map(|core| runtime.handle().spawn_on(core, pending::<()>)).collect();
        let (begun, begins) = channel();
        let (end, ends) = channel::<()>();
        let running = runtime.handle().spawn_blocking(move || {
            begun.send(()).unwrap();
            let _ = ends.recv();
        });
        begins.recv().unwrap();
        let waits = runtime.handle().spawn_blocking(|| ());
        let culprit = runtime.spawn(async { panic!("out of paper") });
        // On an executor of another kind: the handles themselves say it.
        for task in tasks.into_iter().chain([waits]) {
            assert!(futures_executor::block_on(task).unwrap_err().is_cancelled());
        }
        assert!(futures_executor::block_on(culprit).map(|never: ()| never).unwrap_err().is_panic());
        drop(end);
        assert!(futures_executor::block_on(running).is_ok(), "a job that has begun is not interrupted");
        let late = runtime.spawn(async {});
        assert!(futures_executor::block_on(late).unwrap_err().is_cancelled());
    });
}

#[test]
fn a_thread_that_waits_in_block_on_hears_of_the_end() {
    bounded(|| {
        let runtime = Arc::new(with(1, PanicPolicy::ShutDown));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let runtime = Arc::clone(&runtime);
                let begun = Event::default();
                let begins = begun.clone();
                let thread = thread::spawn(move || {
                    panic_of(|| {
                        runtime.block_on(async {
                            begins.set();
                            pending::<()>().await;
                        })
                    })
                });
                begun.wait_blocking();
                thread
            })
            .collect();
        drop(runtime.spawn(async { panic!("out of paper") }));
        for thread in waiting {
            assert!(thread.join().unwrap().ends_with("panicked: out of paper"));
        }
        // Whoever comes later as well, unless there is nothing to wait for.
        assert!(panic_of(|| runtime.block_on(pending::<()>())).ends_with("out of paper"));
        assert_eq!(runtime.block_on(async { 7 }), 7);
    });
}

#[test]
fn the_main_futures_own_panic_comes_out_as_it_is() {
    bounded(|| {
        let run = || with(1, PanicPolicy::ShutDown).run_main(|| async { panic_any(7_u8) });
        let payload = catch_unwind(run).map(|never: ()| never).unwrap_err();
        assert_eq!(*payload.downcast::<u8>().unwrap(), 7);
        let output = with(1, PanicPolicy::ShutDown).run_main(|| async { ringwork::spawn(async { 8 }).await });
        assert_eq!(output.unwrap(), 8);
    });
}

#[test]
fn a_main_future_that_stumbles_over_the_culprit_does_not_hide_it() {
    bounded(|| {
        let message = panic_of(|| {
            with(2, PanicPolicy::ShutDown).run_main(|| async {
                ringwork::spawn(async { panic!("out of paper") }).await.map(|never: ()| never).unwrap();
            })
        });
        assert!(message.starts_with("the runtime was shut down because"), "{message}");
        assert!(message.ends_with("panicked: out of paper"), "{message}");
    });
}

#[test]
fn panics_of_jobs_and_of_drops_shut_down_too() {
    bounded(|| {
        let job = panic_of(|| {
            with(1, PanicPolicy::ShutDown).run_main(|| async {
                drop(ringwork::spawn_blocking(|| panic!("a job")));
                pending::<()>().await;
            })
        });
        assert!(job.ends_with("panicked: a job"), "{job}");
        let output = panic_of(|| {
            with(1, PanicPolicy::ShutDown).run_main(|| async {
                drop(ringwork::spawn(ready(Bomb("an output"))));
                pending::<()>().await;
            })
        });
        assert!(output.ends_with("panicked: an output"), "{output}");
    });
}

#[test]
fn the_first_of_many_panics_is_the_one_that_is_named() {
    bounded(|| {
        let message = panic_of(|| {
            with(1, PanicPolicy::ShutDown).run_main(|| async {
                for _ in 0..20 {
                    drop(ringwork::spawn_on(0, || pending_with(Bomb("a later one"))));
                }
                ringwork::task::yield_now().await;
                drop(ringwork::spawn(async { panic!("the first") }));
                pending::<()>().await;
            })
        });
        assert!(message.ends_with("panicked: the first"), "{message}");
    });
}

#[test]
fn a_sleep_that_outlives_its_runtime_in_block_on_does_not_hide_the_culprit() {
    bounded(|| {
        let runtime = with(1, PanicPolicy::ShutDown);
        let mut sleep = pin!(ringwork::time::sleep(Duration::from_secs(3600)));
        let waiting = poll_fn(|cx| {
            assert!(sleep.as_mut().poll(cx).is_pending());
            brought_down_by(&runtime, 0);
            // It panics when it has heard that its core has gone.
            wait_for("the sleep to hear of it", || sleep.as_mut().poll(cx).is_ready());
            Poll::<()>::Pending
        });
        let message = panic_of(|| runtime.block_on(waiting));
        assert!(message.ends_with("panicked: out of paper"), "{message}");
    });
}

#[test]
fn a_task_that_the_end_has_cancelled_does_not_come_out_of_block_on() {
    bounded(|| {
        // The panic comes behind the first look at the task, or before the second one.
        for is_second in [false, true] {
            let runtime = with(1, PanicPolicy::ShutDown);
            let mut task = pin!(runtime.spawn(pending::<()>()));
            let end = task.abort_handle();
            let bring_down = || {
                brought_down_by(&runtime, 0);
                wait_for("the task to end", || end.is_finished());
            };
            let mut polls = 0;
            let waiting = poll_fn(|cx| {
                polls += 1;
                if is_second && polls == 2 {
                    bring_down();
                }
                let polled = task.as_mut().poll(cx);
                match polls {
                    1 if is_second => cx.waker().wake_by_ref(),
                    1 => bring_down(),
                    _ => {}
                }
                polled
            });
            let message = panic_of(|| runtime.block_on(waiting));
            assert!(message.ends_with("panicked: out of paper"), "{message}");
        }
    });
}

#[test]
fn a_core_that_is_stuck_does_not_keep_the_panic_back() {
    bounded(|| {
        let (end, ends) = channel::<()>();
        let ends = Mutex::new(ends);
        let runtime = with(2, PanicPolicy::ShutDown);
        let begun = Event::default();
        let begins = begun.clone();
        // The main future's core does not come back to it.
        drop(runtime.handle().spawn_on(0, move || async move {
            begins.set();
            let _ = ends.lock().unwrap().recv();
        }));
        begun.wait_blocking();
        drop(runtime.handle().spawn_on(1, || async { panic!("out of paper") }));
        let message = panic_of(|| runtime.block_on(pending::<()>()));
        assert!(message.ends_with("out of paper"), "{message}");
        drop(end);
    });
}

/// Half of it is more than a busy machine's cores are late, and all of it less than half of what a panic
/// gives the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// A task of `core` has panicked, and the end has begun.
fn brought_down_by(runtime: &Runtime, core: usize) {
    let culprit = runtime.handle().spawn_on(core, || async { panic!("out of paper") });
    wait_for("the panic", || culprit.is_finished());
}

#[test]
fn a_shutdown_or_drain_behind_a_panic_has_its_own_time_for_what_was_sent_off() {
    bounded(|| {
        let ways: [fn(Runtime) -> ShutdownReport; 2] = [
            |runtime| runtime.shutdown_timeout(PATIENCE),
            // It goes on to its end at once, which has as long.
            |runtime| runtime.drain(Duration::from_secs(3600)),
        ];
        for end in ways {
            let runtime = with(1, PanicPolicy::ShutDown);
            let peer = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = peer.local_addr().unwrap();
            let stream = runtime.block_on(async {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.send_off(vec![0; 64 << 20]).await.unwrap();
                stream
            });
            brought_down_by(&runtime, 0);
            let report = end(runtime);
            assert!(report.is_clean(), "nobody reads, and the end does not wait for that: {report}");
            drop((stream, peer));
        }
    });
}

#[test]
fn a_shutdown_behind_a_panic_leaves_behind_the_core_that_is_stuck_and_no_other() {
    bounded(|| {
        let (end, ends) = channel::<()>();
        let runtime = with(2, PanicPolicy::ShutDown);
        let begun = Event::default();
        let begins = begun.clone();
        drop(runtime.handle().call(0, move || {
            begins.set();
            ends.recv().is_err()
        }));
        begun.wait_blocking();
        brought_down_by(&runtime, 1);
        let report = runtime.shutdown_timeout(PATIENCE);
        assert_eq!(report.stuck_cores, [0], "{report}");
        drop(end);
    });
}

#[ringwork::test(on_task_panic = "shut_down")]
#[should_panic(expected = "panicked: out of paper")]
async fn a_test_can_fail_with_the_panic_of_any_task() {
    drop(ringwork::spawn(async { panic!("out of paper") }));
    pending::<()>().await;
}
