//! What a plain subscriber sees of timers.
#![forbid(unsafe_code)]

use ringwork::time::{Duration, Instant, interval, sleep, timeout};
use ringwork_tracing_tests::capture::{Told, What, capture};
use ringwork_tracing_tests::runtime;
use std::pin::pin;

/// What was told of the timer made in this file at `line`: of its spans, and inside them.
fn of_timer(line: u32) -> Vec<Told> {
    let told = capture().told();
    let is_it = |told: &&Told| told.field("kind") == "timer" && told.field("loc.line") == line.to_string();
    let at = told.iter().position(|told| is_it(&told)).expect("there is a timer of that line");
    assert_eq!((told[at].name, told[at].field("loc.file")), ("runtime.resource", file!()));
    // Made one after the other, by the same thread.
    let made = told[at..].iter().filter(|told| told.what == What::New);
    let spans: Vec<u64> =
        made.filter(|made| made.thread == told[at].thread).take(3).map(|made| made.span).collect();
    told.into_iter().filter(|told| spans.contains(&told.span)).collect()
}

fn names(told: &[Told], what: What) -> Vec<&'static str> {
    told.iter().filter(|told| told.what == what).map(|told| told.name).collect()
}

fn polls(told: &[Told]) -> Vec<&str> {
    let polled = told.iter().filter(|told| told.target == "runtime::resource::poll_op");
    polled.map(|told| told.field("is_ready")).collect()
}

fn durations(told: &[Told]) -> Vec<u64> {
    let updates = told.iter().filter(|told| told.target == "runtime::resource::state_update");
    updates.map(|told| told.field("duration").parse().unwrap()).collect()
}

#[test]
fn a_sleep_is_a_resource_that_its_task_polls_until_the_time_has_come() {
    capture();
    let line = runtime(1).block_on(async {
        let (wait, line) = (sleep(Duration::from_millis(20)), line!());
        wait.await;
        line
    });
    let told = of_timer(line);
    let spans = ["runtime.resource", "runtime.resource.async_op", "runtime.resource.async_op.poll"];
    assert_eq!(names(&told, What::New), spans);
    assert_eq!(polls(&told), ["false", "true"]);
    assert!(durations(&told)[0] <= 20);
    let ended: Vec<&str> = spans.into_iter().rev().collect();
    assert_eq!(names(&told, What::Close), ended);
    let polled = told.iter().filter(|told| told.target == "runtime::resource::poll_op");
    assert!(
        polled
            .into_iter()
            .all(|polled| polled.span == told.iter().rev().find(|told| told.name == spans[2]).unwrap().span)
    );
}

#[test]
fn a_reset_tells_the_new_deadline_and_a_drop_ends_the_resource() {
    capture();
    let line = runtime(1).block_on(async {
        let (wait, line) = (sleep(Duration::from_secs(3600)), line!());
        let mut wait = pin!(wait);
        assert!(timeout(Duration::from_millis(2), wait.as_mut()).await.is_err());
        wait.as_mut().reset(Instant::now() + Duration::from_secs(7200));
        line
    });
    let told = of_timer(line);
    let [first, second] = durations(&told)[..] else { panic!("{told:#?}") };
    assert!(first <= 3_600_000 && (3_600_000..=7_200_000).contains(&second), "{first}, {second}");
    assert!(polls(&told).iter().all(|ready| *ready == "false"));
    assert_eq!(names(&told, What::Close).len(), 3);
}

#[test]
fn timeouts_and_intervals_are_timers_of_the_place_that_makes_them() {
    capture();
    let (of_timeout, of_interval) = runtime(1).block_on(async {
        let (limited, first) = (timeout(Duration::from_millis(2), std::future::pending::<()>()), line!());
        assert!(limited.await.is_err());
        let (mut ticks, second) = (interval(Duration::from_millis(2)), line!());
        ticks.tick().await;
        ticks.tick().await;
        (first, second)
    });
    assert!(polls(&of_timer(of_timeout)).ends_with(&["true"]));
    let told = of_timer(of_interval);
    let ready = polls(&told).into_iter().filter(|ready| *ready == "true").count();
    assert_eq!(ready, 2);
}
