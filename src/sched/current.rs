//! The core this thread is: its own queues, reached by tasks that are woken or spawned here.
//!
//! Owns the room's thread-locals: the core, set by the worker for as long as it runs, and that the thread is
//! one, which stays. It does not decide what runs next (worker.rs).
#![forbid(unsafe_code)]

use super::queue::Owner;
use super::running::Running;
use super::shared::{Scheduler, Shared};
use crate::base::apart::Apart;
use crate::metrics::Counters;
use crate::task::{
    self, Attributes, Cause, Class, JoinHandle, Notified, Seat, Shell, Shells, TaskRef, Unborn,
};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;

/// Spare references a core keeps: enough for the births and ends of a turn to cancel out.
const SPARE_MAX: usize = 256;

/// Shells of tasks a core keeps of each size: tasks of one burst have theirs from the one before, and what is
/// kept is at most 1,044 KiB (all sizes together come to 32.6 KiB).
const SHELLS_MAX: usize = 32;

/// The part of a core that only its own thread sees.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
    /// The number of the first list of this runtime's tasks, and how many there are.
    lists: (u32, u32),
    /// The core's own, which it counts with at every step.
    counters: Arc<Counters>,
    /// What the core shows of the poll that is going on.
    pub(super) running: Arc<Apart<Running>>,
    /// Local tasks that are to run.
    pub(crate) local: RefCell<VecDeque<Notified>>,
    /// Background tasks that are to run, local and `Send`; they never move.
    pub(crate) background: RefCell<VecDeque<Notified>>,
    /// `Send` tasks that are to run.
    pub(crate) steal: RefCell<Owner<Notified>>,
    /// The poll that is going on is of a task that may move.
    pub(super) may_move: Cell<bool>,
    /// Where the task that is being polled asked to go on.
    pub(super) bound_for: Cell<Option<usize>>,
    /// References to `shared` that tasks have given back: a task born here takes one of them, and neither its
    /// birth nor its end touches the shared count.
    spare: RefCell<Vec<Arc<Shared>>>,
    /// What is left of tasks that have ended here: for the next ones.
    shells: RefCell<Shells<Scheduler>>,
    /// Under `Steal::Never`: what does not fit the steal queue. Nothing ever leaves its core.
    pub(crate) spill: RefCell<VecDeque<Notified>>,
}

thread_local! {
    /// [`Entered`] takes it out. Without a destructor of its own, so that no look at it has to ask whether
    /// the thread is at its end: every local wake is one.
    static CURRENT: RefCell<Option<ManuallyDrop<Rc<Core>>>> = const { RefCell::new(None) };
    /// Without a destructor: it holds until the last thread-local value has been dropped.
    static IS_CORE: Cell<bool> = const { Cell::new(false) };
}

/// Undoes [`enter`].
#[must_use = "the core is current only while the guard lives"]
pub(super) struct Entered(());

/// Makes `core` this thread's core.
pub(super) fn enter(core: Rc<Core>) -> Entered {
    assert!(here().is_none(), "one thread is one core");
    CURRENT.set(Some(ManuallyDrop::new(core)));
    IS_CORE.set(true);
    Entered(())
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(CURRENT.take().map(ManuallyDrop::into_inner));
    }
}

/// Looks at this thread's core, if it is one. Whoever looks runs no foreign code meanwhile.
// `LocalKey::with` would be a call.
#[inline(always)]
fn look<R>(at: impl FnOnce(Option<&Rc<Core>>) -> R) -> R {
    let looked = CURRENT.try_with(|current| at(current.borrow().as_deref()));
    looked.expect("it has no destructor")
}

/// This thread's core, if it is one.
#[inline]
pub(super) fn here() -> Option<Rc<Core>> {
    look(|current| current.map(Rc::clone))
}

/// Calls `use_it` with this thread's core, if it is one.
#[inline]
pub(crate) fn with_current<R>(use_it: impl FnOnce(Option<&Rc<Core>>) -> R) -> R {
    use_it(here().as_ref())
}

/// So many cores, for messages.
pub(crate) fn counted(cores: usize) -> String {
    if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") }
}

/// The task that is being polled wants to go on at core `core` once this poll is over and has woken it. False
/// under `Steal::Never`: it stays.
///
/// # Panics
/// If no task that may move is being polled on this core; if there is no such core.
pub(crate) fn go_on_at(core: usize) -> bool {
    with_current(|here| {
        let here = here.filter(|here| here.may_move.get());
        let here = here.expect(
            "only a task that is `Send`, polled on a core, can move: begin there instead, with \
             spawn_on(core, || future)",
        );
        let cores = here.shared.cores.len();
        assert!(core < cores, "move to core {core}: the runtime has {}", counted(cores));
        let may = here.shared.config.appetite.is_some();
        if may {
            here.bound_for.set(Some(core));
        }
        may
    })
}

