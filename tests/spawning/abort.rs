//! Aborting: from anywhere, at any time, and the future is dropped where it lives.

use crate::kit::{Event, OnDrop, bounded, echo_server, poll_once, runtime, wait_for};
use ringwork::time::{Duration, Instant, sleep};
use std::future::pending;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, ThreadId};

/// A guard that tells on which thread it is dropped.
fn witness() -> (OnDrop<impl FnMut() + Send>, Receiver<ThreadId>) {
    let (sender, receiver) = channel();
    (OnDrop(move || sender.send(thread::current().id()).unwrap()), receiver)
}

#[test]
fn an_abort_from_another_thread_drops_the_future_on_its_own_core() {
    bounded(|| {
        let runtime = runtime(2);
        for core in [0, 1, 0, 1] {
            let (guard, dropped) = witness();
            let (sender, born) = channel();
            let task = runtime.handle().spawn_on(core, move || async move {
                let _guard = guard;
                sender.send(thread::current().id()).unwrap();
                pending::<()>().await;
            });
            let home = born.recv().unwrap();
            let abort = task.abort_handle();
            thread::spawn(move || abort.abort()).join().unwrap();
            assert!(runtime.block_on(task).unwrap_err().is_cancelled());
            assert_eq!(dropped.recv().unwrap(), home);
        }
    });
}

#[test]
fn a_joined_abort_has_dropped_the_future_already() {
    bounded(|| {
        let runtime = runtime(2);
        for core in [0, 1] {
            let (guard, dropped) = witness();
            let parent = runtime.handle().spawn_on(core, move || async move {
                let task = ringwork::spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                });
                ringwork::task::yield_now().await;
                task.abort();
                assert!(task.await.unwrap_err().is_cancelled());
                dropped.try_recv().expect("dropped before the handle is ready");
            });
            runtime.block_on(parent).unwrap();
        }
    });
}

#[test]
fn a_joined_abort_of_a_task_made_on_another_core_has_dropped_the_future_already() {
    bounded(|| {
        let runtime = runtime(2);
        for _ in 0..50 {
            let (guard, dropped) = witness();
            let started = Event::default();
            let start = started.clone();
            let task = runtime.handle().spawn_on(1, move || async move {
                let _guard = guard;
                start.set();
                pending::<()>().await;
            });
            runtime.block_on(started.wait());
            task.abort();
            assert!(runtime.block_on(task).unwrap_err().is_cancelled());
            dropped.try_recv().expect("dropped before the handle is ready");
        }
    });
}

#[test]
fn a_sleeping_task_is_aborted_at_once() {
    bounded(|| {
        let runtime = runtime(1);
        let started = Event::default();
        let start = started.clone();
        let begun = Instant::now();
        let task = runtime.spawn(async move {
            start.set();
            sleep(Duration::from_secs(3600)).await;
        });
        runtime.block_on(started.wait());
        task.abort();
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        assert!(begun.elapsed() < Duration::from_secs(60));
    });
}

#[test]
fn a_task_in_an_op_is_aborted_and_its_descriptor_closes() {
    bounded(|| {
        let runtime = runtime(1);
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        let task = runtime.spawn(async move {
            let stream = ringwork::net::TcpStream::connect(address).await.unwrap();
            stream.recv(Vec::with_capacity(10)).await.0
        });
        let (mut accepted, _) = peer.accept().unwrap();
        wait_for("the receive", || runtime.handle().metrics().cores[0].in_flight > 0);
        task.abort();
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        // The peer sees the end, so the socket is closed, and not only forgotten.
        assert_eq!(std::io::Read::read(&mut accepted, &mut [0; 1]).unwrap(), 0);
    });
}

#[test]
fn a_task_that_never_ran_can_be_aborted() {
    bounded(|| {
        let runtime = runtime(1);
        let parent = runtime.spawn(async {
            let (guard, dropped) = witness();
            let task = ringwork::spawn(async move { drop(guard) });
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            dropped.recv().unwrap();
        });
        runtime.block_on(parent).unwrap();
    });
}

