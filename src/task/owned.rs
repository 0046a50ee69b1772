//! The tasks a core owns: every one that has been spawned there and has not ended, but for one whose first
//! poll is going on in the spawn.
//!
//! Owns [`OwnedTasks`], two intrusive lists through the task headers. Tasks that are `Send` may end on any
//! core, so their list is under a lock; local tasks begin and end on one thread, so theirs needs none. The
//! lists are there to end all tasks at shutdown, to count and to name them; they say nothing about who wants
//! to run.
//!
//! A task is in at most one list, and in no other afterwards: there is one [`TaskRef`] for each task, and the
//! list it is in holds it. The header's `list` is the number of the list, which no other list of the process
//! has ([`Numbers`]); it and the links change only under that list's lock (or on its thread). The lists of
//! one runtime have consecutive numbers, so the number also says, to whoever may queue the task, of which
//! runtime it is.

use super::attributes::Name;
use super::cell::{Header, Links};
use super::id::Id;
use super::mark::Mark;
use super::notified::TaskRef;
use crate::base::apart::Apart;
use crate::base::guard::contained;
use crate::base::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, UnsafeCell};
use std::fmt;
use std::ops::Range;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::{Arc, TryLockError};

/// All live tasks of one core.
pub(crate) struct OwnedTasks {
    /// What `Header::list` says of members.
    number: u32,
    /// Keeps it this list's alone.
    numbers: Arc<Numbers>,
    /// The mark of the thread whose local tasks these are; 0 until the first one comes.
    thread: AtomicU64,
    local: Apart<Local>,
    shared: Apart<Shared>,
}

/// Consecutive numbers of lists. No other list has one of them; when all of these lists are gone others may.
///
/// Not with the shim's types: a static outlives a model, and who has a number is no part of any protocol.
#[derive(Debug)]
struct Numbers(Range<u32>);

/// Those that are used again, by as many lists as before.
static GIVEN_BACK: std::sync::Mutex<Vec<Range<u32>>> = std::sync::Mutex::new(Vec::new());
/// The lock is held for a look at a few numbers.
const TRIES: usize = 1000;

