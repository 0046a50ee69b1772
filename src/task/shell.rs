//! What is left of a task that has ended: its memory, with its scheduler still in it.
//!
//! Owns [`Shell`], the lists in which a scheduler keeps them ([`Shells`]), and [`Seat`], from which a task is
//! made: a scheduler, or a shell. A task made from a shell needs neither the allocator nor a reference to
//! what its scheduler shares. Memory comes in classes, so that futures of any type fit a shell of their size;
//! a large task has none. How many shells are kept, and by whom, is the scheduler's business.

use super::Schedule;
use super::cell::{Cell, Header};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// Sizes of one class differ by less than this. glibc keeps eight bytes of its own with a block, and makes
/// both together a multiple of 16.
const STEP: usize = 16;
/// Eight more than a multiple of the step, for those eight. No task is smaller.
const LEAST: usize = 7 * STEP + 8;
/// Tasks of up to 1,032 bytes have shells.
const CLASSES: usize = 58;
/// Larger tasks are allocated and freed one by one.
const LARGEST: usize = LEAST + (CLASSES - 1) * STEP;
/// What every class is aligned to, as the allocator does anyway.
const ALIGN: usize = 16;

/// What the cell of a task has for the future that it was spawned with.
#[cfg(not(feature = "tracing"))]
type Kept<F> = F;
#[cfg(feature = "tracing")]
type Kept<F> = super::trace::Spanned<F>;

/// The size of a task with a shell: [`LEAST`] and some [`STEP`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(u8);

impl Class {
    /// The class of a task that is spawned with this future; `None` for a large one.
    #[inline]
    pub(crate) const fn of<F: Future, S>() -> Option<Self> {
        Self::of_cell::<Kept<F>, S>()
    }

    /// The class of a task with this future in its cell.
    #[inline]
    const fn of_cell<F: Future, S>() -> Option<Self> {
        let layout = Layout::new::<Cell<F, S>>();
        if layout.size() <= LARGEST && layout.align() <= ALIGN {
            Some(Self(layout.size().saturating_sub(LEAST).div_ceil(STEP) as u8))
        } else {
            None
        }
    }

    /// The size of its memory.
    pub(crate) const fn bytes(self) -> usize {
        self.layout().size()
    }

    /// One bit of a word, for sets of classes.
    pub(crate) const fn bit(self) -> u64 {
        const { assert!(CLASSES <= u64::BITS as usize) };
        1 << self.0
    }

    #[inline]
    const fn layout(self) -> Layout {
        match Layout::from_size_align(LEAST + self.0 as usize * STEP, ALIGN) {
            Ok(layout) => layout,
            Err(_) => panic!("a class is smaller than memory"),
        }
    }
}

/// The part of a cell that does not depend on the future: the first two fields of [`Cell`], where they are.
#[repr(C)]
struct Husk<S> {
    header: Header,
    scheduler: S,
}

/// The memory of a task, in which only the scheduler is alive.
pub(crate) struct Shell<S> {
    memory: NonNull<Husk<S>>,
    class: Class,
    scheduler: PhantomData<S>,
}

// SAFETY: a shell is a scheduler and memory that nobody else knows.
unsafe impl<S: Send> Send for Shell<S> {}

impl<S> Shell<S> {
    /// Takes over what is left of a cell.
    ///
    /// # Safety
    /// `cell` is memory of the class `class` that nobody else knows, the place of a `Cell<_, S>` of which
    /// only the scheduler is alive.
    #[inline]
    pub(super) unsafe fn from_raw(cell: NonNull<u8>, class: Class) -> Self {
        Self { memory: cell.cast(), class, scheduler: PhantomData }
    }

    /// The scheduler, which is that of the next task.
    #[inline]
    pub(crate) fn scheduler(&self) -> &S {
        // SAFETY: it is alive as long as the shell, and nobody else knows the memory.
        unsafe { &(*self.memory.as_ptr()).scheduler }
    }

