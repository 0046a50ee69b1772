//! Where a runtime is dropped: on a plain thread, in its own tasks and jobs, in a thread-local, in
//! another runtime.

use crate::kit::{Event, OnDrop, bounded, process, runtime, talk, wait_for};
use ringwork::runtime::{Builder, PanicPolicy, Pin, Runtime, ShutdownReport, StuckReport, Watchdog};
use ringwork::time::{Duration, Instant, sleep};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// Cores in this process.
fn core_threads() -> usize {
    process::threads_named("ringwork").len()
}

#[test]
fn in_its_own_task() {
    process::alone(|| {
        bounded(|| {
            for cores in [1, 2] {
                let runtime = runtime(cores);
                let (sender, receiver) = mpsc::channel::<Runtime>();
                let (done, ended) = mpsc::channel();
                let task = runtime.spawn(async move {
                    let own = receiver.recv().unwrap();
                    let _guard = crate::kit::OnDrop(move || done.send(()).unwrap());
                    drop(own);
                    // Still polled to its next pause, and dropped there.
                    std::future::pending::<()>().await;
                });
                sender.send(runtime).unwrap();
                assert!(futures_executor::block_on(task).unwrap_err().is_cancelled());
                ended.recv().unwrap();
                wait_for("the cores to end", || core_threads() == 0);
            }
        });
    });
}

#[test]
fn in_its_own_task_by_shutdown_timeout() {
    bounded(|| {
        let runtime = runtime(1);
        let (sender, receiver) = mpsc::channel::<Runtime>();
        let (done, report) = mpsc::channel();
        drop(runtime.spawn(async move {
            let own = receiver.recv().unwrap();
            done.send(own.shutdown_timeout(Duration::from_secs(20))).unwrap();
        }));
        sender.send(runtime).unwrap();
        assert_eq!(report.recv().unwrap(), ShutdownReport::default());
    });
}

#[test]
fn on_a_thread_of_its_own_pool() {
    process::alone(|| {
        bounded(|| {
            let runtime = runtime(2);
            let (sender, receiver) = mpsc::channel::<Runtime>();
            let job = runtime.handle().spawn_blocking(move || {
                let own = receiver.recv().unwrap();
                let begun = Instant::now();
                drop(own);
                begun.elapsed()
            });
            sender.send(runtime).unwrap();
            let took = futures_executor::block_on(job).unwrap();
            assert!(took < Duration::from_secs(4), "it waited for itself: {took:?}");
            wait_for("all threads to end", || {
                core_threads() == 0 && process::threads_named("rw-").is_empty()
            });
        });
    });
}

#[test]
fn in_a_callback_of_its_own_watchdog() {
    process::alone(|| {
        bounded(|| {
            let own: Arc<Mutex<Option<Runtime>>> = Arc::default();
            let (kept, (done, report)) = (Arc::clone(&own), mpsc::channel());
            let end = move |_: &StuckReport| {
                let own = kept.lock().unwrap().take();
                if let Some(own) = own {
                    done.send(own.shutdown_timeout(Duration::from_secs(20))).unwrap();
                }
            };
            let builder = Builder::new().cores(1).pin(Pin::Off);
            let watchdog = Watchdog::Call(Arc::new(end));
            let runtime = builder.watchdog(watchdog, Duration::from_millis(20)).build().unwrap();
            let (over, gate) = mpsc::channel::<()>();
            let stuck = runtime.handle().call(0, move || gate.recv().is_err());
            *own.lock().unwrap() = Some(runtime);
            // Had the callback waited, the core would be in the report: it is stuck until the report is here.
            assert_eq!(report.recv().unwrap(), ShutdownReport::default());
            drop(over);
            assert!(futures_executor::block_on(stuck).unwrap());
            wait_for("all threads to end", || core_threads() == 0);
        });
    });
}

ringwork::core_local! {
    static LAST: RefCell<Option<OnDrop<Box<dyn FnMut()>>>> = RefCell::new(None);
}

