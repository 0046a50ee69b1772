//! How a runtime ends: at once, or once its tasks have.
//!
//! Owns who waits for the end (the caller, or a helper thread if the caller is a part of what ends), for how
//! long, and the report. The phases are the scheduler's (`sched::shutdown`), and so is finding out that all
//! tasks have ended (`sched::drain`).
//!
//! # A core and its thread
//! A core says that it has ended when it is through all phases but the last, which closes the ring. Then its
//! thread drops its thread-local values, every `core_local!` among them: foreign code, which may wait for
//! anything, even for what the caller does next. So both are waited for until the deadline, and a moment
//! more: first for all cores' words, then for all threads, which end at the same time. The moment for the
//! words of those that have come to the last barrier is a second, one for all of them. A core that misses
//! either is left behind and is reported as stuck. The threads of the blocking pool end in the same two
//! steps, after the cores (`blocking::threads`).
//!
//! # What a stuck core leaves
//! Its local tasks stay with it. The others may end on any thread, and do on a helper thread, inside the
//! runtime as on a core: their destructors are foreign code, which may spawn, and may wait for a lock that
//! the stuck poll holds. It is waited for, too, and left to itself in the end.
#![forbid(unsafe_code)]

use super::builder::DROP_PATIENCE;
use super::companion;
use super::core_thread::CoreThread;
use super::handle::{Handle, Runtime};
use super::monitor::MonitorThread;
use super::report::{AliveTask, ShutdownReport};
use crate::sched::{ALIVE_LISTED, Alive, Shared};
use crate::sys::cpu;
use crate::sys::fork;
use crate::sys::join::{Joinable, LAST_WORD};
use crate::time;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the end may take after a drain: enough for the kernel to give back what is in flight.
const AFTER_DRAIN: Duration = Duration::from_secs(1);

/// How long the tasks that a stuck core leaves to others may take to be dropped, when the time is up.
const AFTER_STUCK: Duration = Duration::from_secs(1);

/// How late cores that have only their end before them may be with their last words. They wait for those that
/// are stuck until the time is up, and then need a CPU, which others may have.
const LATE: Duration = Duration::from_secs(1);

/// What runs a runtime.
#[derive(Default)]
pub(super) struct Threads {
    pub(super) cores: Vec<CoreThread>,
    pub(super) monitor: Option<MonitorThread>,
}

impl Threads {
    /// Whether the calling thread is among them, be it that it drops its thread-local values already.
    fn include_this_one(&self) -> bool {
        let monitor = self.monitor.iter().map(MonitorThread::id);
        let mut all = self.cores.iter().map(|core| core.thread.thread().id()).chain(monitor);
        all.any(|id| id == thread::current().id())
    }
}

impl Runtime {
    /// Shuts the runtime down and waits for at most `patience`.
    ///
    /// Tasks are dropped on their cores, ops are cancelled and awaited. A core that is stuck in a poll is
    /// left behind with its local tasks and its ring, and its other tasks are dropped by a helper thread;
    /// what the kernel has not finished is leaked, so that it never writes into freed memory. A core
    /// whose thread is stuck at its very end, in the destructor of a [`core_local!`](crate::core_local) or
    /// thread-local value, is left behind too, and so is a thread of the blocking pool that is in one or in a
    /// job. The report names the tasks that were alive when the end began. It may come some tenths of a
    /// second after `patience`, for threads that are about to end; up to a second later if a core is long in
    /// coming to that, and another one if a core is stuck and the destructors of its tasks take that long.
    ///
    /// Called on one of the runtime's own threads it does not wait: a helper thread does, and the report is
    /// empty.
    pub fn shutdown_timeout(mut self, patience: Duration) -> ShutdownReport {
        self.end(patience)
    }

    /// Lets all tasks and blocking jobs come to their end, for at most `patience`, and then shuts the runtime
    /// down, which takes at most about a second more, another one if a core is long in coming to its end, and
    /// another one if the destructors of what a stuck core leaves take that long. The report names the tasks
    /// that had not ended: [`is_drained`](ShutdownReport::is_drained) if there were none.
    ///
    /// Nothing is told to stop: tasks that go on for ever (the accept loops of a [`Server`](crate::Server)
    /// among them) are to be stopped before. While draining, tasks and blocking jobs of the runtime may spawn
    /// more of them. From other threads, those in `block_on` among them, nothing is spawned any more: the
    /// handles say cancelled at once. Ops and timers work until the end.
    ///
    /// If a panic of a task ends the runtime ([`PanicPolicy::ShutDown`](super::PanicPolicy::ShutDown)), the
    /// drain is over too.
    ///
    /// Called on one of the runtime's own threads it does not wait: a helper thread does, and the report is
    /// empty.
    ///
    /// ```
    /// use ringwork::runtime::Builder;
    /// use std::time::Duration;
    ///
    /// let runtime = Builder::new().cores(2).build()?;
    /// let last = runtime.spawn(async {
    ///     ringwork::time::sleep(Duration::from_millis(10)).await;
    ///     ringwork::spawn(async { "said" })
    /// });
    /// let report = runtime.drain(Duration::from_secs(10));
    /// assert!(report.is_drained(), "{report}");
    /// # futures_executor::block_on(async { assert_eq!(last.await.unwrap().await.unwrap(), "said") });
    /// # Ok::<(), ringwork::runtime::StartError>(())
    /// ```
    pub fn drain(mut self, patience: Duration) -> ShutdownReport {
        if fork::is_child() {
            return self.end(AFTER_DRAIN);
        }
        if self.is_own_thread(&self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            let helper = thread::Builder::new().name("ringwork-drain".to_owned());
            // Without a thread nobody waits: the runtime is dropped with the closure.
            let _ = helper.spawn(move || {
                cpu::unpin();
                self.drain(patience)
            });
            return ShutdownReport::default();
        }
        let pool = self.handle().pool();
        let shared = Arc::clone(self.handle().shared());
        shared.drain(deadline_in(patience), &pool);
        self.end(AFTER_DRAIN)
    }