    /// Its size.
    #[inline]
    pub(crate) fn class(&self) -> Class {
        self.class
    }

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        let memory = self.memory.cast();
        std::mem::forget(self);
        memory
    }
}

impl<S> Drop for Shell<S> {
    fn drop(&mut self) {
        // The memory goes also if the scheduler panics.
        let _free = Free(self.memory.cast(), self.class);
        // SAFETY: alive until here, and not touched again.
        unsafe { ptr::drop_in_place(&raw mut (*self.memory.as_ptr()).scheduler) }
    }
}

struct Free(NonNull<u8>, Class);

impl Drop for Free {
    fn drop(&mut self) {
        // SAFETY: the memory of a shell was allocated with the layout of its class (`place`).
        unsafe { dealloc(self.0.as_ptr(), self.1.layout()) }
    }
}

/// What a task is made from.
pub(crate) enum Seat<S> {
    /// A scheduler; memory is allocated.
    New(S),
    /// A shell of the right class.
    Used(Shell<S>),
}

impl<S> From<S> for Seat<S> {
    #[inline]
    fn from(scheduler: S) -> Self {
        Self::New(scheduler)
    }
}

impl<S: Schedule> Seat<S> {
    /// Memory for a cell, with the scheduler in its place and nothing else.
    ///
    /// # Panics
    /// If a shell is of another class.
    #[inline(always)]
    pub(super) fn place<F: Future>(self) -> NonNull<Cell<F, S>> {
        let class = const { Class::of_cell::<F, S>() };
        let scheduler = match self {
            Self::Used(shell) => {
                assert!(class == Some(shell.class), "broken invariant: a task does not fit its shell");
                return shell.into_raw().cast();
            }
            Self::New(scheduler) => scheduler,
        };
        let layout = const {
            match Class::of_cell::<F, S>() {
                Some(class) => class.layout(),
                None => Layout::new::<Cell<F, S>>(),
            }
        };
        // SAFETY: a cell has a header, so the layout is not of size 0.
        let Some(cell) = NonNull::new(unsafe { alloc(layout) }.cast::<Cell<F, S>>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: fresh memory that is large enough.
        unsafe { (&raw mut (*cell.as_ptr()).scheduler).write(scheduler) };
        cell
    }
}

/// Gives back the memory of a cell in which only the scheduler is alive: to the scheduler, if it has a class.
///
/// # Safety
/// `cell` came from [`Seat::place`], nobody else knows it, and all of it but the scheduler has been dropped.
#[inline]
pub(super) unsafe fn vacate<F: Future, S: Schedule>(cell: NonNull<Cell<F, S>>) {
    match const { Class::of_cell::<F, S>() } {
        // SAFETY: `place` took memory of this class; the rest is what the caller says.
        Some(class) => S::keep(unsafe { Shell::from_raw(cell.cast(), class) }),
        None => {
            // SAFETY: the scheduler is alive and not touched again.
            unsafe { ptr::drop_in_place(&raw mut (*cell.as_ptr()).scheduler) };
            // SAFETY: `place` allocated it with this layout.
            unsafe { dealloc(cell.as_ptr().cast(), Layout::new::<Cell<F, S>>()) }
        }
    }
}

/// Shells by class, the one kept last first: its memory is the likeliest to be in the cache.
pub(crate) struct Shells<S> {
    by_class: [Vec<Shell<S>>; CLASSES],
    most: usize,
}

impl<S> Shells<S> {
    /// None, and room for `most` of each class.
    pub(crate) fn new(most: usize) -> Self {
        Self { by_class: [const { Vec::new() }; CLASSES], most }
    }

    /// A shell of this class.
    #[inline]
    pub(crate) fn take(&mut self, class: Class) -> Option<Shell<S>> {
        self.by_class[usize::from(class.0)].pop()
    }