impl Numbers {
    /// # Panics
    /// If a process has four billion cores at once.
    fn take(count: usize) -> Arc<Self> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let again = Self::with_given_back(|all| {
            let at = all.iter().position(|numbers| numbers.len() == count)?;
            Some(all.swap_remove(at))
        });
        Arc::new(Self(again.flatten().unwrap_or_else(|| {
            let after = |first: u32| u32::try_from(count).ok().and_then(|count| first.checked_add(count));
            let first = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
            let first = first.expect("there are less than four billion cores");
            first..first + count as u32
        })))
    }

    /// `None` if somebody else has them all the time: in a child of fork it may be a thread of the parent's.
    fn with_given_back<R>(work: impl FnOnce(&mut Vec<Range<u32>>) -> R) -> Option<R> {
        for _ in 0..TRIES {
            match GIVEN_BACK.try_lock() {
                Ok(mut all) => return Some(work(&mut all)),
                Err(TryLockError::Poisoned(poisoned)) => return Some(work(&mut poisoned.into_inner())),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        None
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        // Those that cannot be given back are lost, of four billion.
        Self::with_given_back(|all| all.push(self.0.clone()));
    }
}

/// The list of local tasks, and a copy of its length for anybody to read.
struct Local {
    list: UnsafeCell<List>,
    len: AtomicUsize,
}

/// The list of `Send` tasks. The copy of its length is written under the lock.
struct Shared {
    list: Mutex<List>,
    len: AtomicUsize,
}

// SAFETY: `local.list` is touched only by the thread whose mark is in `thread` (`with_local` checks); the
// rest is `Sync`.
unsafe impl Sync for OwnedTasks {}
// SAFETY: wherever the value goes, local tasks are still handled by their own thread only.
unsafe impl Send for OwnedTasks {}

impl OwnedTasks {
    /// An open, empty list. The first thread that inserts a local task is the only one that may.
    pub(crate) fn new() -> Self {
        let numbers = Numbers::take(1);
        Self {
            number: numbers.0.start,
            numbers,
            thread: AtomicU64::new(0),
            local: Apart(Local { list: UnsafeCell::new(List::EMPTY), len: AtomicUsize::new(0) }),
            shared: Apart(Shared { list: Mutex::new(List::EMPTY), len: AtomicUsize::new(0) }),
        }
    }

    /// Gives lists that nobody else has yet consecutive numbers, which are returned.
    ///
    /// # Panics
    /// If a list has had tasks.
    pub(crate) fn number_all<'a>(lists: impl ExactSizeIterator<Item = &'a mut Self>) -> Range<u32> {
        let numbers = Numbers::take(lists.len());
        for (list, number) in lists.zip(numbers.0.clone()) {
            assert_eq!(list.len(), 0, "broken invariant: a list with tasks gets another number");
            (list.number, list.numbers) = (number, Arc::clone(&numbers));
        }
        numbers.0.clone()
    }

    /// Adds a task, before it is scheduled for the first time, or behind a first poll where it was spawned.
    /// False if the list is closed: then the caller
    /// shuts the task down.
    ///
    /// # Panics
    /// If a local task comes on another thread than the local tasks before it.
    #[must_use = "a task that is refused must be shut down"]
    #[inline]
    pub(crate) fn insert(&self, task: TaskRef) -> bool {
        if task.header().is_local() {
            self.bind();
            let inserted = self.with_local(|list| list.insert(task, self.number, &self.local.len));
            inserted.expect("broken invariant: a core's local tasks are spawned on its thread")
        } else {
            self.lock().insert(task, self.number, &self.shared.len)
        }
    }

    /// Takes a task out, if it is here (and the thread may touch it).
    #[inline]
    pub(crate) fn remove(&self, task: &Header) -> Option<TaskRef> {
        // Only a hint for a task that is in no list any more; the list itself looks again.
        if task.list.load(Ordering::Relaxed) != self.number {
            return None;
        }
        if task.is_local() {
            self.with_local(|list| list.remove(task, self.number, &self.local.len))?
        } else {
            self.lock().remove(task, self.number, &self.shared.len)
        }
    }

    /// Refuses all further tasks and ends those that are here: drops the futures of the idle ones, marks
    /// those that are being polled. Panics of futures that are dropped are contained.
    ///
    /// To be called on the owner's thread. On another one (the owner is stuck and left behind) the local
    /// tasks are left alone, to be leaked with their core, and only the `Send` ones end.
    pub(crate) fn close_and_shutdown(&self) {
        self.with_local(|list| list.closed = true);
        self.lock().closed = true;
        // One at a time: dropping a future runs foreign code, which may end other tasks of this list.
        while let Some(task) = self.with_local(|list| list.pop(&self.local.len)).flatten() {
            contained(|| task.shutdown());
        }
        loop {
            let Some(task) = self.lock().pop(&self.shared.len) else { return };
            contained(|| task.shutdown());
        }
    }

    /// How many live tasks there are; exact when nobody is spawning or ending any.
    pub(crate) fn len(&self) -> usize {
        self.local.len.load(Ordering::Relaxed) + self.shared.len.load(Ordering::Relaxed)
    }

    /// As [`len`](Self::len), and sees what was done before by whoever changed the list last.
    pub(crate) fn len_settled(&self) -> usize {
        let shared = self.lock().len;
        self.local.len.load(Ordering::Relaxed) + shared
    }

    /// The first `most` tasks, local ones first. On another thread than the owner's: of the `Send` ones only.
    pub(crate) fn entries(&self, most: usize) -> Vec<Entry> {
        // Nothing is allocated while the list is lent or locked.
        let mut entries = Vec::with_capacity(most.min(self.len()));
        self.with_local(|list| list.copy_to(&mut entries));
        self.lock().copy_to(&mut entries);
        entries
    }

    #[inline]
    fn bind(&self) {
        if self.thread.load(Ordering::Relaxed) == 0 {
            // On failure another thread was first, which `with_local` finds out.
            let here = Mark::here().number();
            let _ = self.thread.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Lends the list of local tasks, on its own thread only. Without one it is still nobody's: then `None`
    /// too.
    #[inline]
    fn with_local<R>(&self, edit: impl FnOnce(&mut List) -> R) -> Option<R> {
        if self.thread.load(Ordering::Relaxed) != Mark::here().number() {
            return None;
        }
        // SAFETY: this thread's mark is in `thread`, which never changes again: no other thread gets here.
        // `List`'s methods call nobody, so no second borrow is made meanwhile.
        Some(self.local.list.with_mut(|list| edit(unsafe { &mut *list })))
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = List> + '_ {
        self.shared.list.lock().expect("broken invariant: the task list panicked")
    }
}

impl Drop for OwnedTasks {
    fn drop(&mut self) {
        self.close_and_shutdown();
        if self.len() > 0 {
            // Local tasks that are leaked on their thread still say that they are in this list.
            std::mem::forget(Arc::clone(&self.numbers));
        }
    }
}

impl fmt::Debug for OwnedTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedTasks").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What a list says about one of its tasks.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    name: Option<Name>,
    pub(crate) spawned_at: &'static Location<'static>,
    /// The core where it is at home.
    pub(crate) home: usize,
}

impl Entry {
    fn of(task: &Header) -> Self {
        Self { id: task.id(), name: task.shared_name(), spawned_at: task.spawned_at(), home: task.home() }
    }

    /// What the task is called.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_ref().map(Name::as_str)
    }
}