    fn end(&mut self, patience: Duration) -> ShutdownReport {
        let threads = std::mem::take(self.threads.get_mut().unwrap_or_else(PoisonError::into_inner));
        if threads.cores.is_empty() || fork::is_child() {
            // A child of fork has no cores: they are threads of its parent.
            std::mem::forget(threads);
            return ShutdownReport::default();
        }
        let deadline = deadline_in(patience);
        let on_own_thread = self.is_own_thread(&threads);
        let handle = self.handle().clone();
        handle.begin_end(deadline);
        let wait = move || {
            let mut report = wait_for(threads.cores, &handle, deadline);
            report.busy_blocking_threads = handle.pool().shutdown(deadline);
            if let Some(companion) = handle.companion() {
                companion.end(deadline);
            }
            if let Some(monitor) = threads.monitor {
                monitor.join();
            }
            report
        };
        if on_own_thread {
            let helper = thread::Builder::new().name("ringwork-shutdown".to_owned());
            // Without a thread nobody waits; the cores end all the same.
            let _ = helper.spawn(|| {
                cpu::unpin();
                wait()
            });
            return ShutdownReport::default();
        }
        wait()
    }

    fn is_own_thread(&self, threads: &Threads) -> bool {
        let on_companion = || self.handle().companion().is_some_and(|companion| companion.is_own_thread());
        threads.include_this_one() || self.handle().pool().is_own_thread() || on_companion()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = self.end(DROP_PATIENCE);
    }
}

/// The time in `patience`, however long that is.
fn deadline_in(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or_else(|| now + time::FAR_FUTURE)
}

fn wait_for(cores: Vec<CoreThread>, handle: &Handle, deadline: Instant) -> ShutdownReport {
    let shared = handle.shared();
    let mut report = ShutdownReport::default();
    let mut ending = Vec::new();
    // All have as long as the deadline says, and one moment to say that they ended.
    let until = deadline.max(Instant::now()) + LAST_WORD;
    let left = |until: Instant| until.saturating_duration_since(Instant::now());
    for (index, core) in cores.into_iter().enumerate() {
        let word = match core.ended.recv_timeout(left(until)) {
            Err(RecvTimeoutError::Timeout) if shared.barriers.has_drained(index) => {
                core.ended.recv_timeout(left(until + LATE))
            }
            word => word,
        };
        match word {
            Ok(ended) => {
                report.leaked_ops += ended.leaked_ops;
                note(&mut report, &ended.alive);
                ending.push((index, core.thread));
            }
            Err(RecvTimeoutError::Timeout) => {
                report.stuck_cores.push(index);
                note(&mut report, &Alive::of(&shared.cores[index].owned));
                // The others have closed their inboxes, or are about to. This one's nobody reads.
                shared.reach.leave();
            }
            // It ended before it began, which `build` has reported.
            Err(RecvTimeoutError::Disconnected) => ending.push((index, core.thread)),
        }
    }
    if !report.stuck_cores.is_empty() {
        drop_what_is_left(report.stuck_cores.clone(), handle);
    }
    let until = deadline.max(Instant::now()) + LAST_WORD;
    let is_late = |thread| !Joinable::from(thread).join_until(until);
    let late = ending.into_iter().filter_map(|(index, thread)| is_late(thread).then_some(index));
    report.stuck_cores.extend(late);
    report.stuck_cores.sort_unstable();
    for core in report.stuck_cores.clone() {
        note_culprit(&mut report, shared, core);
    }
    report
}

/// Drops the tasks of stuck cores that may end on any thread, and waits for that, but not for ever.
fn drop_what_is_left(stuck: Vec<usize>, handle: &Handle) {
    let handle = handle.clone();
    let drops = move || {
        companion::within(&handle, || {
            stuck.iter().for_each(|&core| handle.shared().cores[core].owned.close_and_shutdown());
        });
    };
    let helper = thread::Builder::new().name("ringwork-last".to_owned());
    match helper.spawn(drops.clone()) {
        Ok(helper) => drop(Joinable::from(helper).join_until(Instant::now() + AFTER_STUCK)),
        // Without a thread it is this one that may be kept.
        Err(_) => drops(),
    }
}

/// Adds the tasks of one core.
fn note(report: &mut ShutdownReport, alive: &Alive) {
    report.tasks_alive += alive.total;
    let room = ALIVE_LISTED - report.alive.len().min(ALIVE_LISTED);
    report.alive.extend(alive.entries.iter().take(room).map(|task| AliveTask {
        id: task.id,
        name: task.name().map(str::to_owned),
        core: task.home,
        spawned_at: task.spawned_at,
        stuck: false,
    }));
}

/// Puts the task that a core is stuck in first: it is why that core did not end.
fn note_culprit(report: &mut ShutdownReport, shared: &Shared, core: usize) {
    let running = shared.cores[core].running.read();
    let (Some(id), Some(spawned_at)) = (running.task, running.spawned_at) else { return };
    report.alive.retain(|task| task.id != id);
    report.alive.insert(0, AliveTask { id, name: running.name, core, spawned_at, stuck: true });
    report.alive.truncate(ALIVE_LISTED);
}