/// What a task with this future is made from: by a core of that runtime mostly what is left of another task.
#[inline(always)]
pub(super) fn seat_for<F: Future>(shared: &Arc<Shared>) -> Seat<Scheduler> {
    let seat = look(|current| {
        let core = current.filter(|core| Arc::ptr_eq(&core.shared, shared))?;
        Some(core.seat_for::<F>())
    });
    seat.unwrap_or_else(|| seat_outside::<F>(shared))
}

/// The same on a thread that is no core of the runtime.
fn seat_outside<F: Future>(shared: &Arc<Shared>) -> Seat<Scheduler> {
    let class = const { Class::of::<F, Scheduler>() };
    match class.and_then(|class| shared.stock.take(class)) {
        Some(shell) => Seat::Used(shell),
        None => Seat::New(Scheduler::over(Arc::clone(shared))),
    }
}

/// Keeps a reference for a later task, if this is a core of that runtime.
#[inline]
pub(super) fn keep_spare(shared: Arc<Shared>) {
    let mut shared = Some(shared);
    look(|current| {
        let (Some(core), Some(own)) = (current, &shared) else { return };
        if !Arc::ptr_eq(&core.shared, own) {
            return;
        }
        let mut spare = core.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.extend(shared.take());
        }
    });
    // Out here: it may be the last one.
    drop(shared);
}

/// Keeps what is left of a task, if this is a core of its runtime.
#[inline]
pub(super) fn keep_shell(shell: Shell<Scheduler>) {
    let shared = Arc::as_ptr(shell.scheduler().shared());
    let mut shell = Some(shell);
    look(|current| {
        let Some(core) = current.filter(|core| Arc::as_ptr(&core.shared) == shared) else { return };
        if let Some(kept) = shell.take() {
            let mut shells = core.shells.borrow_mut();
            shell = shells.keep(kept).err();
            if let Some(extra) = &shell {
                core.shared.stock.offer(&mut shells, extra.class());
            }
        }
    });
    // Out here: what it refers to may go with it.
    drop(shell);
}

/// Whether this thread is a core's, also when that has come to its end.
pub(crate) fn is_cores_thread() -> bool {
    IS_CORE.get()
}

/// The number of this thread's core within its runtime.
pub(crate) fn current_index() -> Option<usize> {
    with_current(|core| core.map(|core| core.index))
}

/// As [`current_index`], if the core belongs to `shared`.
#[inline]
pub(super) fn index_in(shared: &Arc<Shared>) -> Option<usize> {
    with_current(|core| core.filter(|core| Arc::ptr_eq(&core.shared, shared)).map(|core| core.index))
}

/// Whether this thread is a core of `shared`, or works for its blocking pool: who may spawn while it drains.
pub(super) fn is_part_of(shared: &Shared) -> bool {
    with_current(|core| core.is_some_and(|core| std::ptr::eq(Arc::as_ptr(&core.shared), shared)))
        || shared.drain.admits_this_thread()
}

/// Queues a task on this core, if it belongs here. A task that yielded may have asked to go on elsewhere.
#[inline]
pub(super) fn queue_here(task: Notified, cause: Cause) -> Result<(), Notified> {
    // Borrowed, not cloned out: this is the path of every local wake, and nothing below runs foreign code.
    let mut task = Some(task);
    // On a thread whose core has ended (a wake from a thread-local's destructor) the task goes by the inbox.
    look(|current| {
        let Some(core) = current else { return };
        if cause == Cause::Yielded
            && let Some(elsewhere) = core.bound_for.take()
            && let Some(task) = &task
        {
            task.header().set_home(elsewhere);
        }
        let belongs = task.as_ref().is_some_and(|task| {
            core.knows(task.header().list_number()) && task.header().home() == core.index
        });
        if belongs && let Some(task) = task.take() {
            core.counters().wakes_local.add(1);
            core.queue(task);
        }
    });
    task.map_or(Ok(()), Err)
}

impl Core {
    /// The private part of core `index`.
    pub(crate) fn new(shared: Arc<Shared>, index: usize, steal: Owner<Notified>) -> Self {
        let counters = Arc::clone(&shared.cores[index].counters);
        let running = Arc::clone(&shared.cores[index].running);
        Self {
            lists: (shared.lists.start, shared.lists.len() as u32),
            shared,
            index,
            counters,
            running,
            local: RefCell::default(),
            background: RefCell::default(),
            steal: RefCell::new(steal),
            may_move: Cell::new(false),
            bound_for: Cell::new(None),
            spare: RefCell::default(),
            shells: RefCell::new(Shells::new(SHELLS_MAX)),
            spill: RefCell::default(),
        }
    }

