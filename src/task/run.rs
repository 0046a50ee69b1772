//! What a task does, written once for all futures and schedulers: run, cancel, complete, hand over, free.
//!
//! Owns the functions behind [`Functions`]. Each begins by asking `state.rs` who may touch what, and does as
//! the answer says. No panic of a user's future, output or waker leaves this file; nothing of a task is
//! borrowed while the scheduler or a waker is called, unless a reference is held across the call.

use super::afar;
use super::answer::{Complete, Pause, Start};
use super::cell::{Cell, Failure, Functions, Header, Stage};
use super::id::Current;
use super::shell::{self, Seat};
use super::state::{Birth, State};
use super::within::Within;
use super::{Attributes, Cause, Notified, Schedule, TaskPanic, TaskRef, waker};
use crate::base::coop;
use crate::base::guard::{self, contained};
use crate::base::sync::UnsafeCell;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};

/// Makes the cell of a new task; the references of its `birth` are the caller's.
#[inline(always)]
pub(super) fn allocate<F: Future, S: Schedule>(
    future: F,
    seat: Seat<S>,
    birth: Birth,
    attributes: Attributes,
) -> NonNull<Header> {
    let cell = seat.place::<F>();
    let place = cell.as_ptr();
    // In place, field by field: a cell that is made first and moved into its memory is copied once more.
    // SAFETY: `place` is a cell's memory, with its scheduler; each other field is written once and not read
    // before.
    unsafe {
        let header = Header::new(State::new(birth), &Typed::<F, S>::FUNCTIONS, attributes);
        (&raw mut (*place).header).write(header);
        (&raw mut (*place).stage).write(UnsafeCell::new(Stage::Future(future)));
    }
    // The pointer keeps its claim to the whole cell, although it is called the header's.
    cell.cast()
}

/// A task whose types are known.
struct Typed<F: Future, S>(NonNull<Cell<F, S>>);

impl<F: Future, S: Schedule> Typed<F, S> {
    const FUNCTIONS: Functions = Functions {
        node: Functions::NODE,
        run: run::<F, S>,
        cancel: cancel::<F, S>,
        schedule: schedule::<F, S>,
        aborted: aborted::<F, S>,
        send: send::<F, S>,
        take_output: take_output::<F, S>,
        drop_output: drop_output::<F, S>,
        free: free::<F, S>,
    };

    /// # Safety
    /// `task` was made by `allocate::<F, S>`, and a reference is held while the result is used.
    unsafe fn new(task: NonNull<Header>) -> Self {
        Self(task.cast())
    }

    fn cell(&self) -> &Cell<F, S> {
        // SAFETY: `new`'s caller holds a reference, so the cell lives.
        unsafe { self.0.as_ref() }
    }

    fn address(&self) -> NonNull<Header> {
        self.0.cast()
    }

    /// Polls the future; true if there is a result now, which is then in the stage. `WITHIN` says that this
    /// is within the poll of another task, whose budget is the one to spend.
    ///
    /// # Safety
    /// RUNNING is the caller's, on a thread that the mark admits.
    unsafe fn poll<const WITHIN: bool>(&self) -> bool {
        // SAFETY: the runner's reference outlives the poll.
        let waker = unsafe { waker::lend(self.address()) };
        // The output leaves by the side: as a result it would be copied on its way out, `Pending` included.
        let mut ready = None;
        let poll = || {
            self.cell().stage.with_mut(|stage| {
                // SAFETY: RUNNING gives us the stage.
                let Stage::Future(future) = (unsafe { &mut *stage }) else {
                    unreachable!("broken invariant: a task without a future was run");
                };
                // SAFETY: the cell never moves and the future is dropped in place.
                let future = unsafe { Pin::new_unchecked(future) };
                let poll = || future.poll(&mut Context::from_waker(&waker));
                let polled = if WITHIN { coop::with_rest_of_budget(poll) } else { coop::with_budget(poll) };
                if let Poll::Ready(output) = polled {
                    ready = Some(output);
                }
            });
        };
        let polled = catch_unwind(AssertUnwindSafe(poll));
        let result = match (polled, ready) {
            (Ok(()), None) => return false,
            (Ok(()), Some(output)) => Ok(output),
            (Err(panic), _) => Err(Failure::Panicked(panic)),
        };
        // SAFETY: RUNNING is still ours.
        unsafe { self.conclude(result) };
        true
    }

