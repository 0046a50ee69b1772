//! L3: one core's io_uring, and the life of an op on it.
//!
//! # Life of an op
//! 1. A future ([`op::Op`]) or a stream ([`multi::arm`]) puts its operation into a [`cell`].
//! 2. [`Ring::submit`] writes the SQE, or links the cell on the backlog if the queue is full. `submit` cannot
//!    fail.
//! 3. The worker enters once per turn ([`Ring::enter`]), which hands the SQEs over and waits.
//! 4. [`Ring::reap`] copies all CQEs aside, and only then acts on them: each finds its cell by `user_data`,
//!    the cell's body stores the result in its slot, and the wakers are collected for the worker to wake.
//! 5. The final CQE ends the kernel's hold on the cell. Nothing the kernel may touch is freed before.
//!
//! An op that moves a long message in parts has a CQE for each ([`op::Operation::goes_on`]). Until the last
//! its cell goes back to 2 from here, with nobody woken; one that was asked to end, or that finds the ring
//! closing, ends as if its next part had been refused.
//!
//! # Rules
//! - Only the home core touches a ring; everyone else sends a message to its inbox
//!   (`cell::CellRef::cancel`, `cell::KernelRef::submit_at_home`).
//! - A cancel proves nothing; the final CQE does. Cancels go out before backlogged ops, and a cancel whose
//!   target is still in flight is repeated ([`cancel`]).
//! - An enter inside a poll ([`Ring::flush`]) only submits: it completes no slot and wakes nobody.
//! - Reactions: EINTR: the turn goes on. EBUSY (completions overflowed): reap first, the entries stay queued.
//!   EAGAIN/ENOMEM: the entries stay queued and the next turn tries again. ENOBUFS, EMFILE: see the stream
//!   and the listener. EBADR (a completion was lost) and anything else: a broken invariant, the process is
//!   aborted.
//! - No enter waits if it found an op on the backlog. One that is left there may use the room that the enter
//!   itself makes, and nobody would be woken for it; to describe one runs foreign code, which may wake tasks.
//! - A forked child owns no ring: its ops complete at once with an error (`sys::fork`), and a core that goes
//!   on there sleeps where it would wait.
//!
//! Rejected: a slab index instead of an address in `user_data`. It needs the home thread (or a lock) to get
//! from a future to its result; an address with a generation does not.

pub(crate) mod arena;
pub(crate) mod backend;
pub(crate) mod cancel;
pub(crate) mod cell;
pub(crate) mod ends;
mod flight;
pub(crate) mod gather;
pub(crate) mod group;
mod holds;
pub(crate) mod lease;
mod lull;
mod memory;
pub(crate) mod message;
pub(crate) mod multi;
pub(crate) mod op;
pub(crate) mod opened;
pub(crate) mod pool;
pub(crate) mod probe;
pub(crate) mod setup;
mod slab;
mod slots;
#[cfg(test)]
pub(crate) mod stub;
mod submit;
#[cfg(test)]
mod tests;
#[cfg(feature = "tracing")]
mod trace;
pub(crate) mod transfer;
pub(crate) mod uring;

use crate::base::guard::broken;
use crate::base::inbox::Inbox;
use crate::metrics::Counters;
use crate::sys::eventfd::EventFd;
use crate::sys::fork;
use crate::sys::sqe::{Cqe, POLL_ADD_MULTI, RES_FORKED, RES_GONE, Sqe};
use backend::{Backend, Wait};
use cell::{CellRef, KernelRef};
use flight::Flight;
use lease::{Leasable, Leases, Use};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::Duration;

/// The low bits of `user_data`: cells are 64-byte aligned.
const TAG_MASK: u64 = cell::ALIGN as u64 - 1;
const TAG_CELL: u64 = 0;
const TAG_CANCEL: u64 = 1;
const TAG_BELL: u64 = 2;

/// What an op ends with that was cancelled: ECANCELED; EINTR or ERESTARTSYS, which has no name in libc, if a
/// helper thread was at it (kernel-notes/cancel-and-close.md).
const ENDED_EARLY: [i32; 3] = [-libc::ECANCELED, -libc::EINTR, -512];

/// How long a core in a forked child rests between two looks at its queues.
const LONGEST_REST: Duration = Duration::from_millis(10);