    /// The core's counters.
    #[inline]
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the list with this number is one of this runtime's.
    #[inline]
    fn knows(&self, list: u32) -> bool {
        let (first, count) = self.lists;
        list.wrapping_sub(first) < count
    }

    /// What a task with this future is made from.
    #[inline(always)]
    pub(super) fn seat_for<F: Future>(&self) -> Seat<Scheduler> {
        let class = const { Class::of::<F, Scheduler>() };
        if let Some(shell) = class.and_then(|class| self.shells.borrow_mut().take(class)) {
            return Seat::Used(shell);
        }
        let spare = self.spare.borrow_mut().pop();
        Seat::New(Scheduler::over(spare.unwrap_or_else(|| Arc::clone(&self.shared))))
    }

    /// Queues a task that has come from elsewhere: this is its home from its next poll on.
    #[inline]
    pub(super) fn take_home(&self, task: Notified) {
        debug_assert!(!task.header().is_local(), "a local task never moves");
        if task.header().is_background() {
            self.background.borrow_mut().push_back(task);
        } else {
            self.queue_send(task);
        }
    }

    /// Queues a task that is at home here.
    // As part of every local wake: as a call it would cost as much again.
    #[inline(always)]
    pub(crate) fn queue(&self, task: Notified) {
        if task.header().is_background() {
            self.background.borrow_mut().push_back(task);
        } else if task.header().is_local() {
            self.local.borrow_mut().push_back(task);
        } else {
            self.queue_send(task);
        }
    }

    // A call of its own: what it needs of the stack is no local task's to pay.
    #[inline(never)]
    fn queue_send(&self, task: Notified) {
        let mut steal = self.steal.borrow_mut();
        let mut spill = self.spill.borrow_mut();
        // Behind those that spilled before it.
        if !spill.is_empty() {
            return spill.push_back(task);
        }
        let Err(task) = steal.push_back(task) else { return };
        if self.shared.config.appetite.is_none() {
            return spill.push_back(task);
        }
        // Full: the newer half goes where every core finds it, and this one behind it.
        let mut moved = 1;
        for surplus in steal.split_off_half() {
            self.shared.injector.push(surplus);
            moved += 1;
        }
        self.shared.injector.push(task);
        self.counters().overflows.add(moved);
    }

    /// The next `Send` task. Those that spilled move up behind the others, so that a queue that never runs
    /// dry keeps none of them waiting.
    #[inline]
    pub(crate) fn next_send(&self) -> Option<Notified> {
        let mut steal = self.steal.borrow_mut();
        let mut spill = self.spill.borrow_mut();
        let next = steal.pop_front().or_else(|| spill.pop_front());
        if let Some(spilled) = spill.pop_front()
            && let Err(spilled) = steal.push_back(spilled)
        {
            spill.push_front(spilled);
        }
        next
    }

    /// Lists and queues a new local task; if the runtime is closing, the task ends at once.
    #[inline]
    pub(super) fn take_in(&self, owned: TaskRef, notified: Notified) {
        notified.header().set_home(self.index);
        if self.shared.refuses_tasks() || !self.lists(owned) {
            notified.refuse();
            return;
        }
        self.counters().spawns.add(1);
        self.queue(notified);
    }

    /// Lists a new local task, which is at home here; false if no more are.
    #[inline]
    pub(super) fn lists(&self, owned: TaskRef) -> bool {
        self.shared.cores[self.index].owned.insert(owned)
    }

    /// Whether a `Send` task waits in the core's own queues.
    #[inline]
    pub(crate) fn has_send(&self) -> bool {
        !self.steal.borrow().is_empty() || !self.spill.borrow().is_empty()
    }

    /// Whether nothing waits in the core's own queues, but for background tasks.
    #[inline]
    pub(crate) fn is_dry(&self) -> bool {
        self.local.borrow().is_empty() && !self.has_send()
    }

    /// Whether there is more than the core will run next.
    #[inline]
    pub(crate) fn has_surplus(&self) -> bool {
        self.steal.borrow().len() > 1
    }
}

/// Spawns a task that never leaves this core. `None`, and the future is dropped, on a thread that is no core.
#[inline]
pub(crate) fn spawn_local_here<F>(
    future: F,
    attributes: impl Into<Attributes>,
) -> Option<JoinHandle<F::Output>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // Not by a closure, and not to be given back: the future would be copied once more for each.
    let core = here()?;
    let seat = core.seat_for::<F>();
    let (owned, notified, handle) = task::new_local::<_, Scheduler>(future, seat, attributes);
    core.take_in(owned, notified);
    Some(handle)
}

/// On the core it was made for: the task begins its life. On any other thread it is cancelled.
pub(crate) fn adopt_here(unborn: Unborn) {
    with_current(|core| match core {
        Some(core) => {
            let (owned, notified) = unborn.born();
            core.take_in(owned, notified);
        }
        None => unborn.cancel(),
    });
}