    /// Drops the future and puts `result` in its place. A future that panics in its drop has failed.
    ///
    /// # Safety
    /// As `poll`.
    unsafe fn conclude(&self, result: Result<F::Output, Failure>) {
        // SAFETY: passed on from the caller.
        let dropped = unsafe { self.empty_stage() };
        let result = match (result, dropped) {
            (result, Ok(())) => result,
            (Err(Failure::Panicked(first)), Err(second)) => {
                contained(|| drop(second));
                Err(Failure::Panicked(first))
            }
            (lost, Err(panic)) => {
                contained(|| drop(lost));
                Err(Failure::Panicked(panic))
            }
        };
        if let Err(Failure::Panicked(panic)) = &result {
            self.tell(&**panic);
        }
        // SAFETY: RUNNING gives us the stage; it is empty, so overwriting it drops nothing.
        self.cell().stage.with_mut(|stage| unsafe { stage.write(Stage::Output(result)) });
    }

    /// Drops what is in the stage, in place. The stage is empty afterwards, also if the drop panics.
    ///
    /// # Safety
    /// The stage is the caller's, on a thread that the mark admits.
    unsafe fn empty_stage(&self) -> Result<(), Box<dyn Any + Send>> {
        self.cell().stage.with_mut(|stage| {
            // SAFETY: the stage is the caller's; nothing reads what was dropped, because of the next line.
            let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ptr::drop_in_place(stage) }));
            // SAFETY: as above; overwriting without a second drop.
            unsafe { stage.write(Stage::Empty) };
            dropped
        })
    }

    /// Drops what is in the stage and contains a panic in that, which is the task's.
    ///
    /// # Safety
    /// As `empty_stage`.
    unsafe fn discard(&self) {
        // SAFETY: passed on from the caller.
        if let Err(panic) = unsafe { self.empty_stage() } {
            self.tell(&*panic);
            contained(|| drop(panic));
        }
    }

    /// Tells the scheduler of a panic. It may call foreign code; nothing of the task is borrowed but what
    /// never changes.
    fn tell(&self, panic: &(dyn Any + Send)) {
        let cell = self.cell();
        contained(|| cell.scheduler.panicked(&TaskPanic::new(&cell.header, panic)));
    }

    /// The poll has returned `Pending`: the task waits, goes on, or ends after all.
    ///
    /// # Safety
    /// RUNNING is the caller's, on a thread that the mark admits, and so is a reference, which is given up.
    unsafe fn pause(&self) {
        match self.cell().header.state.pause() {
            Pause::Idle => {}
            // SAFETY: the runner's reference has become the one of a `Notified`.
            Pause::Again => unsafe { hand_over::<F, S>(self.address(), Cause::Yielded) },
            // SAFETY: `Last` says that the caller's was the last reference.
            Pause::Last => unsafe { free::<F, S>(self.address()) },
            Pause::Cancel => {
                // SAFETY: RUNNING is still the caller's.
                unsafe { self.conclude(Err(Failure::Cancelled)) };
                // SAFETY: the result is in its place; RUNNING and the reference are the caller's.
                unsafe { self.complete() }
            }
        }
    }

    /// The task is over: leaves the owner's list, publishes the output, wakes the joiner, gives up the
    /// references.
    ///
    /// # Safety
    /// RUNNING is the caller's and so is a reference, which is given up; the stage holds the output.
    unsafe fn complete(&self) {
        let state = &self.cell().header.state;
        // Before COMPLETE: whoever has seen the output of a task does not find it in the list any more.
        let held = match self.cell().scheduler.release(&self.cell().header) {
            Some(owned) => {
                assert_eq!(owned.into_raw(), self.address(), "broken invariant: another task was released");
                2
            }
            None => 1,
        };
        // SAFETY: RUNNING gives us the stage.
        let mut to_drop = !self.cell().stage.with(|stage| unsafe { &*stage }.is_void());
        loop {
            match state.complete(held, to_drop) {
                Complete::Done => return,
                Complete::Last => break,
                Complete::Unwanted => {
                    // SAFETY: RUNNING is still ours, and we run where the future ran.
                    unsafe { self.discard() };
                    to_drop = false;
                }
                Complete::Joined => {
                    // SAFETY: `Joined` gives us the waker.
                    let joiner = unsafe { self.cell().header.take_join_waker() };
                    let last = state.release(held);
                    guard::wake(joiner);
                    if last {
                        break;
                    }
                    return;
                }
                Complete::Reached { joined } => {
                    // SAFETY: `joined` gives us the waker.
                    let joiner = joined.then(|| unsafe { self.cell().header.take_join_waker() });
                    let far_joiner = self.cell().header.take_far_joiner();
                    // From here on any thread may free the task.
                    let last = state.merge(held);
                    joiner.into_iter().for_each(guard::wake);
                    far_joiner.into_iter().for_each(|waker| guard::wake(*waker));
                    if last {
                        break;
                    }
                    return;
                }
            }
        }
        // SAFETY: ours were the last references.
        unsafe { free::<F, S>(self.address()) }
    }
}

