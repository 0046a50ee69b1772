//! The pool: takes closures, starts threads, gives handles.
//!
//! Owns [`Pool`] and the start of its threads, whose life is thread.rs. All decisions are made in `line.rs`
//! under one lock; here the lock is taken, threads are started and woken with the lock released, and jobs are
//! run.
//!
//! # An aborted job
//! A job that waits in the line is ended by the abort itself, on the aborting thread: `Schedule::aborted`
//! takes it out of the line, so that it counts no more, and its closure is dropped. It does not wait for a
//! thread, which may be busy for hours. A job that a thread has taken is only marked; if that thread has not
//! begun it yet, it ends it.
//!
//! # What the books cost
//! An empty job in a burst takes some 2 µs of CPU. Of that 45 ns are two reads of the clock, outside of the
//! lock, for the time that jobs wait: a pool that is too small shows in nothing but this time. Some 70 ns are
//! the reference to the pool that each job has, by which an abort finds the line.
#![forbid(unsafe_code)]

use super::line::{Lane, Line, Summons};
use super::queue::Turn;
use super::thread::works_for;
use super::threads::Threads;
use crate::base::{coop, spin};
use crate::metrics::LaneMetrics;
use crate::sys::fork;
use crate::sys::join::LAST_WORD;
use crate::task::{
    self, Attributes, Header, JoinHandle, Notified, OnPanic, Request, Schedule, TaskPanic, TaskRef,
};
use crate::time::Clock;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

/// Called on each new thread of the pool with what that thread does, which it is to call once.
pub(crate) type Around = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// How a pool is to be.
#[derive(Clone)]
pub(crate) struct Config {
    /// Short jobs at a time.
    pub(crate) short_max: usize,
    /// Heavy jobs at a time: no more than the CPUs we were given. Each lane has threads of its own to use, so
    /// there may be as many as both bounds together.
    pub(crate) heavy_max: usize,
    /// How long a thread waits for work before it ends.
    pub(crate) keep_alive: Duration,
    /// How long it looks for work before it sleeps, at most.
    pub(crate) spin_window: Duration,
    /// Stack of each thread; the platform's default if none.
    pub(crate) stack_bytes: Option<usize>,
    /// What a thread is for as long as it does anything.
    pub(crate) around: Around,
    /// Who is told of the panics of jobs.
    pub(crate) on_panic: OnPanic,
    /// What must not jump while a job waits or is run.
    pub(crate) clock: Option<Arc<Clock>>,
}

impl Config {
    /// Short jobs at a time: as many as users of other runtimes are used to. Most of them only wait, and a
    /// blocked call that another one waits for must not find the pool full.
    pub(crate) const SHORT_MAX: usize = 512;
    /// Long enough that a pool in use keeps its threads, short enough that a burst does not stay in memory.
    pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);

    /// The defaults, for `cpus` CPUs.
    pub(crate) fn new(cpus: usize, around: Around) -> Self {
        Self {
            short_max: Self::SHORT_MAX,
            heavy_max: cpus,
            keep_alive: Self::KEEP_ALIVE,
            spin_window: Duration::ZERO,
            stack_bytes: None,
            around,
            on_panic: OnPanic::default(),
            clock: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("short_max", &self.short_max)
            .field("heavy_max", &self.heavy_max)
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}

/// What a pool is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Threads there are.
    pub(crate) threads: usize,
    /// Threads that wait for work.
    pub(crate) idle: usize,
    /// The lanes, in this order.
    pub(crate) short: LaneMetrics,
    pub(crate) heavy: LaneMetrics,
}

impl Counts {
    /// Whether there was no job, neither running nor waiting.
    pub(crate) fn at_rest(&self) -> bool {
        [&self.short, &self.heavy].iter().all(|lane| lane.queued == 0 && lane.running == 0)
    }
}