/// One core's ring. Lives on that core's thread.
pub(crate) struct Ring {
    backend: RefCell<Box<dyn Backend>>,
    inbox: Arc<Inbox>,
    bell: Arc<EventFd>,
    bell_armed: Cell<bool>,
    counters: Arc<Counters>,
    backlog: RefCell<VecDeque<KernelRef>>,
    cancels: RefCell<cancel::Cancels>,
    in_flight: Cell<usize>,
    owed: Cell<usize>,
    /// An op is being described, and the room in the submission queue is its own.
    describing: Cell<bool>,
    closing: Cell<bool>,
    lull: lull::Lull,
    /// What [`fork::count`] said before the first enter whose completions have not been copied aside.
    forks: Cell<Option<u32>>,
    /// The same of what is being acted on.
    forks_of_reaped: Cell<u32>,
    reaped: RefCell<Vec<Cqe>>,
    pool: RefCell<Option<pool::Pool>>,
    arena: RefCell<arena::Arena>,
    memory: RefCell<memory::Memory>,
    leases: Leases<OwnedFd>,
    #[cfg(feature = "tracing")]
    watch: trace::Watch,
}

thread_local! {
    // A plain pointer, because every op of every task comes by here; `Entered` keeps what it points at alive.
    static CURRENT: Cell<*const Ring> = const { Cell::new(ptr::null()) };
}

/// Calls `use_it` with the ring of this thread, if the thread is a core.
// Always: what the closure has captured would else be written to memory in pieces and read as a whole.
#[inline(always)]
pub(crate) fn with_current<R>(use_it: impl FnOnce(Option<&Ring>) -> R) -> R {
    let ring = CURRENT.get();
    // SAFETY: a pointer that is set belongs to an `Entered` guard further down on this thread's stack, which
    // holds the ring and clears the pointer before it lets go.
    use_it(unsafe { ring.as_ref() })
}

/// Makes `ring` this thread's ring until the guard is dropped.
pub(crate) fn enter(ring: Rc<Ring>) -> Entered {
    let before = CURRENT.replace(Rc::as_ptr(&ring));
    assert!(before.is_null(), "one thread has one ring");
    Entered { _ring: ring }
}

/// Undoes [`enter`]. Not to be forgotten: it is held by the function that runs the core.
#[must_use = "the ring is current only while the guard lives"]
pub(crate) struct Entered {
    _ring: Rc<Ring>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
    }
}

/// An op begins to use a descriptor: under the lease of the core that submits it, if there is a ring to end
/// it on.
pub(crate) fn begin_use(ring: Option<&Ring>, fd: &Arc<Leasable<OwnedFd>>) -> Use<OwnedFd> {
    ring.map_or_else(|| Use::counted(fd), |ring| ring.leases.begin(fd))
}

/// What a wait is to a core that goes on in a forked child, whose ring nobody can enter: what the rings are
/// made of was not inherited. Bounded, because nothing ends it early.
#[cold]
fn rest(wait: Wait) {
    if let Wait::Until(limit) = wait {
        thread::sleep(limit.map_or(LONGEST_REST, |limit| limit.min(LONGEST_REST)));
    }
}

impl Ring {
    /// A ring over `backend` for the core behind `inbox`, whose doorbell is `bell`.
    pub(crate) fn new(
        backend: Box<dyn Backend>,
        inbox: Arc<Inbox>,
        bell: Arc<EventFd>,
        counters: Arc<Counters>,
    ) -> Self {
        let leases = Leases::new(Arc::as_ptr(&inbox).addr());
        Self {
            backend: RefCell::new(backend),
            inbox,
            bell,
            bell_armed: Cell::new(false),
            counters,
            backlog: RefCell::default(),
            cancels: RefCell::default(),
            in_flight: Cell::new(0),
            owed: Cell::new(0),
            describing: Cell::new(false),
            closing: Cell::new(false),
            lull: lull::Lull::default(),
            forks: Cell::new(None),
            forks_of_reaped: Cell::new(fork::count()),
            reaped: RefCell::default(),
            pool: RefCell::new(None),
            arena: RefCell::default(),
            memory: RefCell::default(),
            leases,
            #[cfg(feature = "tracing")]
            watch: trace::Watch::default(),
        }
    }

    /// The inbox of this ring's core.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Whether this ring is the home of `cell`.
    pub(crate) fn is_home(&self, cell: &CellRef) -> bool {
        Arc::ptr_eq(&self.inbox, cell.home())
    }

    /// Descriptors that this core's ops use.
    pub(crate) fn leases(&self) -> &Leases<OwnedFd> {
        &self.leases
    }

