//! openraft's own suite for async runtimes, on ringwork.

use openraft::testing::runtime::Suite;
use openraft::{AsyncRuntime, Instant as _};
use ringwork::runtime::{Builder, Pin};
use ringwork_openraft::runtime::{RingworkInstant, RingworkRuntime};

#[test]
fn openrafts_suite_passes() {
    Suite::<RingworkRuntime>::test_all();
}

/// The suite above has one core, so no task of it ever moves.
#[test]
fn openrafts_suite_passes_on_several_cores() {
    let runtime = Builder::new().cores(3).pin(Pin::Off).build().expect("a runtime starts");
    Suite::<RingworkRuntime>::test_all_on(&mut RingworkRuntime::from(runtime));
}

/// In a program the suite's future would be a task of a core, where timers and wakes take another path than
/// on a thread that blocks on it.
#[test]
fn what_the_suite_waits_for_also_comes_to_a_task() {
    let mut runtime = RingworkRuntime::new(2);
    runtime.block_on(async {
        let task = RingworkRuntime::spawn(async {
            Suite::<RingworkRuntime>::test_sleep().await;
            Suite::<RingworkRuntime>::test_sleep_until().await;
            Suite::<RingworkRuntime>::test_timeout().await;
            Suite::<RingworkRuntime>::test_timeout_at().await;
            Suite::<RingworkRuntime>::test_mpsc_backpressure().await;
            Suite::<RingworkRuntime>::test_oneshot_send_from_another_task().await;
            Suite::<RingworkRuntime>::test_mutex_contention().await;
        });
        task.await.expect("the task ends well");
    });
}

#[test]
fn a_panic_of_a_task_is_told_from_a_cancelled_one() {
    let mut runtime = RingworkRuntime::new(1);
    let (panicked, cancelled) = runtime.block_on(async {
        let panics = RingworkRuntime::spawn(async { panic!("on purpose") });
        let waits = RingworkRuntime::spawn(std::future::pending::<()>());
        waits.abort();
        (panics.await.unwrap_err(), waits.await.unwrap_err())
    });
    assert!(RingworkRuntime::is_panic(&panicked), "{panicked}");
    assert!(!RingworkRuntime::is_panic(&cancelled), "{cancelled}");
}

/// What a test does with ringwork's clock, Raft sees.
#[ringwork::test(start_paused = true)]
async fn raft_goes_by_a_clock_that_was_stopped() {
    let hour = std::time::Duration::from_secs(3_600);
    let began = RingworkInstant::now();
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
    RingworkRuntime::sleep(hour).await;
    RingworkRuntime::sleep_until(began + 2 * hour).await;
    let late = RingworkRuntime::timeout_at(began + 3 * hour, std::future::pending::<()>()).await;
    assert!(late.is_err());
    assert!(began.elapsed() >= 3 * hour && began.elapsed() < 4 * hour, "{:?}", began.elapsed());
}

#[test]
fn calls_that_block_run_beside_the_cores() {
    let mut runtime = RingworkRuntime::new(1);
    let on_the_core = runtime
        .block_on(async { RingworkRuntime::spawn(async { std::thread::current().id() }).await.unwrap() });
    let beside = runtime
        .block_on(async { RingworkRuntime::spawn_blocking(|| std::thread::current().id()).await.unwrap() });
    assert_ne!(on_the_core, beside);
    assert_ne!(beside, std::thread::current().id());
}
