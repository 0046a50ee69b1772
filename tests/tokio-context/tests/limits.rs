//! What of tokio works otherwise on our cores than on tokio's threads, as the guide says.

use ringwork_tokio_context_tests::{runtime, soon, thread_name};
use std::rc::Rc;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{LocalSet, block_in_place, spawn_local, yield_now};

#[test]
fn block_in_place_stays_on_its_core_and_is_refused_in_tasks_of_tokios() {
    soon(|| {
        let runtime = runtime(1);
        let on_core = runtime.spawn(async { block_in_place(|| (ringwork::core::current(), thread_name())) });
        assert_eq!(runtime.block_on(on_core).unwrap(), (Some(0), "ringwork-core-0".to_owned()));
        let task = runtime.spawn(async { tokio::spawn(async { block_in_place(|| ()) }).await });
        assert!(runtime.block_on(task).unwrap().unwrap_err().is_panic());
    });
}

#[test]
fn a_local_set_works_in_a_local_task_and_spawn_local_nowhere_else() {
    soon(|| {
        let runtime = runtime(2);
        let task = runtime.handle().spawn_on(1, || async {
            let set = LocalSet::new();
            let shared = Rc::new(7);
            let inside = set.run_until(async move {
                let task = spawn_local(async move {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    (*shared, ringwork::core::current())
                });
                task.await.unwrap()
            });
            inside.await
        });
        assert_eq!(runtime.block_on(task).unwrap(), (7, Some(1)));
        let outside = runtime.handle().spawn_on(0, || async { drop(spawn_local(async {})) });
        assert!(runtime.block_on(outside).unwrap_err().is_panic());
    });
}

#[test]
fn the_runtime_beside_says_that_it_has_one_thread() {
    soon(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            yield_now().await;
            Handle::current().runtime_flavor()
        });
        assert_eq!(runtime.block_on(task).unwrap(), RuntimeFlavor::CurrentThread);
    });
}

#[test]
fn tokios_budget_does_not_count_on_a_core() {
    soon(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
            (0..10_000).for_each(|number| say.send(number).unwrap());
            let mut polls = 0;
            let mut all = Box::pin(async move {
                for number in 0..10_000 {
                    assert_eq!(said.recv().await, Some(number));
                }
            });
            std::future::poll_fn(|cx| {
                polls += 1;
                all.as_mut().poll(cx)
            })
            .await;
            polls
        });
        assert_eq!(runtime.block_on(task).unwrap(), 1);
    });
}