    /// Keeps a shell.
    ///
    /// # Errors
    /// The shell, if there are enough of its class.
    #[inline]
    pub(crate) fn keep(&mut self, shell: Shell<S>) -> Result<(), Shell<S>> {
        let kept = &mut self.by_class[usize::from(shell.class.0)];
        if kept.len() >= self.most {
            return Err(shell);
        }
        kept.push(shell);
        Ok(())
    }

    /// Hands half of this class on to `other`, up to `most` there. Whether it could take more.
    pub(crate) fn give_half(&mut self, class: Class, other: &mut Self, most: usize) -> bool {
        let class = usize::from(class.0);
        let (ours, theirs) = (&mut self.by_class[class], &mut other.by_class[class]);
        let given = (ours.len() / 2).min(most.saturating_sub(theirs.len()));
        // The ones kept first: of the others the memory may be in this thread's cache.
        theirs.extend(ours.drain(..given));
        theirs.len() < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{self, Header, Notified, Request, TaskRef};
    use std::cell::RefCell;
    use std::future::{pending, ready};
    use std::panic::Location;
    use std::sync::Arc;

    thread_local! {
        static KEPT: RefCell<Shells<Keeper>> = RefCell::new(Shells::new(1));
    }

    /// Keeps what is left of its tasks; the count says how many schedulers there are.
    #[derive(Clone)]
    struct Keeper {
        _counted: Arc<()>,
    }

    fn keeper(count: &Arc<()>) -> Keeper {
        Keeper { _counted: Arc::clone(count) }
    }

    impl Schedule for Keeper {
        fn schedule(&self, _: Notified) {
            unreachable!("no task is woken");
        }

        fn request(&self, _: Request) {
            unreachable!("no task is local");
        }

        fn release(&self, _: &Header) -> Option<TaskRef> {
            None
        }

        fn keep(shell: Shell<Self>) {
            drop(KEPT.with_borrow_mut(|kept| kept.keep(shell)));
        }
    }

    /// Makes a task that is cancelled at once, and says where it was.
    fn live<F: Future<Output: Send> + Send + 'static>(future: F, seat: impl Into<Seat<Keeper>>) -> usize {
        let (notified, handle) = task::new_unowned::<F, Keeper>(future, seat, Location::caller());
        let place = ptr::from_ref(notified.header()).addr();
        notified.shutdown();
        drop(handle);
        place
    }

    fn take<F: Future>() -> Option<Shell<Keeper>> {
        KEPT.with_borrow_mut(|kept| kept.take(Class::of::<F, Keeper>()?))
    }

    #[test]
    fn a_task_is_made_from_what_is_left_of_another_one_of_its_size() {
        let count = Arc::new(());
        let first = live(ready([1_u64; 3]), keeper(&count));
        assert_eq!(Arc::strong_count(&count), 2, "its scheduler lives on");
        let shell = take::<std::future::Ready<[f64; 3]>>().unwrap();
        assert_eq!(live(ready([1_f64; 3]), Seat::Used(shell)), first);
        drop(take::<std::future::Ready<[f64; 3]>>().unwrap());
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn no_more_shells_are_kept_than_there_is_room_for_and_none_of_a_large_task() {
        let count = Arc::new(());
        live(ready(()), keeper(&count));
        live(ready(()), keeper(&count));
        assert_eq!(Arc::strong_count(&count), 2, "room for one");
        drop(take::<std::future::Ready<()>>().unwrap());
        assert!(Class::of::<std::future::Ready<[u8; LARGEST]>, Keeper>().is_none());
        live(ready([0_u8; LARGEST]), keeper(&count));
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    #[should_panic(expected = "a task does not fit its shell")]
    fn a_task_of_another_size_does_not_take_a_shell() {
        live(ready(()), keeper(&Arc::default()));
        let shell = take::<std::future::Ready<()>>().unwrap();
        let large = async {
            let held = [0_u8; 200];
            pending::<()>().await;
            std::hint::black_box(held);
        };
        live(large, Seat::Used(shell));
    }
}
