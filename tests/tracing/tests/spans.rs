//! What a plain subscriber sees of tasks: their spans, polls, wakers and ends.
#![forbid(unsafe_code)]

use ringwork::runtime::Handle;
use ringwork::task::{Builder, JoinHandle};
use ringwork::{core, task};
use ringwork_tracing_tests::capture::{Told, What, capture};
use ringwork_tracing_tests::{Gate, runtime};
use std::future::pending;
use std::panic::Location;
use std::thread;

fn count(told: &[Told], what: What) -> usize {
    told.iter().filter(|told| told.what == what).count()
}

fn ops(told: &[Told], op: &str) -> usize {
    told.iter().filter(|told| told.field("op") == op).count()
}

fn named(name: &str) -> Builder {
    Builder::new().name(name.to_string())
}

/// What is true of every task that has ended: one span, entered and left in turn, closed last.
#[track_caller]
fn assert_has_ended(told: &[Told], polls: u64) {
    let span: Vec<What> = told.iter().map(|told| told.what).filter(|what| *what != What::Event).collect();
    let mut expected = vec![What::New];
    expected.extend([What::Enter, What::Exit].repeat(polls as usize));
    expected.push(What::Close);
    assert_eq!(span, expected);
}

#[test]
fn a_task_is_a_span_that_says_what_was_spawned_where() {
    let capture = capture();
    let runtime = runtime(2);
    let check = |name: &str, kind: &str, handle: &JoinHandle<()>, line: u32, target: &str| {
        let told = capture.of_task(name);
        assert_eq!((told[0].name, told[0].target), ("runtime.spawn", target));
        assert_eq!(told[0].field("kind"), kind);
        assert_eq!(told[0].field("task.id"), handle.id().to_string());
        assert_eq!(told[0].field("loc.file"), file!());
        assert_eq!(told[0].field("loc.line"), line.to_string());
        assert_ne!(told[0].field("loc.col"), "");
    };
    runtime.run_main(move || async move {
        let (send, line) = (named("send").spawn(async {}), line!());
        check("send", "task", &send, line, "tokio::task");
        let (local, line) = (named("local").spawn_local(async {}), line!());
        check("local", "local", &local, line, "tokio::task");
        let (on, line) = (named("on core 1").spawn_on(1, || async {}), line!());
        check("on core 1", "local", &on, line, "tokio::task");
        let (job, line) = (named("job").spawn_blocking(|| ()), line!());
        check("job", "blocking", &job, line, "tokio::task::blocking");
        let (heavy, line) = (named("heavy").spawn_heavy(|| ()), line!());
        check("heavy", "blocking", &heavy, line, "tokio::task::blocking");
        for handle in [send, local, on, job, heavy] {
            handle.await.unwrap();
        }
        for name in ["send", "local", "on core 1", "job", "heavy"] {
            assert_has_ended(&capture.of_task(name), 1);
        }
    });
}

#[test]
fn the_size_is_that_of_the_future_as_it_was_spawned() {
    let capture = capture();
    let future = async {
        let held = [7_u8; 3000];
        task::yield_now().await;
        std::hint::black_box(held);
    };
    let size = size_of_val(&future);
    let runtime = runtime(1);
    runtime.block_on(named("large").spawn_with(runtime.handle(), future)).unwrap();
    assert_eq!(capture.of_task("large")[0].field("size.bytes"), size.to_string());
}

#[test]
fn block_on_is_a_task_from_its_call_to_its_return() {
    let capture = capture();
    let line = line!() + 1;
    runtime(1).block_on(async { task::yield_now().await });
    let is_it = |told: &&Told| told.field("kind") == "block_on" && told.field("loc.line") == line.to_string();
    let told = capture.told();
    let span = told.iter().find(is_it).expect("it is there").span;
    let of_it: Vec<Told> =
        told.into_iter().filter(|told| told.what != What::Event && told.span == span).collect();
    assert_has_ended(&of_it, 2);
    assert_eq!(of_it[0].field("loc.file"), file!());
}

#[test]
fn each_poll_enters_the_span_where_the_task_is_polled_also_after_a_move() {
    let capture = capture();
    let runtime = runtime(2);
    let task = named("mover").spawn_with(runtime.handle(), async {
        let (mut threads, mut has_moved) = (Vec::new(), false);
        // A core whose thread the machine keeps waiting counts as stuck, and nothing comes to it.
        for turn in 0..1_000_000 {
            let there = turn % 2;
            if core::move_to(there).await {
                assert_eq!(core::current(), Some(there));
            }
            threads.push(thread::current().id());
            has_moved |= threads[0] != thread::current().id();
            if turn >= 40 && has_moved {
                break;
            }
        }
        threads
    });
    let mut threads = runtime.block_on(task).unwrap();
    threads.dedup();
    assert!(threads.len() > 1, "it has moved");
    let told = capture.of_task("mover");
    let polls = count(&told, What::Enter);
    assert_has_ended(&told, polls as u64);
    let mut entered: Vec<_> =
        told.iter().filter(|told| told.what == What::Enter).map(|told| told.thread).collect();
    entered.dedup();
    // The first poll may have been elsewhere, before the first move.
    assert!(entered.ends_with(&threads), "entered on {entered:?}, ran on {threads:?}");
    for pair in told.iter().filter(|told| told.what != What::Event).collect::<Vec<_>>()[1..].chunks_exact(2) {
        assert_eq!((pair[0].what, pair[0].thread), (What::Enter, pair[1].thread));
    }
}

