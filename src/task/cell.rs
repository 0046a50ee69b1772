//! The memory of a task: one allocation, header first.
//!
//! Owns the layout ([`Header`], [`Cell`], [`Stage`]), the table of functions that know a task's types, and
//! [`Reference`], the one type through which the room counts references. What may be touched when is in the
//! room's header; who decides it is `state.rs`.

use super::afar::{self, FarJoiner};
use super::answer::Side;
use super::attributes::{Attributes, Name};
use super::id::Id;
use super::mark::Mark;
use super::state::State;
use super::waker::WAKER;
use crate::base::message::{Fate, Kind, Node, Table};
use crate::base::rarely::Rarely;
use crate::base::sync::{AtomicU32, Ordering, UnsafeCell};
use std::any::Any;
use std::fmt;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;
use std::task::{RawWaker, Waker};

/// What every task has, whatever its future. The scheduler sees it by reference only.
///
/// The first 64 bytes are what running and waking touch, with what decides about a task's queue: its kind,
/// `home` and `list`.
#[repr(C)]
pub(crate) struct Header {
    /// First, so that a task and its node have the same address. Its table is a whole [`Functions`].
    node: Node,
    pub(super) state: State,
    home: AtomicU32,
    /// Which owner's list the task is in; 0 is none.
    pub(super) list: AtomicU32,
    id: Id,
    spawned_at: &'static Location<'static>,
    pub(super) links: UnsafeCell<Links>,
    join_waker: UnsafeCell<MaybeUninit<Waker>>,
    /// Last: it is next to the scheduler, which is touched with it when the task is freed.
    rare: Rarely<Rare>,
    /// What its wakers are known by to a subscriber.
    #[cfg(feature = "tracing")]
    span: Option<tracing::span::Id>,
}

// SAFETY: the constant fields are `Sync`, but for the mark in `state`, a cell that nobody sets; `links` is
// touched only under the lock (or on the thread) of the list that `list` names; `join_waker` only as the
// state word allows.
unsafe impl Sync for Header {}
// SAFETY: as above; headers are moved only before they are shared.
unsafe impl Send for Header {}

/// What few tasks have: made when it is needed.
#[derive(Default)]
struct Rare {
    name: Option<Name>,
    far_joiner: FarJoiner,
}

/// Neighbours in the owner's list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) before: Option<NonNull<Header>>,
    pub(super) after: Option<NonNull<Header>>,
}

impl Links {
    /// In no list.
    pub(super) const NONE: Links = Links { before: None, after: None };
}

/// The functions that know the types of a task. Each, but for the node's, takes the address of a whole
/// `Cell<F, S>`.
#[repr(C)]
pub(super) struct Functions {
    /// First, so that the node's table leads to the others.
    pub(super) node: Table,
    /// Runs the task once; consumes a `Notified`'s reference. On a thread that the mark admits.
    pub(super) run: unsafe fn(NonNull<Header>),
    /// Drops the future and completes; the caller has claimed the task; consumes a reference. On a thread
    /// that the mark admits.
    pub(super) cancel: unsafe fn(NonNull<Header>),
    /// Gives a reference, as a `Notified`, to the scheduler. `kept`: the caller has another one throughout.
    pub(super) schedule: unsafe fn(NonNull<Header>, bool),
    /// Tells the scheduler of an abort that has met a task that waits for its turn or has it. The caller has
    /// a reference throughout.
    pub(super) aborted: unsafe fn(NonNull<Header>),
    /// Has the scheduler bring the node of a local task home; consumes the message's reference.
    pub(super) send: unsafe fn(NonNull<Header>),
    /// Moves the output to a place for a `Result<F::Output, Failure>`; false if it has been moved before.
    /// Only for the `JoinHandle` of a complete task.
    pub(super) take_output: unsafe fn(NonNull<Header>, *mut ()) -> bool,
    /// Drops the output if it is still there. Under the same condition.
    pub(super) drop_output: unsafe fn(NonNull<Header>),
    /// Frees the task; the caller gave up the last reference.
    pub(super) free: unsafe fn(NonNull<Header>),
}

impl Functions {
    /// What is done with the node of any task.
    pub(super) const NODE: Table = Table { handle: dispose };
}

impl Header {
    /// The header of a new task.
    #[inline(always)]
    pub(super) fn new(state: State, functions: &'static Functions, attributes: Attributes) -> Self {
        let Attributes {
            spawned_at,
            name,
            background,
            #[cfg(feature = "tracing")]
            traced,
        } = attributes;
        let table = NonNull::from_ref(functions);
        Self {
            // SAFETY: a reference that lives as long as the program; the node's table is its first field.
            node: unsafe { Node::with_table_at(Kind::Task { background }, table.cast()) },
            state,
            home: AtomicU32::new(0),
            list: AtomicU32::new(0),
            #[cfg(not(feature = "tracing"))]
            id: Id::next(),
            #[cfg(feature = "tracing")]
            id: traced.id,
            spawned_at,
            links: UnsafeCell::new(Links::NONE),
            join_waker: UnsafeCell::new(MaybeUninit::uninit()),
            rare: name.map_or_else(Rarely::default, Rare::named),
            #[cfg(feature = "tracing")]
            span: traced.span,
        }
    }

