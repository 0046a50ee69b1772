//! Runtimes one after the other: each gives back what it took.

use crate::kit::{Event, bounded, echo_server, process, runtime, talk, wait_for};
use ringwork::runtime::{Builder, Handle, Pin, Runtime};
use ringwork::time::{Duration, sleep};
use std::net;
use std::sync::mpsc;
use std::thread;

/// A bit of everything, some of it still going on when the runtime ends.
fn use_it(runtime: &Runtime, echo: net::SocketAddr) {
    runtime.block_on(runtime.spawn(talk(echo, "on a core"))).unwrap().unwrap();
    runtime.block_on(talk(echo, "from outside")).unwrap();
    let file = runtime.spawn(async { ringwork::fs::read("Cargo.toml").await.unwrap().len() });
    assert!(runtime.block_on(file).unwrap() > 0);
    assert_eq!(runtime.block_on(runtime.handle().spawn_blocking(|| 1)).unwrap(), 1);
    drop(runtime.spawn(sleep(Duration::from_secs(3600))));
    for _ in 0..3 {
        drop(runtime.spawn(async move {
            let stream = ringwork::net::TcpStream::connect(echo).await.unwrap();
            loop {
                stream.recv_pooled().await.unwrap();
            }
        }));
    }
}

#[test]
fn a_hundred_runtimes_leave_no_descriptor_thread_or_mapping() {
    process::alone(|| {
        bounded(|| {
            let echo = echo_server();
            let threads = process::threads().len();
            let levels = || {
                // Also those of the server, whose clients have gone.
                wait_for("all threads to end", || process::threads().len() <= threads);
                (process::descriptors(), process::maps())
            };
            let mut before = (0, 0);
            for round in 0..120 {
                let runtime = runtime(1 + round % 2);
                use_it(&runtime, echo);
                let report = runtime.shutdown_timeout(Duration::from_secs(20));
                assert!(report.is_clean(), "{report}");
                if round == 19 {
                    before = levels();
                }
            }
            let after = levels();
            assert_eq!(after.0, before.0, "descriptors");
            // The allocator's own mappings come and go; a runtime's would be hundreds.
            assert!(after.1 < before.1 + 50, "{} mappings, then {}", before.1, after.1);
        });
    });
}

#[test]
fn a_hundred_runtimes_leave_no_memory() {
    process::alone(|| {
        bounded(|| {
            let echo = echo_server();
            let mut before = 0;
            for round in 0..120 {
                let runtime = runtime(1);
                use_it(&runtime, echo);
                drop(runtime);
                if round == 19 {
                    before = process::resident();
                }
            }
            let grown = process::resident().saturating_sub(before);
            // A runtime's buffer pool alone is a megabyte.
            assert!(grown < 16 << 20, "{} KiB more", grown >> 10);
        });
    });
}

#[test]
fn runtimes_that_end_while_they_serve_leave_no_descriptor() {
    process::alone(|| {
        bounded(|| {
            let serve = || {
                let runtime = runtime(2);
                let address = "127.0.0.1:0".parse().unwrap();
                let handler = |_stream: ringwork::net::TcpStream, _peer| async {};
                let server = runtime.block_on(ringwork::serve_per_core(address, handler)).unwrap();
                // Each core has had a few turns, and all tasks of the server have begun to wait.
                (0..6).for_each(|turn| runtime.block_on(runtime.handle().call(turn % 2, || ())).unwrap());
                drop(runtime);
                drop(server);
            };
            serve();
            let before = process::descriptors();
            (0..5).for_each(|_| serve());
            wait_for("all cores to end", || process::threads_named("ringwork").is_empty());
            assert_eq!(process::descriptors(), before);
        });
    });
}

#[test]
fn a_runtime_that_fails_to_start_leaves_nothing() {
    process::alone(|| {
        let start = || Builder::new().cores(2).pin(Pin::Off);
        drop(start().build().unwrap());
        let before = process::descriptors();
        for _ in 0..20 {
            let refused = start().on_core_start(|core| assert!(core == 0, "not this one")).build();
            refused.expect_err("the hook panics on core 1");
        }
        wait_for("all cores to end", || process::threads_named("ringwork").is_empty());
        assert_eq!(process::descriptors(), before);
    });
}

