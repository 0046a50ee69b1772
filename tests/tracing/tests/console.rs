//! The console's own subscriber in a ringwork program, and what it sends to a client: our tasks.
//!
//! console-subscriber wants a `cfg` that says that these tasks are not tokio's; the configuration in this
//! folder sets it, so run `cargo test` here.
#![forbid(unsafe_code)]

use ringwork::core;
use ringwork::task::{Builder, yield_now};
use ringwork_tracing_tests::client::{Shown, client};
use ringwork_tracing_tests::{Gate, runtime};

fn named(name: &str) -> Builder {
    Builder::new().name(name.to_string())
}

/// Waits until the console shows the end of the task with this name.
fn end_of(name: &str) -> Shown {
    client().wait_for(|seen| seen.task(name).filter(Shown::has_ended))
}

#[test]
#[cfg_attr(
    not(console_without_tokio_unstable),
    ignore = "run it in tests/tracing, whose .cargo/config.toml counts"
)]
fn the_console_shows_names_places_polls_wakes_and_ends() {
    let client = client();
    let runtime = runtime(1);
    let gate = Gate::default();
    let (task, line) = (named("gated").spawn_with(runtime.handle(), gate.clone()), line!());
    gate.await_polls(1);
    let shown = client.wait_for(|seen| seen.task("gated").filter(|task| task.polls() == 1));
    assert_eq!((shown.location.file(), shown.location.line()), (file!(), line));
    assert_eq!(shown.fields["kind"], "task");
    assert_eq!(shown.fields["task.id"], task.id().to_string());
    assert!(!shown.has_ended());
    assert_eq!((shown.stats.wakes, shown.stats.waker_clones, shown.stats.waker_drops), (0, 1, 0));

    gate.knock();
    gate.await_polls(2);
    let shown = client.wait_for(|seen| seen.task("gated").filter(|task| task.polls() == 2));
    assert_eq!((shown.stats.wakes, shown.stats.self_wakes), (1, 0));

    gate.open();
    runtime.block_on(task).unwrap();
    let shown = end_of("gated");
    assert_eq!((shown.polls(), gate.polls()), (3, 3));
    assert_eq!((shown.stats.wakes, shown.stats.self_wakes), (2, 0));
    assert_eq!((shown.stats.waker_clones, shown.stats.waker_drops), (2, 2));
}

#[test]
#[cfg_attr(
    not(console_without_tokio_unstable),
    ignore = "run it in tests/tracing, whose .cargo/config.toml counts"
)]
fn the_console_follows_a_task_from_core_to_core() {
    client();
    let runtime = runtime(2);
    let gate = Gate::default();
    let waits = gate.clone();
    let (task, line) = (
        named("moved").spawn_with(runtime.handle(), async move {
            let mut came = Vec::new();
            // A core whose thread the machine keeps waiting counts as stuck, and nothing comes to it.
            for turn in 0..1_000_000 {
                core::move_to(turn % 2).await;
                came.push(core::current());
                if turn >= 10 && came[0] != core::current() {
                    break;
                }
            }
            waits.await;
            came
        }),
        line!() - 13,
    );
    gate.await_polls(1);
    let before = client().wait_for(|seen| seen.task("moved").filter(|task| task.stats.waker_clones > 0));
    assert!(before.polls() > 1);
    gate.knock();
    gate.await_polls(2);
    gate.open();
    let mut came = runtime.block_on(task).unwrap();
    came.dedup();
    assert!(came.len() > 1, "it has moved");
    let shown = end_of("moved");
    assert_eq!((shown.location.file(), shown.location.line()), (file!(), line));
    assert_eq!(shown.polls(), before.polls() + 2, "each poll, wherever it was, once");
    assert_eq!(shown.stats.waker_clones, shown.stats.waker_drops);
}

#[test]
#[cfg_attr(
    not(console_without_tokio_unstable),
    ignore = "run it in tests/tracing, whose .cargo/config.toml counts"
)]
fn the_console_tells_the_kinds_of_tasks_apart() {
    client();
    let runtime = runtime(1);
    runtime.block_on(async {
        let local = named("local one").spawn_on(0, || async {
            for _ in 0..3 {
                yield_now().await;
            }
        });
        let job = named("blocking one").spawn_blocking(|| ());
        local.await.unwrap();
        job.await.unwrap();
    });
    let local = end_of("local one");
    assert_eq!(local.fields["kind"], "local");
    assert_eq!((local.polls(), local.stats.self_wakes), (4, 3));
    let job = end_of("blocking one");
    assert_eq!((job.fields["kind"].as_str(), job.polls()), ("blocking", 1));
    let outer = client().wait_for(|seen| seen.kind("block_on").filter(Shown::has_ended));
    assert_eq!(outer.location.file(), file!());
}

#[test]
#[cfg_attr(
    not(console_without_tokio_unstable),
    ignore = "run it in tests/tracing, whose .cargo/config.toml counts"
)]
fn the_console_shows_how_panics_aborts_and_runtimes_end_tasks() {
    client();
    let gates = [Gate::default(), Gate::default()];
    {
        let runtime = runtime(1);
        let failed = named("fails").spawn_with(runtime.handle(), async { panic!("as it must") });
        let _: ringwork::task::JoinError = runtime.block_on::<_>(failed).map(|(): ()| ()).unwrap_err();
        let aborted = named("is aborted").spawn_with(runtime.handle(), gates[0].clone());
        drop(named("is left").spawn_with(runtime.handle(), gates[1].clone()));
        gates.iter().for_each(|gate| gate.await_polls(1));
        aborted.abort();
        assert!(runtime.block_on(aborted).unwrap_err().is_cancelled());
    }
    for name in ["fails", "is aborted", "is left"] {
        assert_eq!(end_of(name).polls(), 1, "{name}");
    }
    client().wait_for(|seen| (seen.dropped == 0).then_some(()));
}

#[test]
#[cfg_attr(
    not(console_without_tokio_unstable),
    ignore = "run it in tests/tracing, whose .cargo/config.toml counts"
)]
fn the_console_shows_which_task_waits_for_a_timer() {
    client();
    let runtime = runtime(1);
    let task = named("sleeper").spawn_with(runtime.handle(), async {
        ringwork::time::sleep(ringwork::time::Duration::from_secs(3600)).await;
    });
    let shown = client().wait_for(|seen| seen.task("sleeper").filter(|task| task.polls() == 1));
    let waits = client().wait_for(|seen| Some(seen.waits_of(shown.id)).filter(|waits| !waits.is_empty()));
    assert_eq!(waits, [("Sleep".to_string(), "Sleep".to_string(), 1)]);
    task.abort();
    assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    end_of("sleeper");
}