#[test]
fn in_the_destructor_of_a_value_of_its_own_core() {
    process::alone(|| {
        bounded(|| {
            let runtime = Builder::new().cores(2).pin(Pin::Off).on_task_panic(PanicPolicy::ShutDown).build();
            let runtime = runtime.unwrap();
            let handle = runtime.handle().clone();
            let (mut own, (done, report)) = (Some(runtime), mpsc::channel());
            let keep = move || {
                let end: Box<dyn FnMut()> = Box::new(move || {
                    let own = own.take().expect("dropped once");
                    done.send(own.shutdown_timeout(Duration::from_secs(20))).unwrap();
                });
                LAST.with(|last| *last.borrow_mut() = Some(OnDrop(end)));
            };
            futures_executor::block_on(handle.call(0, keep)).unwrap();
            // Nobody else ends it.
            drop(handle.spawn(async { panic!("the end") }));
            assert_eq!(report.recv().unwrap(), ShutdownReport::default());
            wait_for("all threads to end", || core_threads() == 0);
        });
    });
}

#[test]
fn inside_its_own_block_on() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        handle.block_on(async move {
            runtime.block_on(sleep(Duration::from_millis(1)));
            drop(runtime);
        });
    });
}

#[test]
fn in_a_task_of_another_runtime() {
    bounded(|| {
        let outer = runtime(1);
        let inner = runtime(2);
        let task = outer.spawn(async move {
            inner.block_on_is_refused();
            drop(inner);
            sleep(Duration::from_millis(1)).await;
        });
        outer.block_on(task).unwrap();
    });
}

trait Refuses {
    fn block_on_is_refused(&self);
}

impl Refuses for Runtime {
    fn block_on_is_refused(&self) {
        let call = std::panic::AssertUnwindSafe(|| self.block_on(async {}));
        assert!(std::panic::catch_unwind(call).is_err(), "this thread is a core");
    }
}

thread_local! {
    static KEPT: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

#[test]
fn in_the_destructor_of_a_thread_local() {
    process::alone(|| {
        bounded(|| {
            let echo = crate::kit::echo_server();
            let thread = thread::spawn(move || {
                let runtime = runtime(2);
                runtime.block_on(talk(echo, "hello")).unwrap();
                drop(runtime.spawn(std::future::pending::<()>()));
                KEPT.set(Some(runtime));
            });
            thread.join().unwrap();
            wait_for("the cores to end", || core_threads() == 0);
        });
    });
}

#[test]
fn on_a_thread_that_has_entered_it() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let guard = handle.enter();
        drop(runtime);
        assert!(futures_executor::block_on(ringwork::spawn(async {})).unwrap_err().is_cancelled());
        drop(guard);
    });
}

#[test]
fn on_a_panicking_thread() {
    bounded(|| {
        let dropped = Event::default();
        let tell = dropped.clone();
        let thread = thread::spawn(move || {
            let runtime = runtime(1);
            let tell = crate::kit::OnDrop(move || tell.set());
            drop(runtime.spawn(async move {
                let _tell = tell;
                std::future::pending::<()>().await;
            }));
            panic!("with a runtime");
        });
        assert!(thread.join().is_err());
        assert!(dropped.is_set());
    });
}

#[test]
fn an_idle_runtime_ends_at_once() {
    bounded(|| {
        let mut times: Vec<Duration> = (0..5)
            .map(|_| {
                let runtime = runtime(2);
                runtime.block_on(sleep(Duration::from_millis(1)));
                drop(runtime.spawn(sleep(Duration::from_secs(3600))));
                let begun = Instant::now();
                drop(runtime);
                begun.elapsed()
            })
            .collect();
        times.sort();
        // No deadline was waited for, not even the 5 ms of a step.
        assert!(times[2] < Duration::from_millis(500), "{times:?}");
    });
}

#[test]
fn with_no_time_at_all() {
    bounded(|| {
        for _ in 0..20 {
            let runtime = runtime(2);
            let task = runtime.spawn(std::future::pending::<()>());
            let _ = runtime.shutdown_timeout(Duration::ZERO);
            assert!(futures_executor::block_on(task).unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn with_no_time_at_all_in_its_own_task_while_a_job_runs() {
    bounded(|| {
        let runtime = runtime(1);
        let (release, gate) = mpsc::channel::<()>();
        let begun = Event::default();
        let begin = begun.clone();
        let job = runtime.handle().spawn_blocking(move || {
            begin.set();
            let _ = gate.recv();
            6
        });
        begun.wait_blocking();
        let (sender, receiver) = mpsc::channel::<Runtime>();
        drop(runtime.spawn(async move {
            drop(receiver.recv().unwrap().shutdown_timeout(Duration::ZERO));
        }));
        sender.send(runtime).unwrap();
        drop(release);
        // A job that has begun comes to its end, whatever became of the runtime.
        assert_eq!(futures_executor::block_on(job).unwrap(), 6);
    });
}