unsafe fn run<F: Future, S: Schedule>(task: NonNull<Header>) {
    // SAFETY: the caller passes a reference to a task of these types.
    let typed = unsafe { Typed::<F, S>::new(task) };
    let header = &typed.cell().header;
    let _current = Current::enter(header.id());
    match header.state.start() {
        Start::Gone => return,
        // SAFETY: `Last` says that ours was the last reference.
        Start::Last => return unsafe { free::<F, S>(task) },
        // SAFETY: RUNNING is ours, and the caller vouches for the thread.
        Start::Cancel => unsafe { typed.conclude(Err(Failure::Cancelled)) },
        Start::Poll => {
            // SAFETY: as above.
            let ready = unsafe { typed.poll::<false>() };
            if !ready {
                // SAFETY: RUNNING and the reference are ours.
                return unsafe { typed.pause() };
            }
        }
    }
    // SAFETY: the result is in its place, RUNNING and the reference are ours.
    unsafe { typed.complete() }
}

/// The first turn of a task that was born RUNNING, within the poll of another one. If it has not ended it is
/// listed by `list`, and refused where that says so.
///
/// # Safety
/// `task` was made by `allocate::<F, S>` with `Birth::Running` of this thread, this is its first turn, and
/// the caller gives up the runner's reference.
#[inline]
pub(super) unsafe fn run_first<F: Future, S: Schedule>(
    task: NonNull<Header>,
    list: impl FnOnce(TaskRef) -> bool,
) {
    // SAFETY: the caller passes a reference to a task of these types.
    let typed = unsafe { Typed::<F, S>::new(task) };
    let header = &typed.cell().header;
    let _current = Current::enter(header.id());
    // SAFETY: it was born RUNNING, for this turn, on this thread.
    if unsafe { typed.poll::<true>() } {
        if !header.state.complete_unseen() {
            // SAFETY: the result is in its place, RUNNING and the reference are ours.
            unsafe { typed.complete() }
        }
        return;
    }
    header.state.retain();
    // SAFETY: the reference is the one just made, and there is no `TaskRef` yet.
    if list(unsafe { TaskRef::from_raw(task) }) {
        // SAFETY: RUNNING and the reference are still ours.
        return unsafe { typed.pause() };
    }
    header.state.merge_at_end();
    // SAFETY: as above.
    unsafe { typed.conclude(Err(Failure::Cancelled)) };
    // SAFETY: as above, and the result is in its place.
    unsafe { typed.complete() }
}

unsafe fn cancel<F: Future, S: Schedule>(task: NonNull<Header>) {
    // SAFETY: the caller passes a reference to a task of these types that it has claimed.
    let typed = unsafe { Typed::<F, S>::new(task) };
    let _current = Current::enter(typed.cell().header.id());
    // It may be another task's poll that cancels this one.
    let within = Within::an_end();
    // SAFETY: claimed means that RUNNING is ours; the caller vouches for the thread.
    unsafe { typed.conclude(Err(Failure::Cancelled)) };
    drop(within);
    // SAFETY: the result is in its place.
    unsafe { typed.complete() }
}

unsafe fn schedule<F: Future, S: Schedule>(task: NonNull<Header>, kept: bool) {
    if !kept {
        // SAFETY: passed on from the caller.
        return unsafe { hand_over::<F, S>(task, Cause::Woken) };
    }
    // SAFETY: the caller keeps the task alive throughout.
    let typed = unsafe { Typed::<F, S>::new(task) };
    // SAFETY: the caller gives a reference for the `Notified` that is due.
    if let Err(notified) = S::schedule_here(unsafe { Notified::from_raw(task) }, Cause::Woken) {
        typed.cell().scheduler.schedule(notified);
    }
}

