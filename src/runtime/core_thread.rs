//! A core's thread: placed, given its ring, run, ended.
//!
//! Owns the order of start-up: pin first, then make the ring and the pool on the thread that will use them,
//! then report, and run only once all cores are there. A core's hook may reach all others from the first, in
//! whatever state they are: what it sends waits in their inboxes, and is cancelled if the build fails. This
//! file also owns phase 5 of a core's end: close the ring, or leak it.
#![forbid(unsafe_code)]

use super::builder::{DROP_PATIENCE, Hook, Seat};
use super::companion;
use super::error::{StartError, THREAD};
use super::handle::{Handle, Runtime};
use super::monitor;
use super::names::thread_name;
use crate::base::guard::broken;
use crate::ring::probe;
use crate::ring::setup::Sizes;
use crate::ring::uring::Uring;
use crate::ring::{self, Ring};
use crate::sched::victims::Victims;
use crate::sched::worker::Worker;
use crate::sched::{Core, Ended, Shared};
use crate::sys::cpu;
use crate::sys::fork;
use crate::sys::topology::{Distance, Neighbours};
use crate::time;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Kernel helper threads of a core's ring: for disk work (bounded) and for what may wait long (unbounded).
const BOUNDED_WORKERS: u32 = 4;
const UNBOUNDED_WORKERS: u32 = 16;

/// What all cores are started with.
pub(super) struct Plan<'a> {
    pub(super) handle: &'a Handle,
    pub(super) sizes: Sizes,
    pub(super) hook: Option<&'a Hook>,
    pub(super) name: &'a str,
}

/// A core's thread and how it ended.
pub(super) struct CoreThread {
    pub(super) thread: JoinHandle<()>,
    pub(super) ended: Receiver<Ended>,
}

struct Start {
    index: usize,
    cpu: Option<usize>,
    seat: Seat,
    handle: Handle,
    sizes: Sizes,
    hook: Option<Hook>,
    ready: Sender<Result<(), StartError>>,
    go: Receiver<()>,
    ended: Sender<Ended>,
}

/// Starts all cores; if one cannot start, none stays.
pub(super) fn start_all(
    plan: &Plan<'_>,
    seats: Vec<Seat>,
    cpus: &[Option<usize>],
) -> Result<Runtime, StartError> {
    let (ready, reports) = channel();
    let mut threads = Vec::new();
    let mut gates = Vec::new();
    let mut failed = None;
    for (index, (seat, &cpu)) in seats.into_iter().zip(cpus).enumerate() {
        let (gate, go) = channel();
        let (ended, ends) = channel();
        let start = Start {
            index,
            cpu,
            seat,
            handle: plan.handle.clone(),
            sizes: plan.sizes,
            hook: plan.hook.cloned(),
            ready: ready.clone(),
            go,
            ended,
        };
        let builder = thread::Builder::new().name(thread_name(plan.name, &format!("-core-{index}")));
        match builder.spawn(move || start.run()) {
            Ok(thread) => threads.push(CoreThread { thread, ended: ends }),
            Err(error) => {
                failed = Some(StartError::explain(THREAD, error));
                break;
            }
        }
        gates.push(gate);
    }
    drop(ready);
    for _ in &threads {
        match reports.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => drop(failed.get_or_insert(error)),
            // A core's thread ended without a word: it panicked, and the panic hook has said why.
            Err(_) => {
                let error = std::io::Error::other("a core's thread panicked");
                failed.get_or_insert(StartError::Other { step: "starting a core", error });
            }
        }
    }
    let monitor = match failed {
        Some(error) => Err(error),
        None => monitor::start(plan.handle.shared(), plan.name),
    };
    let monitor = monitor.inspect_err(|_| {
        // Without the go the threads end by themselves.
        gates.clear();
        undo(plan.handle, std::mem::take(&mut threads));
    })?;
    for gate in &gates {
        // A core that reported and then died shows in its `ended`.
        let _ = gate.send(());
    }
    Ok(Runtime::new(plan.handle.clone(), threads, monitor))
}

/// A start has failed: ends what its cores and their hooks have begun. Jobs that wait for a thread of the
/// pool are cancelled first, in case a core's end waits for one; those that run have their time. What ends on
/// this thread does so inside the runtime, as elsewhere: destructors may spawn.
fn undo(handle: &Handle, threads: Vec<CoreThread>) {
    let pool = handle.pool();
    companion::within(handle, || pool.close());
    threads.into_iter().for_each(|core| drop(core.thread.join()));
    companion::within(handle, || handle.shared().bury());
    let _ = pool.shutdown(Instant::now() + DROP_PATIENCE);
}

