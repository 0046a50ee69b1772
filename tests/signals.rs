//! Signals as futures: every listener sees them, none is lost, nobody else's handling is disturbed.

mod kit;

use futures_util::future::{Either, join, select};
use kit::process::{alone, descriptors, kill};
use kit::{bounded, poll_once, runtime, wait_for};
use ringwork::runtime::Runtime;
use ringwork::signal::{Signal, ctrl_c, shutdown};
use ringwork::time::{Duration, sleep};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

/// To whichever thread the kernel picks, as from outside.
fn send(signal: i32) {
    kill(std::process::id(), signal);
}

/// To this thread: handled when the call returns.
fn raise(signal: i32) {
    // SAFETY: a call without memory; the handlers of these tests do nothing but count.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// A runtime of its own process.
fn with_runtime(cores: usize, body: impl FnOnce(&Runtime) + Send + 'static) {
    bounded(move || {
        let runtime = runtime(cores);
        body(&runtime);
        assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
    });
}

/// Whether the future is still waiting after a moment.
async fn still_waits(future: &mut (impl Future + Unpin)) -> bool {
    matches!(select(future, pin!(sleep(Duration::from_millis(20)))).await, Either::Right(_))
}

#[test]
fn ctrl_c_waits_for_sigint_and_for_nothing_else() {
    alone(|| {
        with_runtime(1, |runtime| {
            let task = runtime.spawn(async {
                let other = Signal::new(&[libc::SIGUSR1]).unwrap();
                let mut waiting = pin!(ctrl_c());
                assert!(still_waits(&mut waiting).await);
                send(libc::SIGUSR1);
                other.recv().await.unwrap();
                assert!(still_waits(&mut waiting).await);
                send(libc::SIGINT);
                waiting.await.unwrap();
            });
            runtime.block_on(task).unwrap();
        });
    });
}

#[test]
fn a_listener_for_one_kind_hears_each_delivery_and_no_other_kind() {
    use ringwork::signal::unix::{SignalKind, signal};

    alone(|| {
        with_runtime(1, |runtime| {
            let task = runtime.spawn(async {
                let mut hangups = signal(SignalKind::hangup()).unwrap();
                let mut ends = signal(SignalKind::terminate()).unwrap();
                for _ in 0..3 {
                    raise(libc::SIGHUP);
                    assert_eq!(hangups.recv().await, Some(()));
                }
                {
                    let mut waiting = pin!(ends.recv());
                    assert!(still_waits(&mut waiting).await);
                    raise(libc::SIGTERM);
                }
                assert_eq!(ends.recv().await, Some(()), "the delivery stays for the next call");
                assert!(signal(SignalKind::from_raw(libc::SIGKILL)).is_err());
            });
            runtime.block_on(task).unwrap();
        });
    });
}

#[test]
fn shutdown_waits_for_either_of_its_signals() {
    alone(|| {
        with_runtime(1, |runtime| {
            for signal in [libc::SIGTERM, libc::SIGINT] {
                let waiting = shutdown();
                send(signal);
                runtime.block_on(waiting).unwrap();
            }
        });
    });
}

#[test]
fn two_listeners_both_see_one_signal() {
    alone(|| {
        with_runtime(2, |runtime| {
            let listen = || Signal::new(&[libc::SIGHUP]).unwrap();
            let (one, two) = (listen(), listen());
            let one = runtime.handle().spawn_on(0, move || async move { one.recv().await });
            let two = runtime.handle().spawn_on(1, move || async move { two.recv().await });
            send(libc::SIGHUP);
            let (one, two) = runtime.block_on(join(one, two));
            one.unwrap().unwrap();
            two.unwrap().unwrap();
        });
    });
}

#[test]
fn listeners_in_two_runtimes_both_see_one_signal() {
    alone(|| {
        bounded(|| {
            let (first, second) = (runtime(1), runtime(1));
            let listen = || Signal::new(&[libc::SIGHUP]).unwrap();
            let (one, two) = (listen(), listen());
            let one = first.spawn(async move { one.recv().await });
            let two = second.spawn(async move { two.recv().await });
            send(libc::SIGHUP);
            first.block_on(one).unwrap().unwrap();
            drop(first);
            second.block_on(two).unwrap().unwrap();
        });
    });
}

#[test]
fn a_signal_between_making_and_waiting_is_not_lost() {
    alone(|| {
        with_runtime(1, |runtime| {
            let signal = Signal::new(&[libc::SIGUSR2]).unwrap();
            raise(libc::SIGUSR2);
            runtime.block_on(signal.recv()).unwrap();
            // And it was seen once.
            runtime.block_on(async { assert!(still_waits(&mut pin!(signal.recv())).await) });
        });
    });
}

#[test]
fn each_wait_sees_the_next_signal() {
    alone(|| {
        with_runtime(2, |runtime| {
            let seen = std::sync::Arc::new(AtomicUsize::new(0));
            let count = std::sync::Arc::clone(&seen);
            let signal = Signal::new(&[libc::SIGUSR1]).unwrap();
            let counting = runtime.spawn(async move {
                loop {
                    signal.recv().await.unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
            for expected in 1..=100 {
                send(libc::SIGUSR1);
                wait_for("the signal", || seen.load(Ordering::SeqCst) == expected);
            }
            counting.abort();
        });
    });
}

#[test]
fn a_wait_that_is_dropped_loses_no_signal() {
    alone(|| {
        with_runtime(1, |runtime| {
            let task = runtime.spawn(async {
                let signal = Signal::new(&[libc::SIGUSR1]).unwrap();
                for round in 0..50 {
                    let mut waiting = Box::pin(signal.recv());
                    assert!(poll_once(&mut waiting).await.is_pending());
                    send(libc::SIGUSR1);
                    // With and without time for the kernel's answer to arrive.
                    for _ in 0..round {
                        ringwork::task::yield_now().await;
                    }
                    if round % 5 == 0 {
                        sleep(Duration::from_millis(2)).await;
                    }
                    drop(waiting);
                    signal.recv().await.unwrap();
                }
            });
            runtime.block_on(task).unwrap();
        });
    });
}

#[test]
fn a_listener_that_is_dropped_leaves_the_process_alive() {
    alone(|| {
        with_runtime(1, |runtime| {
            let before = descriptors();
            drop(Signal::new(&[libc::SIGTERM]).unwrap());
            assert_eq!(descriptors(), before);
            raise(libc::SIGTERM);
            // Whoever listens next sees only what comes next.
            let next = Signal::new(&[libc::SIGTERM]).unwrap();
            runtime.block_on(async { assert!(still_waits(&mut pin!(next.recv())).await) });
            send(libc::SIGTERM);
            runtime.block_on(next.recv()).unwrap();
        });
    });
}

#[test]
fn a_listener_outlives_its_runtime() {
    alone(|| {
        bounded(|| {
            let signal = std::sync::Arc::new(Signal::new(&[libc::SIGUSR1]).unwrap());
            let first = runtime(1);
            let inner = std::sync::Arc::clone(&signal);
            let waiting = first.spawn(async move { inner.recv().await });
            wait_for("the wait", || first.handle().metrics().cores[0].in_flight > 0);
            drop(first);
            assert!(futures_executor::block_on(waiting).unwrap_err().is_cancelled());
            send(libc::SIGUSR1);
            let second = runtime(1);
            second.block_on(signal.recv()).unwrap();
        });
    });
}

static OTHERS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn others(_: i32) {
    OTHERS.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_handler_that_was_there_before_is_still_called() {
    alone(|| {
        // SAFETY: the handler adds to an atomic, which is async-signal-safe.
        let before = unsafe { libc::signal(libc::SIGUSR2, others as *const () as libc::sighandler_t) };
        assert_ne!(before, libc::SIG_ERR);
        with_runtime(1, |runtime| {
            let signal = Signal::new(&[libc::SIGUSR2]).unwrap();
            send(libc::SIGUSR2);
            runtime.block_on(signal.recv()).unwrap();
            assert_eq!(OTHERS.load(Ordering::SeqCst), 1);
        });
    });
}

#[test]
fn signals_that_cannot_be_caught_are_refused() {
    alone(|| {
        for signal in [libc::SIGKILL, libc::SIGSTOP] {
            let error = Signal::new(&[libc::SIGUSR1, signal]).expect_err("refused");
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
        assert!(std::panic::catch_unwind(|| Signal::new(&[libc::SIGSEGV]).map(drop)).is_err());
    });
}

#[test]
fn masks_of_threads_are_left_alone() {
    alone(|| {
        let blocked = || kit::process::status("/proc/thread-self/status", "SigBlk").unwrap();
        let before = blocked();
        with_runtime(1, move |runtime| {
            let _signal = Signal::new(&[libc::SIGUSR1]).unwrap();
            assert_eq!(blocked(), before);
            assert_eq!(runtime.block_on(runtime.spawn(async move { blocked() })).unwrap(), before);
        });
    });
}