/// An intrusive list, oldest task first. Each entry is a `TaskRef` given to the list.
struct List {
    first: Option<NonNull<Header>>,
    last: Option<NonNull<Header>>,
    len: usize,
    closed: bool,
}

// SAFETY: the entries are references that may be held by any thread; what a thread may do with one is checked
// there.
unsafe impl Send for List {}

impl List {
    const EMPTY: List = List { first: None, last: None, len: 0, closed: false };

    #[inline]
    fn insert(&mut self, task: TaskRef, number: u32, len: &AtomicUsize) -> bool {
        if self.closed {
            return false;
        }
        let entry = task.into_raw();
        // SAFETY: the list now holds the reference, so the header lives.
        let header = unsafe { entry.as_ref() };
        debug_assert_eq!(header.list.load(Ordering::Relaxed), 0, "a task is in one list");
        header.list.store(number, Ordering::Relaxed);
        set_links(header, Links { before: self.last, after: None });
        match self.last {
            Some(last) => edit_links(last, |links| links.after = Some(entry)),
            None => self.first = Some(entry),
        }
        self.last = Some(entry);
        self.resize(self.len + 1, len);
        true
    }

    #[inline]
    fn remove(&mut self, task: &Header, number: u32, len: &AtomicUsize) -> Option<TaskRef> {
        if task.list.load(Ordering::Relaxed) != number {
            return None;
        }
        // SAFETY: the task is in this list, so its links are ours to read.
        let links = task.links.with(|links| unsafe { *links });
        // The entry itself comes from the list and not from `task`, which reaches no further than the header.
        let entry = match links.before {
            // SAFETY: neighbours in the list are alive and their links ours.
            Some(before) => unsafe { before.as_ref() }.links.with(|links| unsafe { (*links).after }),
            None => self.first,
        };
        let entry = entry.expect("broken invariant: a listed task has an entry");
        match links.before {
            Some(before) => edit_links(before, |neighbour| neighbour.after = links.after),
            None => self.first = links.after,
        }
        match links.after {
            Some(after) => edit_links(after, |neighbour| neighbour.before = links.before),
            None => self.last = links.before,
        }
        set_links(task, Links::NONE);
        task.list.store(0, Ordering::Relaxed);
        self.resize(self.len - 1, len);
        // SAFETY: the reference that `insert` gave to the list.
        Some(unsafe { TaskRef::from_raw(entry) })
    }

    /// Copies entries, oldest task first, as long as there is room.
    fn copy_to(&self, entries: &mut Vec<Entry>) {
        let mut next = self.first;
        while let Some(task) = next
            && entries.len() < entries.capacity()
        {
            // SAFETY: an entry of this list holds a reference, so the header is alive.
            let header = unsafe { task.as_ref() };
            entries.push(Entry::of(header));
            // SAFETY: the task is in this list, so its links are ours to read.
            next = header.links.with(|links| unsafe { (*links).after });
        }
    }

    fn pop(&mut self, len: &AtomicUsize) -> Option<TaskRef> {
        // SAFETY: the entry holds a reference.
        let task = unsafe { self.first?.as_ref() };
        self.remove(task, task.list.load(Ordering::Relaxed), len)
    }

    #[inline]
    fn resize(&mut self, len: usize, copy: &AtomicUsize) {
        self.len = len;
        copy.store(len, Ordering::Relaxed);
    }
}

#[inline]
fn set_links(header: &Header, new: Links) {
    // SAFETY: called by the list that holds the task, under its lock or on its thread.
    header.links.with_mut(|links| unsafe { *links = new });
}

#[inline]
fn edit_links(entry: NonNull<Header>, edit: impl FnOnce(&mut Links)) {
    // SAFETY: an entry of the list that is being edited: it is alive, and its links are that list's.
    unsafe { entry.as_ref() }.links.with_mut(|links| edit(unsafe { &mut *links }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_are_numbered_together_have_consecutive_numbers_which_others_get_when_all_are_gone() {
        // So many that no other test has as many.
        let lists = || -> Vec<OwnedTasks> { (0..137).map(|_| OwnedTasks::new()).collect() };
        let (mut some, mut others) = (lists(), lists());
        let first = OwnedTasks::number_all(some.iter_mut());
        assert!(some.iter().map(|list| list.number).eq(first.clone()) && first.start > 0);
        let second = OwnedTasks::number_all(others.iter_mut());
        assert!(second.end <= first.start || first.end <= second.start, "{first:?} {second:?}");
        let last = some.pop();
        drop(some);
        let third = OwnedTasks::number_all(lists().iter_mut());
        assert!(third != first && third != second, "one list of each is left");
        drop((last, others));
        let again = OwnedTasks::number_all(lists().iter_mut());
        assert!([first, second, third].contains(&again), "numbers are used again, and not {again:?}");
    }
}
