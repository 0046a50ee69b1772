//! How many jobs run at once: each lane as many as it may, and no lane waits for the other.

use crate::kit::{bounded, seccomp, wait_for};
use crate::{Gate, bounds, fill, fill_heavy, heavy, join_all, pool_of, short};
use ringwork::runtime::Builder;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts who is inside, and how many there have been at once.
#[derive(Clone, Default)]
struct Peak(Arc<(AtomicUsize, AtomicUsize)>);

impl Peak {
    fn visit(&self, inside: impl FnOnce()) {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        inside();
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn height(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

#[test]
fn calls_run_at_once_up_to_their_bound_and_the_others_wait() {
    bounded(|| {
        let runtime = pool_of(3);
        let (gate, peak) = (Gate::default(), Peak::default());
        let jobs: Vec<_> = (0..12)
            .map(|n| {
                let (gate, peak) = (gate.clone(), peak.clone());
                runtime.handle().spawn_blocking(move || {
                    peak.visit(|| gate.pass());
                    n
                })
            })
            .collect();
        wait_for("three at work", || short(&runtime).running == 3);
        assert_eq!((short(&runtime).queued, runtime.handle().metrics().blocking_threads), (9, 3));
        gate.open();
        assert_eq!(join_all(&runtime, jobs), (0..12).collect::<Vec<_>>());
        assert_eq!(peak.height(), 3);
    });
}

#[test]
fn short_calls_go_on_while_the_heavy_lane_is_full() {
    bounded(|| {
        let runtime = bounds(2, 1).build().unwrap();
        let _guard = runtime.handle().enter();
        let (gate, peak) = (Gate::default(), Peak::default());
        let busy = fill_heavy(&runtime, &gate);
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let peak = peak.clone();
                ringwork::spawn_heavy(move || peak.visit(std::thread::yield_now))
            })
            .collect();
        for n in 0..100 {
            assert_eq!(runtime.block_on(ringwork::spawn_blocking(move || n)).unwrap(), n);
        }
        assert_eq!((heavy(&runtime).running, heavy(&runtime).queued, peak.height()), (1, 8, 0));
        gate.open();
        join_all(&runtime, busy.into_iter().chain(waiting));
        assert_eq!(peak.height(), 1);
    });
}

#[test]
fn heavy_jobs_go_on_while_short_calls_fill_their_lane() {
    bounded(|| {
        let runtime = pool_of(2);
        let _guard = runtime.handle().enter();
        let gate = Gate::default();
        let busy = fill(&runtime, &gate);
        let waits = ringwork::spawn_blocking(|| ());
        for n in 0..100 {
            assert_eq!(runtime.block_on(ringwork::spawn_heavy(move || n)).unwrap(), n);
        }
        assert!(!waits.is_finished());
        gate.open();
        join_all(&runtime, busy.into_iter().chain([waits]));
    });
}

#[test]
fn heavy_jobs_are_no_more_than_the_cpus_whatever_was_asked_for() {
    bounded(|| {
        let limit = |builder: Builder| heavy(&builder.cores(1).build().unwrap()).limit;
        let default = limit(Builder::new());
        let cpus = Builder::new().capabilities().cpus.len() as u64;
        assert!((1..=cpus).contains(&default), "{default} for {cpus} CPUs");
        assert_eq!(limit(Builder::new().max_heavy_threads(1 << 20)), default);
        assert_eq!(limit(Builder::new().max_heavy_threads(1)), 1);
    });
}

#[test]
#[should_panic(expected = "at least one thread")]
fn a_bound_of_no_short_calls_is_refused() {
    let _ = Builder::new().max_blocking_threads(0);
}

#[test]
#[should_panic(expected = "at least one thread for jobs that compute")]
fn a_bound_of_no_heavy_jobs_is_refused() {
    let _ = Builder::new().max_heavy_threads(0);
}

#[test]
fn a_bound_that_no_number_of_threads_reaches_is_none() {
    bounded(|| {
        let runtime = bounds(usize::MAX, usize::MAX).build().unwrap();
        assert_eq!(runtime.block_on(runtime.handle().spawn_blocking(|| 7)).unwrap(), 7);
    });
}

/// Has the system refuse the threads that this one would start, as it does at a limit of processes.
fn refuse_threads() {
    for call in [libc::SYS_clone3, libc::SYS_clone] {
        seccomp::forbid(call, libc::EAGAIN).unwrap();
    }
}

#[test]
fn a_call_of_the_library_that_gets_no_thread_is_an_error_with_its_cure() {
    bounded(|| {
        let runtime = pool_of(1);
        refuse_threads();
        let error = runtime.block_on(ringwork::fs::canonicalize(".")).unwrap_err();
        assert!(error.to_string().contains("ulimit -u"), "{error}");
        let error = runtime.block_on(ringwork::net::lookup_host("localhost:1")).unwrap_err();
        assert!(error.to_string().contains("ulimit -u"), "{error}");
        // On its core, which may start threads, the same call works.
        runtime.block_on(runtime.spawn(ringwork::fs::canonicalize("."))).unwrap().unwrap();
    });
}