impl Start {
    fn run(self) {
        match self.cpu {
            Some(cpu) => {
                cpu::pin_to(cpu);
            }
            // The thread that builds may be bound to one CPU: a pinned core, or what one has started.
            None => cpu::unpin(),
        }
        let (handle, mut start) = (self.handle.clone(), Some(self));
        companion::for_life(handle, &mut || {
            if let Some(start) = start.take() {
                start.run_inside();
            }
        });
    }

    fn run_inside(self) {
        // Other cores' hooks may have made tasks for this one already; they come with its first turn.
        self.handle.shared().cores[self.index].claim();
        let ring = match self.make_ring() {
            Ok(ring) => Rc::new(ring),
            Err(error) => return drop(self.ready.send(Err(error))),
        };
        let _keep = Keep(Some(Rc::clone(&ring)));
        let Self { index, seat, handle, hook, ready, go, ended, .. } = self;
        let _ring = ring::enter(Rc::clone(&ring));
        let worker = Self::worker(&handle, index, seat, &ring);
        if let Err(error) = call(hook.as_ref(), index) {
            let _ = worker.abandon();
            return drop(ready.send(Err(error)));
        }
        let started = ready.send(Ok(()));
        // The thread that builds holds the other end: without a go, another core could not start.
        drop(ready);
        if started.is_err() || go.recv().is_err() {
            let _ = worker.abandon();
            return;
        }
        // Not before all cores have their rings: if locked memory is short, a ring is worth more than a pool.
        // Without one receives use heap buffers: slower, but not wrong.
        let _ = ring.make_pool();
        // Foreign code is contained where it is called: a panic that gets here is the loop's own.
        let end = catch_unwind(AssertUnwindSafe(|| worker.run()));
        let end = end.unwrap_or_else(|_| broken("a core's loop panicked"));
        let _ = ended.send(end);
    }

    /// The core's loop, made before the hook: what that spawns and uses belongs to this core.
    fn worker(handle: &Handle, index: usize, seat: Seat, ring: &Rc<Ring>) -> Worker {
        let shared = Arc::clone(handle.shared());
        let block = &shared.cores[index];
        block.thread.store(nix::unistd::gettid().as_raw() as u64, Ordering::Relaxed);
        let driver = time::Driver::new(Instant::now(), Arc::clone(&block.inbox));
        let driver = driver.going_by(shared.clock.clone());
        let clock = time::enter(driver);
        let core = Rc::new(Core::new(Arc::clone(&shared), index, seat.queue));
        Worker::new(core, Rc::clone(ring), clock, victims(&shared, index))
    }

    fn make_ring(&self) -> Result<Ring, StartError> {
        let cores = self.handle.cores();
        let mut uring = Uring::new(self.sizes).map_err(|error| StartError::no_ring(error, cores))?;
        probe::check(&mut uring).map_err(StartError::unfit)?;
        let block = &self.handle.shared().cores[self.index];
        let bell = Arc::clone(&self.seat.bell);
        let ring = Ring::new(Box::new(uring), Arc::clone(&block.inbox), bell, Arc::clone(&block.counters));
        // Helpers obey a mask only if it leaves the pinned CPU out (kernel-notes/io-wq-punts.md).
        let others: Vec<usize> =
            cpu::start_mask().iter().copied().filter(|&cpu| Some(cpu) != self.cpu).collect();
        if !others.is_empty() {
            // A kernel that refuses is no reason not to start.
            let _ = ring.limit_workers(BOUNDED_WORKERS, UNBOUNDED_WORKERS, &others);
        }
        Ok(ring)
    }
}

/// The other cores as core `own` sees them. Cores that are not pinned are all equally far.
fn victims(shared: &Shared, own: usize) -> Victims {
    let neighbours = shared.cores[own].cpu.map(Neighbours::of);
    let distance = |cpu: Option<usize>| match (&neighbours, cpu) {
        (Some(neighbours), Some(cpu)) => neighbours.distance_to(cpu),
        _ => Distance::Far,
    };
    let distances: Vec<Distance> = shared.cores.iter().map(|core| distance(core.cpu)).collect();
    Victims::new(own, &distances)
}

/// Leaks the ring if the kernel may still write to what it owns, and in a forked child: its mappings were not
/// inherited, and where they were the child may have memory of its own.
struct Keep(Option<Rc<Ring>>);

impl Drop for Keep {
    fn drop(&mut self) {
        if let Some(ring) = self.0.take()
            && (ring.in_flight() > 0 || fork::is_child())
        {
            // As a unit: mappings, pool, arena, cells, descriptors.
            std::mem::forget(ring);
        }
    }
}

/// Calls the user's hook; a panic in it is an error of the start.
fn call(hook: Option<&Hook>, index: usize) -> Result<(), StartError> {
    let Some(hook) = hook else { return Ok(()) };
    catch_unwind(AssertUnwindSafe(|| hook(index))).map_err(|_| {
        let error = std::io::Error::other("the hook panicked");
        StartError::Other { step: "on_core_start", error }
    })
}