    /// The core's counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ops that have not completed: on the backlog, withdrawn from it, or with the kernel.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.get() + self.backlog.borrow().len() + self.cancels.borrow().withdrawn()
    }

    /// Counts an op that was promised to succeed to somebody who does not wait for it: the runtime's end
    /// gives it time.
    pub(crate) fn owes(&self) {
        self.owed.set(self.owed.get() + 1);
    }

    /// One of those has had its final CQE.
    pub(crate) fn has_paid(&self) {
        self.owed.set(self.owed.get() - 1);
    }

    /// Whether some of them are in flight, or may be among those that wait for room in the submission queue.
    pub(crate) fn may_owe(&self) -> bool {
        self.owed.get() > 0 || !self.backlog.borrow().is_empty()
    }

    /// Why the ring takes no ops any more, as the result they get.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<i32> {
        if fork::is_child() {
            Some(RES_FORKED)
        } else if self.closing.get() {
            Some(RES_GONE)
        } else {
            None
        }
    }

    /// Whether a system call on the spot, which does not wait, is better now than an op, and `suits`: it is
    /// then made.
    #[inline]
    pub(crate) fn may_call(&self, suits: impl FnOnce() -> bool) -> bool {
        let may = self.lull.is_on() && suits() && self.refusal().is_none();
        if may {
            self.lull.take();
        }
        may
    }

    /// Entries that are queued and not yet handed to the kernel.
    pub(crate) fn queued(&self) -> usize {
        self.backend.borrow().queued()
    }

    /// Hands the queued entries to the kernel without looking at completions. Allowed inside a poll.
    pub(crate) fn flush(&self) {
        if self.queued() > 0 {
            self.enter_backend(Wait::SubmitOnly);
        }
    }

    /// Whether an enter is worth its system call: something to hand over or to collect. What has completed
    /// and is visible needs none ([`has_completions`](Self::has_completions)).
    pub(crate) fn wants_enter(&self) -> bool {
        if fork::is_child() {
            return false;
        }
        let backend = self.backend.borrow();
        backend.queued() > 0
            || backend.has_deferred()
            || !self.backlog.borrow().is_empty()
            || self.cancels.borrow().is_due()
    }

    /// Whether [`reap`](Self::reap) would find completions without an enter before it. The ring defers what
    /// completes by itself, so only an enter makes any visible: a turn reaps after its own, and what is left
    /// are ops that a [`flush`](Self::flush) inside a poll handed over and the kernel did at once.
    pub(crate) fn has_completions(&self) -> bool {
        !fork::is_child() && self.backend.borrow_mut().has_visible()
    }

    /// The enter of a turn: cancels, then the backlog, then one system call that submits and waits.
    pub(crate) fn enter(&self, wait: Wait) {
        let is_child = fork::is_child();
        // Foreign code may have run, and whom it has woken the worker does not know: it looked at its queues
        // before. What it has cancelled goes out with the next turn, and so does what is left on the backlog.
        let must_turn = !is_child && self.prepare();
        let wait = if must_turn { Wait::No } else { wait };
        if wait != Wait::No {
            self.leases.give_back();
        }
        if is_child {
            return rest(wait);
        }
        self.enter_backend(wait);
    }

    /// Readies what goes out with the next enter. Says whether another turn is to follow at once.
    fn prepare(&self) -> bool {
        self.refill_pool();
        if !self.bell_armed.get() {
            self.arm_bell();
        }
        self.repeat_cancels();
        self.drain_backlog()
    }

    fn arm_bell(&self) {
        let mut sqe = Sqe::poll(self.bell.as_raw_fd(), libc::POLLIN);
        sqe.len = POLL_ADD_MULTI;
        sqe.user_data = TAG_BELL;
        self.bell_armed.set(self.push_or_flush(&sqe));
    }

    /// What [`fork::count`] said before anything of what is being acted on completed: it does so in an enter
    /// only. There may have been several since the last look, flushes inside of polls among them: it is what
    /// was said before the first.
    pub(crate) fn forks(&self) -> u32 {
        self.forks_of_reaped.get()
    }

    /// Whether a park without limit is safe: the doorbell is watched.
    pub(crate) fn bell_is_armed(&self) -> bool {
        self.bell_armed.get()
    }

    fn enter_backend(&self, wait: Wait) {
        self.counters.enters.add(1);
        self.forks.set(Some(self.forks.get().unwrap_or_else(fork::count)));
        let answer = self.backend.borrow_mut().enter(wait);
        match answer {
            Ok(taken) => self.counters.sqes.add(taken as u64),
            Err(error) => match error.raw_os_error() {
                // Interrupted, overflowed, short of memory: all is still queued and the turn goes on to reap.
                Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ENOMEM) => {
                    self.counters.enter_retries.add(1);
                }
                // A child of fork has the descriptor but not the right to use it.
                Some(libc::EEXIST | libc::EBADF | libc::EINVAL) if fork::is_child() => {}
                _ => broken(&format!("io_uring_enter failed in a way that may lose ops: {error}")),
            },
        }
    }

    /// Acts on what has completed: copies all CQEs aside first. Returns how many there were.
    pub(crate) fn reap(&self, wakers: &mut Vec<Waker>) -> usize {
        if fork::is_child() {
            return 0;
        }
        self.leases.sweep();
        self.complete_withdrawn(wakers);
        let mut reaped = self.reaped.take();
        let lost = self.backend.borrow_mut().reap(&mut reaped);
        // What is acted on may enter, and what that brings is of the next batch; so is what has come with the
        // enters of this one and is kept aside.
        if let Some(forks) = self.forks.take() {
            self.forks_of_reaped.set(forks);
            self.forks.set(self.backend.borrow().has_overflowed().then_some(forks));
        }
        if lost > 0 {
            // EBADR is hidden from an enter that submits, does not wait, or finds a completion.
            broken("the kernel has lost a completion");
        }
        let count = reaped.len();
        self.counters.cqes.add(count as u64);
        self.lull.begin_turn(count);
        for cqe in reaped.drain(..) {
            self.dispatch(cqe, wakers);
        }
        self.reaped.replace(reaped);
        self.forget_confirmed();
        count
    }

    #[inline]
    fn dispatch(&self, mut cqe: Cqe, wakers: &mut Vec<Waker>) {
        if self.closing.get() && ENDED_EARLY.contains(&cqe.res) {
            // Whoever waits outside of the runtime is told why.
            cqe.res = RES_GONE;
        }
        match cqe.user_data & TAG_MASK {
            TAG_CELL => {
                // SAFETY: only `try_push` gives cells to the kernel, each with the kernel's hold, which is
                // used up below, at the final CQE and not before.
                let kernels = unsafe { KernelRef::from_user_data(cqe.user_data) };
                if cqe.more() {
                    #[cfg(feature = "tracing")]
                    self.watch.has_result(cqe, true);
                    kernels.progress(cqe, self, wakers);
                    return kernels.stay();
                }
                kernels.set_flight(self, Flight::Final);
                self.in_flight.set(self.in_flight.get() - 1);
                let again = kernels.complete(cqe, Some(self), wakers);
                #[cfg(feature = "tracing")]
                self.watch.has_result(cqe, again.is_some());
                if let Some(again) = again {
                    self.go_on(again, wakers);
                }
            }
            TAG_BELL => self.bell_armed.set(cqe.more() && self.bell_armed.get()),
            tag => debug_assert_eq!(tag, TAG_CANCEL, "no other tag is ever submitted"),
        }
    }

    /// An op has moved a part and is to move the next.
    #[inline(never)]
    fn go_on(&self, kernels: KernelRef, wakers: &mut Vec<Waker>) {
        let cancelled = || self.is_cancelled(&kernels).then_some(-libc::ECANCELED);
        match self.refusal().or_else(cancelled) {
            Some(res) => self.end(kernels, res, wakers),
            None => {
                kernels.set_flight(self, Flight::Fresh);
                self.submit(kernels);
            }
        }
    }

    /// Asks the kernel to limit and place its helper threads. A kernel that refuses is no reason not to
    /// start.
    pub(crate) fn limit_workers(&self, bounded: u32, unbounded: u32, cpus: &[usize]) -> io::Result<()> {
        self.backend.borrow_mut().limit_workers(bounded, unbounded, cpus)
    }

    /// Shutdown phase 3: takes no more ops and asks the kernel to cancel all it has.
    pub(crate) fn close(&self, wakers: &mut Vec<Waker>) {
        self.closing.set(true);
        self.leases.give_back();
        loop {
            // One by one: what the op had may have been the future of another that waits there.
            let Some(kernels) = self.backlog.borrow_mut().pop_front() else { break };
            kernels.set_flight(self, Flight::Final);
            self.end(kernels, RES_GONE, wakers);
        }
        self.complete_withdrawn(wakers);
        if !fork::is_child() {
            self.flush();
            // A refused cancel leaves the drain to the deadline; the drain repeats it.
            let _ = self.backend.borrow_mut().cancel_all();
        }
    }

    /// Shutdown phase 3: one round of cancel, wait and reap. True when nothing is in flight.
    pub(crate) fn drain(&self, step: Duration, wakers: &mut Vec<Waker>) -> bool {
        if fork::is_child() || self.in_flight() == 0 {
            return true;
        }
        let _ = self.backend.borrow_mut().cancel_all();
        self.enter_backend(Wait::Until(Some(step)));
        self.reap(wakers);
        self.leases.give_back();
        self.in_flight() == 0
    }
}