#[test]
fn a_runtime_that_fails_to_start_leaves_nothing_however_much_its_hooks_have_spawned() {
    process::alone(|| {
        let start = || Builder::new().cores(2).pin(Pin::Off);
        drop(start().build().unwrap());
        let before = process::descriptors();
        let hook = |core| {
            // More than a core's queue holds: some wait where all cores find them.
            (0..1_000).for_each(|_| drop(ringwork::spawn(std::future::pending::<()>())));
            assert!(core == 0, "not this one");
        };
        start().on_core_start(hook).build().expect_err("the hook panics on core 1");
        wait_for("all cores to end", || process::threads_named("ringwork").is_empty());
        assert_eq!(process::descriptors(), before);
    });
}

/// The start fails by another core's hook, but only once core 0 has `begun` a job: those that come after the
/// failure are refused.
fn fails_elsewhere(core: usize, begun: &Event) {
    if core != 0 {
        begun.wait_blocking();
        panic!("not this one");
    }
}

#[test]
fn a_runtime_that_fails_to_start_ends_its_blocking_pool() {
    process::alone(|| {
        bounded(|| {
            let (jobs, waiting) = mpsc::channel();
            let begun = Event::default();
            let hook = move |core| {
                fails_elsewhere(core, &begun);
                let begin = begun.clone();
                let first = ringwork::spawn_blocking(move || begin.set());
                begun.wait_blocking();
                jobs.send((first, Handle::current())).unwrap();
            };
            let builder = Builder::new().cores(2).pin(Pin::Off).thread_keep_alive(Duration::MAX);
            builder.on_core_start(hook).build().expect_err("the hook panics on core 1");
            let (first, handle) = waiting.recv().unwrap();
            futures_executor::block_on(first).unwrap();
            let late = handle.spawn_blocking(|| ());
            assert!(futures_executor::block_on(late).unwrap_err().is_cancelled());
            wait_for("the pool to end", || process::threads_named("rw-pool").is_empty());
        });
    });
}

#[test]
fn a_runtime_that_fails_to_start_cancels_the_jobs_that_wait() {
    bounded(|| {
        let (jobs, waiting) = mpsc::channel();
        let begun = Event::default();
        let hook = move |core| {
            fails_elsewhere(core, &begun);
            let begin = begun.clone();
            let (open, gate) = mpsc::channel::<()>();
            let first = ringwork::spawn_blocking(move || {
                begin.set();
                gate.recv().is_err()
            });
            begun.wait_blocking();
            let second = ringwork::spawn_blocking(|| ());
            jobs.send((first, second, open)).unwrap();
        };
        let builder = Builder::new().cores(2).pin(Pin::Off).max_blocking_threads(1);
        let start = thread::spawn(move || builder.on_core_start(hook).build());
        let (first, second, open) = waiting.recv().unwrap();
        assert!(futures_executor::block_on(second).unwrap_err().is_cancelled());
        drop(open);
        assert!(futures_executor::block_on(first).unwrap());
        start.join().unwrap().expect_err("the hook panics on core 1");
    });
}

#[test]
fn handles_that_stay_keep_no_descriptors_and_no_threads() {
    process::alone(|| {
        bounded(|| {
            drop(runtime(2));
            let before = process::descriptors();
            let handles: Vec<_> = (0..20).map(|_| runtime(2).handle().clone()).collect();
            let kept = process::descriptors() - before;
            // Doorbells may stay as long as somebody could ring them.
            assert!(kept <= 2 * handles.len(), "{kept} descriptors");
            wait_for("all cores to end", || process::threads_named("ringwork").is_empty());
            drop(handles);
            assert_eq!(process::descriptors(), before);
        });
    });
}

#[test]
fn a_process_without_descriptors_cannot_start_a_runtime_and_says_so() {
    process::alone(|| {
        drop(runtime(1));
        let hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        let error = Builder::new().cores(1).build().unwrap_err().to_string();
        drop(hoard);
        assert!(error.contains("descriptors") && error.contains("ulimit -n"), "{error}");
        drop(runtime(1));
    });
}