/// The blocking pool. Dropping it closes it; its threads end by themselves.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool without threads: they are started as jobs come.
    pub(crate) fn new(config: Config) -> Self {
        assert!(config.short_max > 0 && config.heavy_max > 0, "a pool needs a thread for each lane");
        let books = Books {
            line: Line::new(config.short_max, config.heavy_max),
            threads: Threads::default(),
            stack_bytes: config.stack_bytes,
        };
        let shared = Shared { config, books: Mutex::new(books), gone: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Runs `call`, which blocks, on one of the threads.
    ///
    /// Aborting the handle ends a job that waits in the line, at once; see the top of this file. If the pool
    /// is closed, the handle says cancelled.
    ///
    /// # Errors
    /// The system's, if it refuses a thread and the pool has none at all. With others at work the job waits
    /// for them.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
        attributes: impl Into<Attributes>,
    ) -> io::Result<JoinHandle<T>> {
        self.admit(Lane::Short, call, attributes)
    }

    /// As [`spawn`](Self::spawn), for a call that computes; at most as many run at once as there are CPUs.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub(crate) fn spawn_heavy<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
        attributes: impl Into<Attributes>,
    ) -> io::Result<JoinHandle<T>> {
        self.admit(Lane::Heavy, call, attributes)
    }

    /// Whether the calling thread is one of this pool's.
    pub(crate) fn is_own_thread(&self) -> bool {
        works_for(self.address())
    }

    /// What [`works_for`] knows the pool by, as long as the pool lives; never 0.
    pub(crate) fn address(&self) -> usize {
        self.shared.address()
    }

    /// As for a closed pool: the handle of a job that says cancelled.
    pub(crate) fn refuse<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
        attributes: impl Into<Attributes>,
    ) -> JoinHandle<T> {
        let queued = Queued { pool: Arc::clone(&self.shared), lane: Lane::Short };
        let (job, handle) = task::new_unowned(Job(Some(call)), queued, attributes);
        job.shutdown();
        handle
    }

    /// Whether further jobs are refused. Not to be asked in a child of fork.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.lock().line.is_closed()
    }

    /// Refuses further jobs and cancels those that wait; what is being run goes on.
    pub(crate) fn close(&self) {
        // In a child of fork the lock may be held for ever, by a thread of the parent; so below.
        if fork::is_child() {
            return;
        }
        let (jobs, idle) = self.shared.lock().line.close();
        idle.iter().for_each(|sleeper| sleeper.wake());
        jobs.into_iter().for_each(Turn::shutdown);
    }

    /// Closes the pool and waits until its threads are gone, their thread-local values dropped, or until
    /// `deadline`; those that have no job any more have a moment more. Returns how many are not gone: they
    /// are left behind.
    ///
    /// Called by a job of this pool, it does not wait for that job's thread, but counts it.
    pub(crate) fn shutdown(&self, deadline: Instant) -> usize {
        if fork::is_child() {
            return 0;
        }
        self.close();
        let own = usize::from(self.is_own_thread());
        let until = deadline.max(Instant::now()) + LAST_WORD;
        let mut books = self.shared.lock();
        while books.present() > own {
            let are_all_at_work = books.present() <= books.line.running();
            let end = if are_all_at_work { deadline } else { until };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            books = self.shared.gone.wait_timeout(books, left).expect(POISONED).0;
        }
        let (at_work, ending) = (books.present(), books.threads.take_left());
        drop(books);
        let others = ending.into_iter().filter(|thread| !thread.is_this_thread());
        at_work + others.map(|thread| thread.join_until(until)).filter(|has_ended| !has_ended).count()
    }

    /// What the pool is doing now. In a child of fork nothing: its threads are the parent's.
    pub(crate) fn counts(&self) -> Counts {
        if fork::is_child() {
            return Counts::default();
        }
        let books = self.shared.lock();
        let (short, heavy) = books.line.metrics();
        Counts { threads: books.line.threads(), idle: books.line.idle(), short, heavy }
    }

    /// What threads that are started from now on get for a stack.
    #[cfg(test)]
    pub(super) fn set_stack_bytes(&self, bytes: usize) {
        self.shared.lock().stack_bytes = Some(bytes);
    }

    fn admit<T: Send + 'static>(
        &self,
        lane: Lane,
        call: impl FnOnce() -> T + Send + 'static,
        attributes: impl Into<Attributes>,
    ) -> io::Result<JoinHandle<T>> {
        let queued = Queued { pool: Arc::clone(&self.shared), lane };
        let (job, handle) = task::new_unowned(Job(Some(call)), queued, attributes);
        if fork::is_child() {
            // The threads are the parent's, and one of them may have held the lock.
            job.shutdown();
            return Ok(handle);
        }
        spin::calls();
        let job = Turn::new(job, self.shared.config.clock.clone());
        let now = Instant::now();
        let pushed = self.shared.lock().line.push(lane, job, now);
        let summons = match pushed {
            Ok(summons) => summons,
            Err(job) => {
                job.shutdown();
                return Ok(handle);
            }
        };
        let Err(NoThread { error, stranded }) = self.shared.call(summons) else { return Ok(handle) };
        let ours = stranded.iter().any(|job| job.header().id() == handle.id());
        stranded.into_iter().for_each(Turn::shutdown);
        if ours { Err(no_thread(&error)) } else { Ok(handle) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the pool and its threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    books: Mutex<Books>,
    /// A thread has left, or is known.
    pub(super) gone: Condvar,
}

#[derive(Debug)]
pub(super) struct Books {
    pub(super) line: Line,
    pub(super) threads: Threads,
    stack_bytes: Option<usize>,
}

impl Books {
    /// Threads that have been promised or have not left.
    fn present(&self) -> usize {
        self.threads.present().max(self.line.threads())
    }
}

/// Names cause and cure. Of a kind of its own: the system's EAGAIN would be taken for an op that would block.
fn no_thread(error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "the blocking pool has no thread and the system refuses one ({error}): raise the limit of threads \
         (`ulimit -u`, pids.max of the control group), or end some"
    ))
}

