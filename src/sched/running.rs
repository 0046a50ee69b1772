//! What a core is polling, for those who watch it.
//!
//! Owns some words per core, written by the core with plain stores around each poll; a name is copied into
//! them. Read from elsewhere they may belong to two polls; while a core is stuck they do not change. Nothing
//! here points into a task.
#![forbid(unsafe_code)]

use crate::base::place::AtomicPlace;
use crate::task::{Header, Id};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The poll that is going on.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// When the turn began that is going on (nanoseconds since the runtime started); 0 before the first, and
    /// from a park to the next turn.
    turn_at: AtomicU64,
    /// The task's id; 0 between polls.
    task: AtomicU64,
    spawned_at: AtomicPlace,
    /// Bytes of the name; 0 for none.
    name_len: AtomicUsize,
    name: [AtomicU64; NAME_BYTES / 8],
}

/// How much of a name is shown.
const NAME_BYTES: usize = 32;

/// What [`Running`] said at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Poll {
    /// The task that is being polled.
    pub(crate) task: Option<Id>,
    /// Where it was spawned.
    pub(crate) spawned_at: Option<&'static Location<'static>>,
    /// Its name.
    pub(crate) name: Option<String>,
}

/// A poll within which another one is going on.
#[must_use = "the outer poll is to be shown again"]
pub(crate) struct Outer {
    task: u64,
    spawned_at: Option<&'static Location<'static>>,
    name: Option<[u64; NAME_BYTES / 8]>,
    name_len: usize,
}

impl Running {
    /// Core: a turn begins.
    #[inline]
    pub(crate) fn turns(&self, stamp: u64) {
        self.turn_at.store(stamp, Ordering::Relaxed);
    }

    /// Core: parks, which may take long; when the turn began says nothing any more.
    pub(crate) fn parks(&self) {
        self.turn_at.store(0, Ordering::Relaxed);
    }

    /// When the turn began that is going on.
    pub(crate) fn turn_at(&self) -> Option<u64> {
        let at = self.turn_at.load(Ordering::Relaxed);
        (at != 0).then_some(at)
    }

    /// Core: a poll of `task` begins.
    #[inline]
    pub(crate) fn begins(&self, task: &Header) {
        self.task.store(task.id().as_u64(), Ordering::Relaxed);
        self.spawned_at.set(task.spawned_at());
        match task.name() {
            None => self.name_len.store(0, Ordering::Relaxed),
            Some(name) => self.copy_name(name.as_bytes()),
        }
    }

    // Out of the way of tasks without a name, which are nearly all.
    #[cold]
    fn copy_name(&self, name: &[u8]) {
        let shown = &name[..name.len().min(NAME_BYTES)];
        for (word, bytes) in self.name.iter().zip(shown.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        self.name_len.store(shown.len(), Ordering::Relaxed);
    }

    #[inline]
    fn read_name(&self) -> Option<String> {
        let bytes: Vec<u8> =
            self.name.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        let shown = &bytes[..self.name_len.load(Ordering::Relaxed).min(NAME_BYTES)];
        // A name that was cut within a character shows a replacement there.
        (!shown.is_empty()).then(|| String::from_utf8_lossy(shown).into_owned())
    }

    /// Core: a poll of `task` begins within the one that is going on, which is [shown again](Self::resumes)
    /// after it.
    #[inline]
    pub(crate) fn begins_within(&self, task: &Header) -> Outer {
        let outer = Outer {
            task: self.task.load(Ordering::Relaxed),
            spawned_at: self.spawned_at.get(),
            name: (self.name_len.load(Ordering::Relaxed) > 0).then(|| self.name_words()),
            name_len: self.name_len.load(Ordering::Relaxed),
        };
        self.begins(task);
        outer
    }

    /// Core: the inner poll has ended, and the outer goes on.
    #[inline]
    pub(crate) fn resumes(&self, outer: Outer) {
        self.task.store(outer.task, Ordering::Relaxed);
        if let Some(place) = outer.spawned_at {
            self.spawned_at.set(place);
        }
        if let Some(name) = outer.name {
            self.name.iter().zip(name).for_each(|(word, was)| word.store(was, Ordering::Relaxed));
        }
        self.name_len.store(outer.name_len, Ordering::Relaxed);
    }

    #[cold]
    fn name_words(&self) -> [u64; NAME_BYTES / 8] {
        std::array::from_fn(|at| self.name[at].load(Ordering::Relaxed))
    }

    /// Core: the poll has ended.
    #[inline]
    pub(crate) fn ends(&self) {
        self.task.store(0, Ordering::Relaxed);
    }

    /// What is being polled now.
    pub(crate) fn read(&self) -> Poll {
        let Some(task) = Id::from_u64(self.task.load(Ordering::Relaxed)) else { return Poll::default() };
        Poll { task: Some(task), spawned_at: self.spawned_at.get(), name: self.read_name() }
    }
}