unsafe fn send<F: Future, S: Schedule>(task: NonNull<Header>) {
    // SAFETY: the caller passes a reference to a task of these types.
    let typed = unsafe { Typed::<F, S>::new(task) };
    // The reference goes with the message: the scheduler must not be borrowed from the task.
    let scheduler = typed.cell().scheduler.clone();
    // SAFETY: the caller says that a message is due.
    scheduler.request(unsafe { afar::request(task) });
}

/// Gives a reference, as a `Notified`, to the scheduler: with nothing of the task borrowed if this thread
/// takes it at once, else with a second reference held while the scheduler's method runs.
///
/// # Safety
/// A `Notified` of this task is due, and the caller gives up a reference for it.
unsafe fn hand_over<F: Future, S: Schedule>(task: NonNull<Header>, cause: Cause) {
    // SAFETY: passed on from the caller.
    let notified = unsafe { Notified::from_raw(task) };
    let Err(notified) = S::schedule_here(notified, cause) else { return };
    let keep = notified.keep();
    // SAFETY: `keep` outlives the call.
    let typed = unsafe { Typed::<F, S>::new(keep.address()) };
    match cause {
        Cause::Woken => typed.cell().scheduler.schedule(notified),
        Cause::Yielded => typed.cell().scheduler.schedule_again(notified),
    }
}

unsafe fn aborted<F: Future, S: Schedule>(task: NonNull<Header>) {
    // SAFETY: the caller keeps the task alive throughout.
    let typed = unsafe { Typed::<F, S>::new(task) };
    typed.cell().scheduler.aborted(&typed.cell().header);
}

unsafe fn take_output<F: Future, S: Schedule>(task: NonNull<Header>, place: *mut ()) -> bool {
    // SAFETY: the caller is the task's `JoinHandle`, which has a reference.
    let typed = unsafe { Typed::<F, S>::new(task) };
    typed.cell().stage.with_mut(|stage| {
        // SAFETY: the task is complete, so the stage is the handle's.
        let Stage::Output(output) = (unsafe { &*stage }) else { return false };
        // SAFETY: the caller's place is for this type, because the handle was made with `F::Output`; what is
        // read out is overwritten without a drop in the next line.
        unsafe { place.cast::<Result<F::Output, Failure>>().write(ptr::read(output)) };
        // SAFETY: the stage is the handle's.
        unsafe { stage.write(Stage::Empty) };
        true
    })
}

unsafe fn drop_output<F: Future, S: Schedule>(task: NonNull<Header>) {
    // SAFETY: as `take_output`; an output that may not cross threads has a handle that may not either.
    let typed = unsafe { Typed::<F, S>::new(task) };
    // SAFETY: the task is complete, so the stage is the handle's. Nearly always it has been taken.
    if typed.cell().stage.with(|stage| unsafe { &*stage }.is_void()) {
        return;
    }
    let _current = Current::enter(typed.cell().header.id());
    // It may be within another task's poll that the handle is dropped.
    let _within = Within::an_end();
    // SAFETY: the task is complete, so the stage is the handle's.
    unsafe { typed.discard() };
}

/// Frees the cell. A future that is still in it is dropped with it, unless it is bound to another thread:
/// then the whole cell is leaked, because dropping the future here would be unsound.
unsafe fn free<F: Future, S: Schedule>(task: NonNull<Header>) {
    // SAFETY: the last reference is gone, so the cell lives until it is freed below.
    let typed = unsafe { Typed::<F, S>::new(task) };
    let Cell { header, stage, .. } = typed.cell();
    // Why a task failed may be known anywhere.
    let (is_void, is_bound) = stage.with(|stage| {
        // SAFETY: as above, and nobody else reads or writes it.
        let stage = unsafe { &*stage };
        let is_void = stage.is_void();
        (is_void, !is_void && !matches!(stage, Stage::Output(Err(_))))
    });
    if is_bound && !header.may_run_here() {
        return;
    }
    let _current = Current::enter(header.id());
    if !is_void {
        // As in `drop_output`.
        let _within = Within::an_end();
        // SAFETY: the stage is ours, as above, and what is in it may be dropped here.
        unsafe { typed.discard() };
    }
    // SAFETY: the header is ours, as the stage is, which holds nothing to drop; neither is touched again.
    unsafe { ptr::drop_in_place(&raw mut (*typed.0.as_ptr()).header) };
    // SAFETY: `allocate` made it in such a place, and it is freed once; what is left alive is the scheduler.
    contained(|| unsafe { shell::vacate(typed.0) });
}
