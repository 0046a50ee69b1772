//! The blocking pool as users see it: bounds, cancelling, races, and what its metrics say.

#[path = "../kit/mod.rs"]
mod kit;

mod abort;
mod abort_on_drop;
mod limits;
mod races;
mod waits;

use ringwork::LaneMetrics;
use ringwork::runtime::{Builder, Pin, Runtime};
use ringwork::task::JoinHandle;
use std::sync::{Arc, Condvar, Mutex};

/// What jobs wait at until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }

    /// A call that waits here.
    fn job(&self) -> impl FnOnce() + Send + 'static {
        let gate = self.clone();
        move || gate.pass()
    }
}

/// A runtime for so many short and so many heavy jobs at once.
fn bounds(short: usize, heavy: usize) -> Builder {
    Builder::new().cores(1).pin(Pin::Off).max_blocking_threads(short).max_heavy_threads(heavy)
}

fn pool_of(short: usize) -> Runtime {
    bounds(short, 1).build().expect("a runtime starts")
}

fn short(runtime: &Runtime) -> LaneMetrics {
    runtime.handle().metrics().blocking_short
}

fn heavy(runtime: &Runtime) -> LaneMetrics {
    runtime.handle().metrics().blocking_heavy
}

/// Fills the short lane: as many jobs as it runs at once have begun and wait at the gate.
fn fill(runtime: &Runtime, gate: &Gate) -> Vec<JoinHandle<()>> {
    let _guard = runtime.handle().enter();
    let limit = short(runtime).limit;
    let jobs = (0..limit).map(|_| ringwork::spawn_blocking(gate.job())).collect();
    kit::wait_for("the lane to be full", || short(runtime).running == limit);
    jobs
}

/// As [`fill`], for the heavy lane.
fn fill_heavy(runtime: &Runtime, gate: &Gate) -> Vec<JoinHandle<()>> {
    let _guard = runtime.handle().enter();
    let limit = heavy(runtime).limit;
    let jobs = (0..limit).map(|_| ringwork::spawn_heavy(gate.job())).collect();
    kit::wait_for("the heavy lane to be full", || heavy(runtime).running == limit);
    jobs
}

fn join_all<T>(runtime: &Runtime, jobs: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    jobs.into_iter().map(|job| runtime.block_on(job).expect("the job runs")).collect()
}