    /// What its types can do.
    #[inline(always)]
    pub(super) fn functions(&self) -> &'static Functions {
        // SAFETY: `new` made the pointer from a reference to a whole table that lives as long as the program.
        unsafe { self.node.table().cast::<Functions>().as_ref() }
    }

    /// The number of its span, if somebody listens to it.
    #[cfg(feature = "tracing")]
    #[inline]
    pub(super) fn span(&self) -> Option<&tracing::span::Id> {
        self.span.as_ref()
    }

    /// The task's id.
    #[inline]
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// Where it was spawned.
    #[inline]
    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    /// Its name, if it has one.
    #[inline]
    pub(crate) fn name(&self) -> Option<&str> {
        self.rare.get_early()?.name.as_ref().map(Name::as_str)
    }

    /// The name, to keep.
    pub(super) fn shared_name(&self) -> Option<Name> {
        self.rare.get_early()?.name.clone()
    }

    /// The place for the waker of a handle that is elsewhere; for that handle.
    pub(super) fn far_joiner(&self) -> &FarJoiner {
        &self.rare.get_or_make().far_joiner
    }

    /// The waker of a handle that is elsewhere; for whoever is to wake it, or does not want it any more. A
    /// handle that makes the place for one later sees what was done before, COMPLETE above all.
    pub(super) fn take_far_joiner(&self) -> Option<Box<Waker>> {
        self.rare.get_or_rule_out()?.far_joiner.take()
    }

    /// Whether the task runs when its core has nothing else to do, and never leaves it.
    #[inline]
    pub(crate) fn is_background(&self) -> bool {
        self.node.kind() == Kind::Task { background: true }
    }

    /// The scheduler's own note: the index of the core where the task is at home, or the place where a job of
    /// the blocking pool waits; 0 until it is set.
    #[inline]
    pub(crate) fn home(&self) -> usize {
        self.home.load(Ordering::Relaxed) as usize
    }

    /// Notes where the task is.
    #[inline]
    pub(crate) fn set_home(&self, place: usize) {
        // There are far fewer cores than numbers, and no more places in a queue.
        self.home.store(place as u32, Ordering::Relaxed);
    }

    /// The number of the owner's list that the task is in, 0 if none (`OwnedTasks::number_all`). It may go
    /// back to 0 at any time, when whoever ends the task takes it out, and never becomes another one.
    #[inline]
    pub(crate) fn list_number(&self) -> u32 {
        self.list.load(Ordering::Relaxed)
    }

    /// Whether the task is bound to the thread that made it.
    #[inline]
    pub(crate) fn is_local(&self) -> bool {
        self.state.mark() != Mark::ANY
    }

    /// Whether the calling thread may run the task.
    #[inline]
    pub(crate) fn may_run_here(&self) -> bool {
        self.state.mark().admits_this_thread()
    }

    /// Writes the join waker.
    ///
    /// # Safety
    /// The caller is the `JoinHandle` and JOIN_WAKER is clear.
    #[inline]
    pub(super) unsafe fn write_join_waker(&self, waker: Waker) {
        // SAFETY: while JOIN_WAKER is clear the place belongs to the handle, which the caller is.
        self.join_waker.with_mut(|place| unsafe { (*place).write(waker) });
    }

    /// Whether the stored join waker wakes the same as `waker`.
    ///
    /// # Safety
    /// The caller is the `JoinHandle` and has set JOIN_WAKER.
    #[inline]
    pub(super) unsafe fn join_waker_is(&self, waker: &Waker) -> bool {
        // SAFETY: the handle wrote it and nobody writes it again while JOIN_WAKER is set. The completer may
        // move it out at the same time, which only reads; comparing looks at two addresses and follows
        // neither.
        self.join_waker.with(|place| unsafe { (*place).assume_init_ref().will_wake(waker) })
    }

    /// Moves the join waker out.
    ///
    /// # Safety
    /// The caller has withdrawn it (`withdraw_join_waker`, `Leave::Wakers`, `FarLeave::Waker`), completed the
    /// task and found it (`Complete::Joined`, `Complete::Reached` with `joined`), or stored it and been
    /// refused its publication (`publish_join_waker`): it is there, and nobody else will move it.
    #[inline]
    pub(super) unsafe fn take_join_waker(&self) -> Waker {
        // SAFETY: the caller upholds that the place is filled and that this is the one move out of it.
        self.join_waker.with(|place| unsafe { (*place).assume_init_read() })
    }
}

