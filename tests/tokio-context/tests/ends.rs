//! The end of a runtime with tokio beside: what destructors may call, what is left, and who waits for whom.

use ringwork::runtime::{Builder, PanicPolicy, Pin, Runtime};
use ringwork_tokio_context_tests::{builder, runtime, soon, thread_name, threads_called};
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;

const PATIENCE: Duration = Duration::from_secs(20);

/// Calls tokio when it is dropped, and says what came of it.
struct Calls(Sender<Result<String, String>>);

impl Drop for Calls {
    fn drop(&mut self) {
        let answer = match Handle::try_current() {
            Ok(handle) => {
                let (say, said) = mpsc::channel();
                drop(handle.spawn(async move { say.send(thread_name()) }));
                // Blocks this core until tokio has run a task: it is in full work.
                said.recv().map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let _ = self.0.send(answer);
    }
}

/// Waits for an event that has no other sign.
#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("waited in vain for {what}");
}

/// Waits until no thread has a name that starts with `start`. One that is joined is in `/proc` for a little
/// longer.
#[track_caller]
fn wait_for_the_end_of(start: &str) {
    wait_for("threads to end", || threads_called(start) == 0);
}

/// A runtime whose helper thread is called `NAME-tokio`.
fn called(name: &str, cores: usize) -> Runtime {
    builder(cores).thread_name(name).build().unwrap()
}

#[test]
fn destructors_that_run_at_the_end_may_call_tokio() {
    soon(|| {
        let runtime = runtime(2);
        let (answers, answered) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let lives = |core: usize, calls: Calls| {
            let begin = begin.clone();
            runtime.handle().spawn_on(core, move || async move {
                let _calls = calls;
                begin.send(()).unwrap();
                pending::<()>().await;
            })
        };
        for core in 0..2 {
            drop(lives(core, Calls(answers.clone())));
            let (calls, begin) = (Calls(answers.clone()), begin.clone());
            drop(runtime.spawn(async move {
                let _calls = calls;
                begin.send(()).unwrap();
                pending::<()>().await;
            }));
        }
        for _ in 0..4 {
            begun.recv().unwrap();
        }
        drop((answers, begin));
        let report = runtime.shutdown_timeout(PATIENCE);
        assert!(report.stuck_cores.is_empty(), "{report}");
        let answers: Vec<_> = answered.iter().collect();
        assert_eq!(answers, vec![Ok("ringwork-tokio".to_owned()); 4]);
    });
}

#[test]
fn destructors_of_tasks_that_are_aborted_from_outside_may_call_tokio() {
    soon(|| {
        let runtime = runtime(2);
        for round in 0..20 {
            let (answers, answered) = mpsc::channel();
            let (begin, begun) = mpsc::channel();
            let calls = Calls(answers);
            let task = runtime.spawn(async move {
                let _calls = calls;
                ringwork::core::move_to(round % 2).await;
                begin.send(()).unwrap();
                pending::<()>().await;
            });
            begun.recv().unwrap();
            task.abort();
            assert_eq!(answered.recv().unwrap(), Ok("ringwork-tokio".to_owned()));
            assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn a_panic_in_a_task_of_tokios_reaches_who_joins_it_and_ends_nothing() {
    soon(|| {
        let runtime = builder(1).on_task_panic(PanicPolicy::ShutDown).build().unwrap();
        let task = runtime.spawn(async {
            let error = tokio::spawn(async { panic!("in tokio") }).await.unwrap_err();
            assert_eq!(error.into_panic().downcast_ref::<&str>(), Some(&"in tokio"));
            let error = tokio::task::spawn_blocking(|| panic!("in its pool")).await.unwrap_err();
            assert!(error.is_panic());
            tokio::spawn(async { 7 }).await.unwrap()
        });
        assert_eq!(runtime.block_on(task).unwrap(), 7);
    });
}

#[test]
fn a_panic_in_a_task_of_ours_leaves_the_context_as_it_was() {
    soon(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            let _entered = Handle::current().enter();
            panic!("while one more guard lives");
        });
        assert!(runtime.block_on(task).unwrap_err().is_panic());
        let task = runtime.spawn(async { tokio::spawn(async { 7 }).await.unwrap() });
        assert_eq!(runtime.block_on(task).unwrap(), 7);
    });
}

#[test]
fn tokios_tasks_and_threads_end_with_the_runtime() {
    soon(|| {
        let runtime = called("rw-end", 2);
        let held = Arc::new(());
        let (in_task, in_pool) = (Arc::clone(&held), Arc::clone(&held));
        let task = runtime.spawn(async move {
            drop(tokio::spawn(async move {
                let _held = in_task;
                pending::<()>().await;
            }));
            tokio::task::spawn_blocking(move || drop(in_pool)).await.unwrap();
        });
        runtime.block_on(task).unwrap();
        assert_eq!((threads_called("rw-end-tokio"), Arc::strong_count(&held)), (1, 2));
        drop(runtime);
        assert_eq!(Arc::strong_count(&held), 1);
        wait_for_the_end_of("rw-end-");
    });
}

#[test]
fn handles_that_outlive_the_runtime_keep_no_helper() {
    soon(|| {
        let runtime = called("rw-hdl", 1);
        let (handle, tokio) = (runtime.handle().clone(), runtime.block_on(async { Handle::current() }));
        drop(runtime);
        wait_for_the_end_of("rw-hdl-");
        // Refused, and no more than that.
        assert!(soon(move || handle.block_on(tokio.spawn(async { 7 }))).unwrap_err().is_cancelled());
    });
}

#[test]
fn a_start_that_fails_leaves_no_helper() {
    soon(|| {
        let failing =
            builder(2).thread_name("rw-bad").on_core_start(|core| assert_eq!(core, 0, "on purpose"));
        assert!(failing.build().is_err());
        wait_for_the_end_of("rw-bad-");
    });
}

#[test]
fn runtimes_one_after_the_other_and_beside_each_other_have_a_helper_each() {
    soon(|| {
        let builder = builder(1).thread_name("rw-two");
        let names = |runtime: &Runtime| {
            let task = runtime.spawn(async { tokio::spawn(async { thread::current().id() }).await.unwrap() });
            runtime.block_on(task).unwrap()
        };
        let one = builder.clone().build().unwrap();
        let first = names(&one);
        drop(one);
        wait_for_the_end_of("rw-two-tokio");
        let (two, three) = (builder.clone().build().unwrap(), builder.build().unwrap());
        assert_eq!(threads_called("rw-two-tokio"), 2);
        let (second, third) = (names(&two), names(&three));
        assert!(first != second && second != third);
        // Inside of each other, too: the inner one counts, and the outer one is there again afterwards.
        let (inner, outer) =
            two.block_on(async { (names(&three), tokio::spawn(async { thread::current().id() }).await) });
        assert_eq!((inner, outer.unwrap()), (third, second));
        drop(two);
        assert_eq!(names(&three), third);
    });
}

/// Moves `runtime` to where `run` runs a closure, on which it is dropped there; waits for the end of all.
fn ends_from_there(name: &str, run: impl FnOnce(Box<dyn FnOnce() + Send>) + Send) {
    let runtime = called(name, 2);
    let tokio = runtime.block_on(async { Handle::current() });
    let _entered = tokio.enter();
    let (over, is_over) = mpsc::channel();
    run(Box::new(move || {
        // Whoever waited for the thread he is on would do so for all this time.
        let _ = runtime.shutdown_timeout(Duration::from_secs(3600));
        over.send(()).unwrap();
    }));
    is_over.recv().unwrap();
    wait_for_the_end_of(&format!("{name}-"));
}

#[test]
fn a_runtime_may_end_in_a_task_of_its_tokio() {
    soon(|| ends_from_there("rw-tsk", |end| drop(tokio::spawn(async move { end() }))));
}

#[test]
fn a_runtime_may_end_in_the_blocking_pool_of_its_tokio() {
    soon(|| ends_from_there("rw-blk", |end| drop(tokio::task::spawn_blocking(end))));
}

#[test]
fn a_core_that_is_left_behind_keeps_its_context() {
    soon(|| {
        let runtime = called("rw-stk", 1);
        let (answers, answered) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let (last, later) = (Calls(answers.clone()), Calls(answers));
        drop(runtime.handle().spawn_on(0, move || async move {
            begin.send(()).unwrap();
            // As a task does that should not.
            let _ = gone.recv();
            drop(last);
        }));
        begun.recv().unwrap();
        // Its end is left to the thread that waits.
        drop(runtime.spawn(async move {
            let _later = later;
            pending::<()>().await;
        }));
        let report = runtime.shutdown_timeout(Duration::from_millis(50));
        assert_eq!(report.stuck_cores, [0]);
        assert_eq!(answered.recv().unwrap(), Ok("rw-stk-tokio".to_owned()));
        assert_eq!(threads_called("rw-stk-tokio"), 1);
        go.send(()).unwrap();
        assert_eq!(answered.recv().unwrap(), Ok("rw-stk-tokio".to_owned()));
        wait_for_the_end_of("rw-stk-tokio");
    });
}

#[test]
fn a_blocking_job_of_tokios_that_runs_is_awaited() {
    soon(|| {
        let runtime = runtime(1);
        let (begin, begun) = mpsc::channel();
        let (lives, ended) = mpsc::channel::<()>();
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        drop(runtime.spawn(async move {
            let _lives = lives;
            tokio::task::spawn_blocking(move || {
                begin.send(()).unwrap();
                // The task is dropped, so the end has begun; and this takes longer than a core's end does.
                assert!(ended.recv().is_err());
                thread::sleep(Duration::from_millis(50));
                is_done.store(true, Ordering::SeqCst);
            })
            .await
        }));
        begun.recv().unwrap();
        drop(runtime);
        assert!(done.load(Ordering::SeqCst));
    });
}

#[test]
fn a_blocking_job_of_tokios_that_goes_on_is_left_behind() {
    soon(|| {
        let runtime = runtime(1);
        let (begin, begun) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let task = runtime.spawn(async move {
            drop(tokio::task::spawn_blocking(move || {
                begin.send(()).unwrap();
                gone.recv()
            }));
        });
        runtime.block_on(task).unwrap();
        begun.recv().unwrap();
        let report = runtime.shutdown_timeout(Duration::from_millis(50));
        assert!(report.is_clean(), "what is tokio's is not in it: {report}");
        go.send(()).expect("the job goes on");
    });
}

#[test]
fn a_drain_waits_for_tasks_that_wait_for_tokio() {
    soon(|| {
        let runtime = runtime(2);
        let sum = Arc::new(Mutex::new(0));
        for number in 1..=10 {
            let sum = Arc::clone(&sum);
            drop(runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(number)).await;
                *sum.lock().unwrap() += tokio::spawn(async move { number }).await.unwrap();
            }));
        }
        let report = runtime.drain(PATIENCE);
        assert!(report.is_drained(), "{report}");
        assert_eq!(*sum.lock().unwrap(), 55);
    });
}

#[test]
fn the_context_may_be_that_of_a_runtime_there_is() {
    soon(|| {
        let all = thread::available_parallelism().unwrap();
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("theirs")
            .enable_all()
            .on_thread_start(ringwork::thread::unpin)
            .build()
            .unwrap();
        let pinned = Builder::new().cores(1).pin(Pin::Each).thread_name("rw-thr");
        let runtime = pinned.tokio_context_of(tokio.handle().clone()).build().unwrap();
        let task = runtime.spawn(async {
            let name = tokio::spawn(async { thread_name() }).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
            let cpus = tokio::task::spawn_blocking(thread::available_parallelism).await.unwrap().unwrap();
            (name, cpus)
        });
        assert_eq!(tokio.block_on(task).unwrap(), ("theirs".to_owned(), all));
        assert_eq!(threads_called("rw-thr-tokio"), 0);
        drop(runtime);
        assert_eq!(tokio.block_on(async { tokio::spawn(async { 7 }).await.unwrap() }), 7);
    });
}