/// The system refused a thread.
pub(super) struct NoThread {
    error: io::Error,
    /// With no thread at all nobody would ever come for the jobs: these have to be ended.
    stranded: Vec<Turn>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect(POISONED)
    }

    pub(super) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// Wakes or starts the thread that was summoned.
    pub(super) fn call(self: &Arc<Self>, summons: Summons) -> Result<(), NoThread> {
        match summons {
            Summons::None => {}
            Summons::Start(number) => return self.start(number),
            Summons::Wake(sleeper) => sleeper.wake(),
            Summons::Tell(sleeper) => sleeper.tell(),
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, number: usize) -> Result<(), NoThread> {
        let stack_bytes = {
            let mut books = self.lock();
            books.threads.promise(number);
            books.stack_bytes
        };
        let shared = Arc::clone(self);
        // Short: the kernel keeps 15 bytes.
        let mut builder = thread::Builder::new().name(format!("rw-pool-{number}"));
        if let Some(bytes) = stack_bytes {
            builder = builder.stack_size(bytes);
        }
        let error = match builder.spawn(move || shared.work(number)) {
            Ok(thread) => {
                self.lock().threads.started(number, thread);
                self.gone.notify_all();
                return Ok(());
            }
            Err(error) => error,
        };
        let mut books = self.lock();
        books.threads.refused(number);
        let summons = books.line.start_failed();
        let stranded = if books.line.threads() == 0 { books.line.drain() } else { Vec::new() };
        drop(books);
        self.gone.notify_all();
        // It starts nobody, so it does not fail.
        let _ = self.call(summons);
        Err(NoThread { error, stranded })
    }
}

/// A call as a future: its only poll makes it.
struct Job<C>(Option<C>);

// The closure is moved out before it is called, so it is never pinned.
impl<C> Unpin for Job<C> {}

impl<C: FnOnce() -> T, T> Future for Job<C> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let call = self.0.take().expect("broken invariant: a job is polled once");
        Poll::Ready(coop::without_budget(call))
    }
}

/// The scheduler of a job, which is queued from birth and over after its first poll.
#[derive(Clone)]
struct Queued {
    pool: Arc<Shared>,
    lane: Lane,
}

impl Schedule for Queued {
    fn schedule(&self, job: Notified) {
        unreachable!("broken invariant: {job:?} was woken, but jobs never wait");
    }

    fn request(&self, _: Request) {
        unreachable!("broken invariant: a job is not local");
    }

    fn release(&self, _: &Header) -> Option<TaskRef> {
        None
    }

    fn panicked(&self, panic: &TaskPanic<'_>) {
        self.pool.config.on_panic.tell(panic);
    }

    fn aborted(&self, job: &Header) {
        // In a child of fork the lock may be held for ever, by a thread of the parent.
        if fork::is_child() {
            return;
        }
        let withdrawn = self.pool.lock().line.withdraw(self.lane, job);
        if let Some(job) = withdrawn {
            job.shutdown();
        }
    }
}

const POISONED: &str = "broken invariant: the pool's books panicked";