#[test]
fn an_abort_of_a_finished_task_changes_nothing() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async { 6 });
        wait_for("the task to end", || task.is_finished());
        task.abort();
        assert_eq!(runtime.block_on(task).unwrap(), 6);
    });
}

#[test]
fn a_task_that_aborts_itself_ends_at_its_next_pause() {
    bounded(|| {
        let runtime = runtime(1);
        let (sender, receiver) = channel::<ringwork::task::AbortHandle>();
        let task = runtime.spawn(async move {
            let me = receiver.recv().unwrap();
            me.abort();
            ringwork::task::yield_now().await;
            unreachable!("aborted");
        });
        sender.send(task.abort_handle()).unwrap();
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    });
}

#[test]
fn an_abort_alone_wakes_and_drops() {
    bounded(|| {
        let runtime = runtime(2);
        let (guard, dropped) = witness();
        let task = runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let abort = task.abort_handle();
        drop(task);
        abort.abort();
        dropped.recv().unwrap();
    });
}

#[test]
fn the_error_of_an_aborted_task_says_where_it_was_spawned() {
    bounded(|| {
        let runtime = runtime(1);
        let line = line!() + 1;
        let task = runtime.spawn(pending::<()>());
        task.abort();
        let error = runtime.block_on(task).unwrap_err();
        let place = format!("abort.rs:{line}");
        assert!(error.to_string().contains(&place), "{error}");
        assert!(error.to_string().ends_with("was cancelled"), "{error}");
    });
}

#[test]
fn abort_races_with_completion_wake_and_drop() {
    bounded(|| {
        let runtime = runtime(2);
        for round in 0..500 {
            let go = Event::default();
            let gate = go.clone();
            let (guard, dropped) = witness();
            let mut task = runtime.spawn(async move {
                let _guard = guard;
                gate.wait().await;
                round
            });
            let abort = task.abort_handle();
            let waker = thread::spawn(move || go.set());
            let aborter = thread::spawn(move || abort.abort());
            if round % 2 == 0 {
                match runtime.block_on(async { (&mut task).await }) {
                    Ok(output) => assert_eq!(output, round),
                    Err(error) => assert!(error.is_cancelled()),
                }
            }
            drop(task);
            waker.join().unwrap();
            aborter.join().unwrap();
            dropped.recv().unwrap();
            assert!(dropped.recv().is_err(), "dropped twice");
        }
    });
}

#[test]
fn a_job_that_waits_is_aborted_and_one_that_runs_is_not() {
    bounded(|| {
        let builder = ringwork::runtime::Builder::new().cores(1).max_blocking_threads(1);
        let runtime = builder.build().unwrap();
        let (go, gate) = channel::<()>();
        let begun = Event::default();
        let begin = begun.clone();
        let running = runtime.handle().spawn_blocking(move || {
            begin.set();
            gate.recv().is_err()
        });
        let waiting = runtime.handle().spawn_blocking(|| unreachable!("aborted before its turn"));
        begun.wait_blocking();
        waiting.abort();
        running.abort();
        drop(go);
        assert!(runtime.block_on(running).unwrap());
        assert!(runtime.block_on(waiting).unwrap_err().is_cancelled());
    });
}

#[test]
fn tasks_aborted_amid_io_leave_the_runtime_well() {
    bounded(|| {
        let runtime = runtime(2);
        let echo = echo_server();
        for round in 0..40 {
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    runtime.spawn(async move {
                        loop {
                            crate::kit::talk(echo, "a message").await.unwrap();
                        }
                    })
                })
                .collect();
            for _ in 0..round {
                thread::yield_now();
            }
            for mut task in tasks {
                assert!(runtime.block_on(poll_once(&mut task)).is_pending());
                task.abort();
                assert!(runtime.block_on(task).unwrap_err().is_cancelled());
            }
        }
        runtime.block_on(crate::kit::talk(echo, "still there")).unwrap();
        wait_for("all ops to end", || {
            runtime.handle().metrics().cores.iter().all(|core| core.in_flight == 0)
        });
    });
}