#[test]
fn every_use_of_a_waker_is_an_event_and_none_is_left_at_the_end() {
    let capture = capture();
    let runtime = runtime(1);
    for (name, is_local) in [("woken", false), ("woken local", true)] {
        let gate = Gate::default();
        let future = gate.clone();
        let task = if is_local {
            named(name).spawn_on_with(runtime.handle(), 0, || future)
        } else {
            named(name).spawn_with(runtime.handle(), future)
        };
        for polls in 1..=5 {
            gate.await_polls(polls);
            gate.knock();
        }
        gate.await_polls(6);
        gate.open();
        runtime.block_on(task).unwrap();
        let told = capture.of_task(name);
        assert_has_ended(&told, 7);
        assert_eq!(ops(&told, "waker.wake"), 6, "{name}");
        assert_eq!(ops(&told, "waker.wake_by_ref"), 0, "{name}");
        assert_eq!(ops(&told, "waker.clone"), 6, "{name}");
        assert_eq!(ops(&told, "waker.drop"), 0, "{name}: waking by value drops");
    }
}

#[test]
fn a_task_that_yields_wakes_itself_inside_its_span() {
    let capture = capture();
    let runtime = runtime(1);
    let task = named("yields").spawn_with(runtime.handle(), async {
        task::yield_now().await;
    });
    runtime.block_on(task).unwrap();
    let told = capture.of_task("yields");
    let wakes: Vec<&Told> = told.iter().filter(|told| told.field("op").starts_with("waker.wake")).collect();
    assert_eq!(wakes.len(), 1);
    assert_eq!(wakes[0].span, told[0].span, "in its own span");
}

#[test]
fn a_panic_leaves_the_span_and_ends_it() {
    let capture = capture();
    let runtime = runtime(1);
    let failed = named("panics").spawn_with(runtime.handle(), async {
        task::yield_now().await;
        panic!("as it must");
    });
    let error = runtime.block_on(failed).unwrap_err();
    assert!(error.is_panic());
    assert_has_ended(&capture.of_task("panics"), 2);
    // What runs next on the same thread is not inside the span that was left so.
    let next = named("after the panic").spawn_with(runtime.handle(), async {
        tracing::trace!(target: "ringwork_tracing_tests", op = "seen after the panic");
    });
    runtime.block_on(next).unwrap();
    let told = capture.told();
    let event = told.iter().find(|told| told.field("op") == "seen after the panic").expect("it was told");
    assert_eq!(event.span, capture.of_task("after the panic")[0].span);
    let job = named("panicking job").spawn_blocking_with(runtime.handle(), || panic!("this, too"));
    let _: task::JoinError = runtime.block_on::<_>(job).map(|(): ()| ()).unwrap_err();
    assert_has_ended(&capture.of_task("panicking job"), 1);
}

#[test]
fn a_task_that_is_aborted_or_left_over_ends_its_span_without_a_poll() {
    let capture = capture();
    let dead: Handle = {
        let runtime = runtime(2);
        let gate = Gate::default();
        let aborted = named("aborted").spawn_with(runtime.handle(), gate.clone());
        gate.await_polls(1);
        aborted.abort();
        assert!(runtime.block_on(aborted).unwrap_err().is_cancelled());
        assert_has_ended(&capture.of_task("aborted"), 1);
        let gates = [Gate::default(), Gate::default()];
        let (send, local) = (gates[0].clone(), gates[1].clone());
        named("left over").spawn_with(runtime.handle(), async {
            send.await;
            pending::<()>().await;
        });
        named("left over local").spawn_on_with(runtime.handle(), 1, || async {
            local.await;
            pending::<()>().await;
        });
        gates.iter().for_each(|gate| gate.await_polls(1));
        runtime.handle().clone()
    };
    assert_has_ended(&capture.of_task("left over"), 1);
    assert_has_ended(&capture.of_task("left over local"), 1);
    for (name, task) in [
        ("late", named("late").spawn_with(&dead, async {})),
        ("late local", named("late local").spawn_on_with(&dead, 1, || async {})),
        ("late job", named("late job").spawn_blocking_with(&dead, || ())),
    ] {
        drop(task);
        assert_has_ended(&capture.of_task(name), 0);
    }
}

#[test]
fn the_span_ends_before_the_handle_learns_of_it_however_long_wakers_live() {
    let capture = capture();
    let runtime = runtime(1);
    let kept = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone()));
    let waker = runtime.block_on(named("short-lived").spawn_with(runtime.handle(), kept)).unwrap();
    assert_has_ended(&capture.of_task("short-lived"), 1);
    let _: &Location<'_> = Location::caller();
    waker.wake_by_ref();
    drop(waker);
    let told = capture.of_task("short-lived");
    assert_eq!(ops(&told, "waker.drop"), 1, "its events come all the same");
}
