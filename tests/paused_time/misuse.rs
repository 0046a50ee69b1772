//! Who may not touch the clock, and what the panic says.

use crate::kit::{self, bounded};
use crate::{YEARS, builder, paused};
use ringwork::runtime::{Builder, Runtime};
use ringwork::time::{Duration, Instant, advance, pause, resume, sleep};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[track_caller]
fn panic_of(body: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(body)).expect_err("it panics");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a message")).to_owned(),
    }
}

#[track_caller]
fn inside(runtime: &Runtime, body: impl FnOnce()) -> String {
    runtime.block_on(async { panic_of(body) })
}

#[test]
fn without_a_runtime_there_is_no_clock_to_stop() {
    for call in [pause as fn(), resume, || futures_executor::block_on(advance(Duration::ZERO))] {
        assert!(panic_of(call).contains("no ringwork runtime in reach"));
    }
}

#[test]
fn a_sleep_that_needs_another_timer_goes_back_to_no_core_whose_clock_may_be_another() {
    bounded(|| {
        let runtime = paused();
        let over = runtime.spawn(async {
            let mut nap = Box::pin(sleep(Duration::from_millis(1)));
            nap.as_mut().await;
            (nap,)
        });
        let (mut nap,) = runtime.block_on(over).unwrap();
        // By the system's clock, which goes; the core would jump there at once.
        nap.as_mut().reset(Instant::now() + Duration::from_secs(60));
        assert!(panic_of(|| futures_executor::block_on(nap)).contains("no ringwork runtime in reach"));
    });
}

#[test]
fn a_runtime_with_two_cores_cannot_stop_its_clock() {
    bounded(|| {
        let runtime = kit::runtime(2);
        for (name, call) in [
            ("pause", pause as fn()),
            ("resume", resume),
            ("advance", || futures_executor::block_on(advance(Duration::ZERO))),
        ] {
            let message = inside(&runtime, call);
            assert!(message.starts_with(&format!("time::{name} needs a runtime with one core")), "{message}");
        }
        let on_core = runtime.spawn(async { pause() });
        assert!(runtime.block_on(on_core).unwrap_err().to_string().contains("one core"));
        let message = panic_of(|| drop(builder().cores(2).build()));
        assert!(message.starts_with("start_paused needs a runtime with one core"), "{message}");
    });
}

#[test]
fn a_clock_that_stands_cannot_be_stopped_nor_one_that_goes_be_started_or_moved() {
    bounded(|| {
        let runtime = paused();
        assert!(inside(&runtime, pause).contains("stands already"));
        runtime.block_on(async { resume() });
        assert!(inside(&runtime, resume).contains("does not stand"));
        let moved = runtime.block_on(runtime.spawn(advance(Duration::ZERO)));
        assert!(moved.unwrap_err().to_string().contains("does not stand"));
        runtime.block_on(async { pause() });
        for far in [YEARS + Duration::from_nanos(1), Duration::from_millis(u64::MAX), Duration::MAX] {
            let moved = runtime.block_on(runtime.spawn(advance(far)));
            assert!(moved.unwrap_err().to_string().contains("by thirty years at most"));
        }
        // None of this has broken the clock.
        runtime.block_on(sleep(Duration::from_secs(1)));
    });
}

#[test]
fn a_clock_that_stands_from_the_start_means_one_core() {
    bounded(|| {
        assert_eq!(paused().handle().cores(), 1);
        assert_eq!(builder().cores(1).build().unwrap().handle().cores(), 1);
        assert_eq!(Builder::new().cores(2).start_paused(false).build().unwrap().handle().cores(), 2);
    });
}

#[ringwork::test(start_paused = true)]
async fn the_attribute_starts_with_a_clock_that_stands() {
    let start = ringwork::time::Instant::now();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(3600));
}

#[test]
fn the_panic_names_the_place_of_the_call() {
    kit::process::alone(|| {
        let (sender, places) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        std::panic::set_hook(Box::new(move |info| {
            let _ = sender.lock().unwrap().send(info.location().map(ToString::to_string));
        }));
        for (line, call) in [(line!(), (|| pause()) as fn()), (line!(), || resume())] {
            let _ = panic_of(call);
            let place = places.recv().unwrap().expect("a place");
            assert!(place.contains(&format!("misuse.rs:{line}:")), "line {line}: {place}");
        }
    });
}