impl Rare {
    fn named(name: Name) -> Rarely<Self> {
        Rarely::with(Self { name: Some(name), ..Self::default() })
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id)
            .field("name", &self.name())
            .field("spawned_at", &format_args!("{}", self.spawned_at))
            .field("local", &self.is_local())
            .field("background", &self.is_background())
            .field("state", &self.state)
            .finish()
    }
}

/// The node's function: a message with a task is not going to arrive.
///
/// Only the reference is given up. The task stays in its owner's list and is shut down with it.
unsafe fn dispose(node: NonNull<Node>, _: Fate) {
    // SAFETY: the node is the first field of a header, and the message's reference is passed on whole.
    let task = unsafe { Reference::from_raw(node.cast::<Header>()) };
    if task.header().is_local() {
        // SAFETY: as above; a message with a local task is dropped only where the home thread has closed.
        unsafe { afar::forsake(task.into_raw()) }
    }
}

/// A whole task.
#[repr(C)]
pub(super) struct Cell<F: Future, S> {
    pub(super) header: Header,
    pub(super) scheduler: S,
    pub(super) stage: UnsafeCell<Stage<F>>,
}

/// The future, then its output, in the same place.
pub(super) enum Stage<F: Future> {
    /// Not over.
    Future(F),
    /// Over; not asked for yet, or never, if to drop it does nothing.
    Output(Result<F::Output, Failure>),
    /// Nothing left.
    Empty,
}

impl<F: Future> Stage<F> {
    /// Whether to drop what is in it would do nothing: mostly the output is no more than a number.
    #[inline]
    pub(super) fn is_void(&self) -> bool {
        match self {
            Self::Future(_) | Self::Output(Err(_)) => false,
            Self::Output(Ok(_)) => !std::mem::needs_drop::<F::Output>(),
            Self::Empty => true,
        }
    }
}

/// Why a task has no output.
pub(super) enum Failure {
    /// It was aborted, or its runtime ended.
    Cancelled,
    /// It panicked.
    Panicked(Box<dyn Any + Send>),
}

/// One reference to a task: while it exists, the header may be read.
pub(super) struct Reference(NonNull<Header>);

// SAFETY: a reference reaches the header (`Sync`) and, through the table of functions, what the state word
// and the mark allow; freeing is allowed on any thread (see `free` in `run.rs`).
unsafe impl Send for Reference {}
// SAFETY: as above.
unsafe impl Sync for Reference {}

impl Reference {
    /// Takes over a reference.
    ///
    /// # Safety
    /// `task` is the address of a whole `Cell` whose header it is, and the caller gives up one reference to
    /// it.
    #[inline]
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        Self(task)
    }

    /// Hands the reference to the caller, uncounted.
    #[inline]
    pub(super) fn into_raw(self) -> NonNull<Header> {
        let task = self.0;
        std::mem::forget(self);
        task
    }

    /// Gives a reference up. What drops one does this; here for whoever has a task's address alone.
    ///
    /// # Safety
    /// As [`from_raw`](Self::from_raw).
    // Always: as a call of its own it takes half a dozen instructions of the drop of a waker.
    #[inline(always)]
    pub(super) unsafe fn give_up(task: NonNull<Header>) {
        // SAFETY: the task lives as long as its references, and the caller gives up one.
        let header = unsafe { task.as_ref() };
        let functions = header.functions();
        if header.state.side() == Side::Afar {
            // SAFETY: per contract.
            afar::give(unsafe { Self::from_raw(task) }, 0);
        } else if header.state.release(1) {
            // SAFETY: that was the last reference.
            unsafe { (functions.free)(task) }
        }
    }

    /// The address of the task.
    #[inline]
    pub(super) fn address(&self) -> NonNull<Header> {
        self.0
    }

    /// The header.
    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: the task lives as long as its references, and `self` is one.
        unsafe { self.0.as_ref() }
    }

    /// A waker that is this reference.
    #[inline]
    pub(super) fn into_waker(self) -> Waker {
        // SAFETY: the functions in `WAKER` take the pointer for a counted reference to a task, which it is.
        unsafe { Waker::from_raw(RawWaker::new(self.into_raw().as_ptr().cast_const().cast(), &WAKER)) }
    }
}

impl Clone for Reference {
    #[inline]
    fn clone(&self) -> Self {
        self.header().state.retain();
        Self(self.0)
    }
}

impl Drop for Reference {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this reference, which is not used any more.
        unsafe { Self::give_up(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hot_part_of_a_header_fills_one_cache_line() {
        assert_eq!(std::mem::offset_of!(Header, spawned_at), 64);
        let traced = if cfg!(feature = "tracing") { 8 } else { 0 };
        assert_eq!(size_of::<Header>(), 112 + traced);
    }
}
